package import JSON

/// A JSON-RPC error as it goes on the wire: `{"code", "message", "data": {"kind", "retryable", "outcome", …}}`.
package struct RPCError: Error {
  package enum Outcome: String {
    /// nothing of the request took effect
    case notApplied = "not_applied"
    /// the disk failed while committing: the write may or may not be there after a restart
    case unknown
  }

  package enum Detail {
    case text(String)
    case integer(Int64)
    case null
  }

  package var code: Int
  /// the stable name by which clients tell errors apart
  package var kind: String
  /// one sentence for people that says what to do where something can be done
  package var message: String
  /// whether the same request may succeed later without anyone changing anything
  package var retryable = false
  package var outcome = Outcome.notApplied
  package var details: [(name: String, value: Detail)] = []

  package init(
    code: Int, kind: String, message: String, retryable: Bool = false, outcome: Outcome = .notApplied,
    details: [(name: String, value: Detail)] = []
  ) {
    self.code = code
    self.kind = kind
    self.message = message
    self.retryable = retryable
    self.outcome = outcome
    self.details = details
  }

  package func write(to writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("code", code)
    writer.member("message", message)
    writer.name("data")
    writer.beginObject()
    writer.member("kind", kind)
    writer.member("retryable", retryable)
    writer.member("outcome", outcome.rawValue)
    for (name, value) in details {
      writer.name(name)
      switch value {
      case .text(let text): writer.string(text)
      case .integer(let integer): writer.integer(integer)
      case .null: writer.null()
      }
    }
    writer.endObject()
    writer.endObject()
  }
}

// MARK: - The errors of JSON-RPC itself (https://www.jsonrpc.org/specification#error_object)

extension RPCError {
  package static func parseError(_ error: JSONError) -> RPCError {
    RPCError(
      code: -32700, kind: "parse_error", message: "Invalid JSON: \(error).",
      details: [("position", .integer(Int64(error.offset)))])
  }

  package static func invalidRequest(_ what: String, details: [(name: String, value: Detail)] = []) -> RPCError {
    RPCError(code: -32600, kind: "invalid_request", message: "Invalid request: \(what).", details: details)
  }

  package static func methodNotFound(_ method: String, nearest: String?) -> RPCError {
    let hint = nearest.map { " Did you mean '\($0)'?" } ?? " 'rpc.discover' lists the methods."
    return RPCError(
      code: -32601, kind: "method_not_found", message: "There is no method '\(method)'.\(hint)",
      details: [("method", .text(method)), ("nearest", nearest.map { .text($0) } ?? .null)])
  }

  package static func invalidParams(_ parameter: String, expected: String) -> RPCError {
    RPCError(
      code: -32602, kind: "invalid_params", message: "Invalid parameter '\(parameter)': expected \(expected).",
      details: [("parameter", .text(parameter)), ("expected", .text(expected))])
  }

  package static let internalError = RPCError(
    code: -32603, kind: "internal_error", message: "The sidecar met a defect of its own; please report it.")

  /// - Parameter what: the thing that is too large, with its article
  package static func payloadTooLarge(_ what: String, limit: Int) -> RPCError {
    RPCError(
      code: 1301, kind: "payload_too_large", message: "\(what) is over the limit of \(limit) bytes.",
      details: [("limit", .integer(Int64(limit)))])
  }
}
