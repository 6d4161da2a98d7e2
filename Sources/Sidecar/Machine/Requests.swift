import JSON
import JSONRPC
import SessionStore

/// What a unit turned out to be, before anything of it is run.
struct ParsedRequest {
  var id: Range<Int>?
  var isNotification = false
  var method: Method?
  /// of the method in the table; the number of methods for what is none of them
  var index = MethodTable.all.methods.count
  /// an error of any kind; a reference, because there seldom is one
  var error: (any Error)?
}

extension Sidecar {
  /// Parses a unit and takes its parameters.
  func parse(_ unit: Unit) -> ParsedRequest {
    let text = unit.text
    if let refusal = unit.refusal { return ParsedRequest(error: refusal) }
    if unit.isTooLong {
      return ParsedRequest(
        id: RequestReader.id(inPrefix: text.span),
        error: RPCError.payloadTooLarge("The line", limit: options.maxLineBytes))
    }
    let request: Request
    do throws(InvalidRequest) {
      request = try requests.read(text.span)
    } catch {
      return ParsedRequest(id: error.id, error: error.error)
    }
    var parsed = ParsedRequest(id: request.id, isNotification: request.id == nil)
    do {
      parsed.index = try index(of: request, text)
      let method = MethodTable.all.methods[parsed.index]
      try load(method, request, text)
      parsed.method = method
    } catch {
      parsed.error = error
    }
    return parsed
  }

  private func index(of request: Request, _ text: ArraySlice<UInt8>) throws -> Int {
    let table = MethodTable.all
    if let index = table.index(text.span, request.method) { return index }
    let name = JSONString.decode(text.span, request.method) ?? "?"
    guard let index = table.index(named: name) else {
      throw RPCError.methodNotFound(String(name.unicodeScalars.prefix(256)), nearest: table.nearest(to: name))
    }
    return index
  }

  /// Takes the parameters of a request.
  private func load(_ method: Method, _ request: Request, _ text: ArraySlice<UInt8>) throws {
    if case .unusable = request.params {
      throw RPCError.invalidParams("params", expected: "an object of parameters by name")
    }
    try call.load(
      requests.members, of: text, method.parameters, payloadLimit: store.limits.maxPayloadBytes)
    try checkOwner(method, call)
  }

  func checkOwner(_ method: Method, _ call: Call) throws {
    if options.requireOwner, method.takesOwner, !call.mentions(.tenantID), !call.mentions(.principal) {
      throw RPCError.invalidParams(
        "principal", expected: "tenant_id or principal on every call (--require-owner); null is the anonymous caller")
    }
  }
}
