package import JSON

/// Writes what goes back on the wire: answers and notifications, one line each.
package enum Response {
  /// Writes the head of an answer; the result follows, then ``end(_:)``.
  /// - Parameter id: the request's id as it was written; nil is answered as null
  package static func begin(_ writer: inout JSONWriter, id: Span<UInt8>) {
    if id.isEmpty { return writer.raw("{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":") }
    writer.raw("{\"jsonrpc\":\"2.0\",\"id\":", id, ",\"result\":")
  }

  package static func end(_ writer: inout JSONWriter) {
    writer.raw("}")
  }

  package static func write(_ error: RPCError, id: Span<UInt8>, to writer: inout JSONWriter) {
    writer.raw("{\"jsonrpc\":\"2.0\",\"id\":")
    if id.isEmpty { writer.raw("null") } else { writer.validated(id) }
    writer.raw(",\"error\":")
    error.write(to: &writer)
    writer.raw("}")
  }

  /// Writes a whole notification line; `params` writes the members.
  package static func notification(
    _ method: String, to writer: inout JSONWriter, params: (inout JSONWriter) throws -> Void
  ) rethrows {
    writer.raw("{\"jsonrpc\":\"2.0\",\"method\":\"")
    writer.raw(method)
    writer.raw("\",\"params\":")
    writer.beginObject()
    try params(&writer)
    writer.endObject()
    writer.raw("}\n")
  }
}
