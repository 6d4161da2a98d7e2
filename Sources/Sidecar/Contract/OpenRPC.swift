package import JSON

/// The contract as an OpenRPC 1.3 document (https://spec.open-rpc.org), made from the method table.
enum OpenRPC {
  static func write(to writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("openrpc", "1.3.2")
    writer.name("info")
    writer.beginObject()
    writer.member("title", "mcp-session-store")
    writer.member("version", Sidecar.version)
    writer.member(
      "description",
      "Durable sessions, resumable event streams, tasks and values for MCP servers: JSON-RPC 2.0, one request per line "
        + "on standard input, one answer per line on standard output.")
    writer.name("license")
    writer.beginObject()
    writer.member("name", "Apache-2.0")
    writer.endObject()
    writer.endObject()
    writer.name("methods")
    writer.beginArray()
    for method in MethodTable.all.methods { write(method, to: &writer) }
    writer.endArray()
    writeComponents(to: &writer)
    writer.endObject()
  }

  private static func write(_ method: Method, to writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("name", method.name)
    writer.member("summary", method.summary)
    writer.member("paramStructure", "by-name")
    writer.name("params")
    writer.beginArray()
    for parameter in method.parameters {
      writer.beginObject()
      writer.member("name", parameter.name.wire)
      writer.member("description", parameter.summary)
      writer.member("required", parameter.isRequired)
      writer.name("schema")
      parameter.type.schema.write(to: &writer)
      writer.endObject()
    }
    writer.endArray()
    writer.name("result")
    writer.beginObject()
    writer.member("name", "result")
    writer.name("schema")
    method.result.write(to: &writer)
    writer.endObject()
    writer.name("errors")
    writer.beginArray()
    for error in method.allErrors { reference("errors/\(error.kind)", to: &writer) }
    writer.endArray()
    writer.name("examples")
    writer.beginArray()
    writeExample(method, to: &writer)
    writer.endArray()
    writer.member("x-transactional", method.isTransactional)
    writer.member("x-repeatable", method.isRepeatable)
    writer.endObject()
  }

  private static func writeExample(_ method: Method, to writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("name", method.name)
    writer.name("params")
    writer.beginArray()
    for (name, value) in text(method.example.params).members {
      writer.beginObject()
      writer.member("name", name ?? "")
      writer.member("value", value)
      writer.endObject()
    }
    writer.endArray()
    writer.name("result")
    writer.beginObject()
    writer.member("name", "result")
    writer.member("value", text(method.example.result))
    writer.endObject()
    writer.endObject()
  }

  private static func text(_ json: String) -> JSONText {
    // A test reads every example; one that is not JSON shows as null.
    (try? JSONText(json)) ?? .null
  }

  private static func reference(_ path: String, to writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("$ref", "#/components/\(path)")
    writer.endObject()
  }

  private static func writeComponents(to writer: inout JSONWriter) {
    writer.name("components")
    writer.beginObject()
    writer.name("schemas")
    writer.beginObject()
    for (name, schema) in RecordSchema.components {
      writer.name(name)
      schema.write(to: &writer)
    }
    writer.endObject()
    writer.name("errors")
    writer.beginObject()
    for error in ErrorKind.all {
      writer.name(error.kind)
      writer.beginObject()
      writer.member("code", error.code)
      writer.member("message", error.summary)
      writer.name("data")
      writer.beginObject()
      writer.member("kind", error.kind)
      writer.member("retryable", error.retryable)
      writer.endObject()
      writer.endObject()
    }
    writer.endObject()
    writer.endObject()
  }
}

extension Sidecar {
  /// The OpenRPC document.
  package static var contract: JSONText {
    var writer = JSONWriter()
    OpenRPC.write(to: &writer)
    return JSONText(validated: writer.take()[...])
  }
}
