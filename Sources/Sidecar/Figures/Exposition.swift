/// Text for Prometheus to scrape, version 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
struct Exposition {
  private(set) var text = ""

  enum Kind: String { case counter, gauge, histogram }

  /// Announces a family; its samples follow.
  mutating func family(_ name: String, _ kind: Kind, _ help: String) {
    text += "# HELP \(Self.prefix)\(name) \(help)\n# TYPE \(Self.prefix)\(name) \(kind.rawValue)\n"
  }

  mutating func sample(_ name: String, _ labels: [(String, String)] = [], _ value: Int64) {
    sample(name, labels, String(value))
  }

  private mutating func sample(_ name: String, _ labels: [(String, String)], _ value: String) {
    text += Self.prefix + name
    if !labels.isEmpty { text += "{" + labels.map { "\($0)=\"\(Self.escaped($1))\"" }.joined(separator: ",") + "}" }
    text += " \(value)\n"
  }

  /// A family of one sample without labels.
  mutating func single(_ name: String, _ kind: Kind, _ help: String, _ value: Int64) {
    family(name, kind, help)
    sample(name, [], value)
  }

  mutating func single(_ name: String, _ kind: Kind, _ help: String, seconds nanoseconds: Int64) {
    family(name, kind, help)
    sample(name, [], Self.seconds(nanoseconds))
  }

  /// The samples of a histogram of nanoseconds, in seconds: about 16 µs to 17 s.
  mutating func histogram(_ name: String, _ labels: [(String, String)], _ histogram: Histogram) {
    for (edge, count) in histogram.cumulative(powers: 14...34) {
      sample(name + "_bucket", labels + [("le", Self.seconds(edge))], count)
    }
    sample(name + "_bucket", labels + [("le", "+Inf")], histogram.count)
    sample(name + "_sum", labels, Self.seconds(histogram.sum))
    sample(name + "_count", labels, histogram.count)
  }

  private static let prefix = "mcp_session_store_"

  /// nanoseconds as seconds, without rounding
  private static func seconds(_ nanoseconds: Int64) -> String {
    let fraction = String(nanoseconds % 1_000_000_000)
    return "\(nanoseconds / 1_000_000_000)." + String(repeating: "0", count: 9 - fraction.count) + fraction
  }

  private static func escaped(_ value: String) -> String {
    var escaped = ""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\\": escaped += "\\\\"
      case "\"": escaped += "\\\""
      case "\n": escaped += "\\n"
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }
}
