import JSON

/// The shape of a JSON value, as far as this contract needs JSON Schema (draft 7) to say it.
indirect enum Schema: Sendable {
  case any, string, integer, boolean, object
  case range(ClosedRange<Int64>)
  case text(length: ClosedRange<Int>, pattern: String?)
  case choice([String])
  case nullable(Schema)
  case array(Schema)
  /// all members are required unless wrapped in `optional`
  case members([(name: String, schema: Schema)])
  case optional(Schema)
  /// a schema under `components`
  case reference(String)
  case described(Schema, String)
  /// What the store keeps and hands out without looking at it: clients may keep it in a form of their own.
  case payload(Schema)

  static let anyPayload = payload(.any)

  /// Whether it is the record of this name, or null.
  func isRecord(_ name: String) -> Bool {
    switch self {
    case .reference(let other): other == name
    case .nullable(let schema): schema.isRecord(name)
    default: false
    }
  }

  func write(to writer: inout JSONWriter) {
    writer.beginObject()
    writeMembers(to: &writer)
    writer.endObject()
  }

  private func writeMembers(to writer: inout JSONWriter) {
    switch self {
    case .any: break
    case .string: writer.member("type", "string")
    case .integer: writer.member("type", "integer")
    case .boolean: writer.member("type", "boolean")
    case .object: writer.member("type", "object")
    case .range(let range):
      writer.member("type", "integer")
      writer.member("minimum", range.lowerBound)
      writer.member("maximum", range.upperBound)
    case .text(let length, let pattern):
      writer.member("type", "string")
      writer.member("minLength", length.lowerBound)
      writer.member("maxLength", length.upperBound)
      if let pattern { writer.member("pattern", pattern) }
    case .choice(let names): writer.member("enum", strings: names)
    case .nullable(let schema):
      writer.name("anyOf")
      writer.beginArray()
      schema.write(to: &writer)
      writer.beginObject()
      writer.member("type", "null")
      writer.endObject()
      writer.endArray()
    case .array(let element):
      writer.member("type", "array")
      writer.name("items")
      element.write(to: &writer)
    case .members(let members):
      writer.member("type", "object")
      writer.name("properties")
      writer.beginObject()
      for member in members {
        writer.name(member.name)
        member.schema.write(to: &writer)
      }
      writer.endObject()
      let required = members.filter { !$0.schema.isOptional }.map(\.name)
      if !required.isEmpty { writer.member("required", strings: required) }
    case .optional(let schema): schema.writeMembers(to: &writer)
    case .reference(let name): writer.member("$ref", "#/components/schemas/\(name)")
    case .described(let schema, let text):
      schema.writeMembers(to: &writer)
      writer.member("description", text)
    case .payload(let schema):
      schema.writeMembers(to: &writer)
      writer.member("x-payload", true)
    }
  }

  private var isOptional: Bool {
    switch self {
    case .optional: true
    case .described(let schema, _), .payload(let schema): schema.isOptional
    default: false
    }
  }
}
