/// Text is the same here when its bytes are. Swift's own `==` and hash hold two spellings of a character equal, such as
/// an accented letter as one scalar and as a letter with a mark. To a client they are two names, and one of them may be
/// somebody else's. And on a letter with very many marks they take very long.
extension String {
  package func isSame(as other: String) -> Bool {
    let bytes = utf8.span
    let others = other.utf8.span
    if bytes.count != others.count { return false }
    for index in bytes.indices where bytes[index] != others[index] { return false }
    return true
  }

  /// for sets
  package var exact: [UInt8] { Array(utf8) }
}
