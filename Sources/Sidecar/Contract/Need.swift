import SessionStore

/// Which rows a method is about, as its parameters name them: a store that shares its tables locks them before it runs
/// anything.
struct Need: Sendable {
  private let session: Bool
  private let task: Bool
  private let value: Bool
  private let rateKey: Bool
  private let nonce: Bool

  init(_ parameters: [Parameter]) {
    func takes(_ name: ParameterName) -> Bool { parameters.contains { $0.name == name } }
    session = takes(.sessionID)
    task = takes(.taskID)
    value = takes(.collection) && takes(.key)
    rateKey = takes(.window) && takes(.key)
    nonce = takes(.nonce)
  }

  /// Adds what a call of the method names.
  func add(_ call: Call, to needs: inout Needs) {
    if session, let id = call.optionalString(.sessionID) { needs.add(session: id) }
    if task, let id = call.optionalString(.taskID) { needs.add(task: id) }
    if value, call.has(.key) {
      needs.add(value: call.string(.key), in: ValuePlace(collection: call.string(.collection), owner: call.owner))
    }
    if rateKey { needs.add(rateKey: call.string(.key)) }
    if nonce { needs.add(nonce: call.string(.nonce), of: call.owner.principal) }
  }
}
