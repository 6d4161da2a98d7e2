/// Sizes for people.
enum Size {
  /// "512 bytes", "1.5 KiB", "20 MiB"
  static func text(_ bytes: Int64) -> String {
    if bytes < 1_024 { return bytes == 1 ? "1 byte" : "\(bytes) bytes" }
    var size = Double(bytes) / 1_024
    var units = ["KiB", "MiB", "GiB", "TiB"][...]
    while size >= 1_024, units.count > 1 {
      size /= 1_024
      units = units.dropFirst()
    }
    let tenths = Int64((size * 10).rounded())
    let number = tenths >= 100 || tenths % 10 == 0 ? "\((tenths + 5) / 10)" : "\(tenths / 10).\(tenths % 10)"
    return "\(number) \(units.first ?? "")"
  }
}
