import JSON

/// The contract as an OpenRPC 1.3 document (https://spec.open-rpc.org), made from the method table.
enum OpenRPC {
  static func write(to writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("openrpc", "1.3.2")
    writer.endObject()
  }
}
