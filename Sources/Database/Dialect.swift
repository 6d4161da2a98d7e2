/// The few pieces of SQL that the engines have under different names.
package struct Dialect: Sendable {
  private let isServer: Bool

  package static let file = Dialect(isServer: false)
  package static let server = Dialect(isServer: true)

  /// The bytes of a text. To a server U+0000 and U+0001 are pairs of characters that begin with U+0001.
  package func byteLength(_ column: String) -> String {
    isServer ? "octet_length(replace(\(column), chr(1), ''))" : "length(CAST(\(column) AS BLOB))"
  }

  /// Whether the bytes of a text begin with those of another.
  package func begins(_ column: String, with prefix: String) -> String {
    isServer
      ? "starts_with(\(column), \(prefix))"
      : "substr(CAST(\(column) AS BLOB), 1, \(byteLength(prefix))) = CAST(\(prefix) AS BLOB)"
  }

  /// Behind a SELECT of rows that are going to be written: where others write at the same time, it waits for them.
  package var locking: String { isServer ? " FOR UPDATE" : "" }

  /// The same, leaving out what somebody else is writing.
  package var lockingWhatIsFree: String { isServer ? " FOR UPDATE SKIP LOCKED" : "" }
}
