/// Messages put what they are about between quotation marks.
enum QuotedText {
  /// The message without what stands between quotation marks, where `isSecret` says so of it.
  static func blanked(_ message: String, where isSecret: (Substring) -> Bool = { _ in true }) -> String {
    var parts = message.split(separator: "\"", omittingEmptySubsequences: false)
    for index in parts.indices where index % 2 == 1 && index < parts.count - 1 {
      if !parts[index].isEmpty, isSecret(parts[index]) { parts[index] = "…" }
    }
    return parts.joined(separator: "\"")
  }
}
