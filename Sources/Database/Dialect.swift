/// The few pieces of SQL that the engines have under different names.
package struct Dialect: Sendable {
  package static let file = Dialect()

  /// The bytes of a text.
  package func byteLength(_ column: String) -> String { "length(CAST(\(column) AS BLOB))" }

  /// Whether the bytes of a text begin with those of another.
  package func begins(_ column: String, with prefix: String) -> String {
    "substr(CAST(\(column) AS BLOB), 1, \(byteLength(prefix))) = CAST(\(prefix) AS BLOB)"
  }
}
