import SessionStore

/// Which rows a method is about, as its parameters name them: a store that shares its tables locks them before it runs
/// anything.
struct Need: Sendable {
  private let session: Bool
  private let task: Bool
  private let value: Bool
  private let stateKey: Bool
  private let rateKey: Bool
  private let nonce: Bool
  private let touch: Bool
  /// whether it always names the session that it is about
  let isOfOneSession: Bool
  private let sessionRecord: Bool
  private let taskRecord: Bool
  /// whether the answer is the whole record of the session
  private let shows: Bool
  private let queue: Bool
  /// whether it makes an item of work
  private let work: Bool
  private let workGroup: Bool
  /// whether it is about an item of work that is somebody's
  private let lease: Bool
  private let claim: Bool
  /// whether it takes the message at the front of a queue
  private let takesMessage: Bool
  /// whether nobody else may write meanwhile
  private let holdsOthersUp: Bool

  init(_ parameters: [Parameter], result: Schema, holdsOthersUp: Bool, takesMessage: Bool) {
    self.holdsOthersUp = holdsOthersUp
    self.takesMessage = takesMessage
    func takes(_ name: ParameterName) -> Bool { parameters.contains { $0.name == name } }
    session = takes(.sessionID)
    isOfOneSession = takes(.session) || parameters.contains { $0.name == .sessionID && $0.isRequired }
    task = takes(.taskID)
    value = takes(.collection) && takes(.key)
    stateKey = takes(.sessionID) && takes(.key) && !takes(.window)
    rateKey = takes(.window) && takes(.key)
    nonce = takes(.nonce)
    touch = takes(.touch)
    sessionRecord = takes(.session)
    taskRecord = takes(.task)
    shows = result.isRecord("Session")
    queue = takes(.queue)
    work = takes(.workID) && takes(.payload)
    workGroup = work && takes(.group)
    lease = takes(.workID) && takes(.fence)
    claim = takes(.queue) && takes(.lease) && takes(.limit)
  }

  /// Whether a method is about one task, be it one that it makes.
  var isOfTask: Bool { task || taskRecord }

  /// Whether a call that may do without a group will hardly do without one: to find that out would take a trip.
  func writes(_ call: Call) -> Bool { rateKey || (touch && call.boolean(.touch)) }

  /// Adds what a call of the method names.
  func add(_ call: Call, to needs: inout Needs) {
    needs.addCall()
    if holdsOthersUp { needs.holdsOthersUp = true }
    if session, let id = call.optionalString(.sessionID) { add(session: id, call, to: &needs) }
    if task, let id = call.optionalString(.taskID) { needs.add(task: id) }
    if sessionRecord, let id = Self.id(.sessionID, in: .session, of: call) { add(session: id, call, to: &needs) }
    if taskRecord, let id = Self.id(.taskID, in: .task, of: call) { needs.add(task: id) }
    if value, call.has(.key) {
      needs.add(value: call.string(.key), in: ValuePlace(collection: call.string(.collection), owner: call.owner))
    }
    if rateKey { needs.add(rateKey: call.string(.key)) }
    if queue, call.has(.queue) { needs.add(queue: call.string(.queue)) }
    if work { needs.add(work: call.string(.workID), in: call.string(.queue)) }
    if workGroup, let name = call.optionalString(.group) { needs.add(workGroup: name, in: call.string(.queue)) }
    if lease { needs.add(lease: call.string(.workID), in: call.string(.queue)) }
    if claim { needs.add(claimOf: Int(call.integer(.limit, default: 1)), in: call.string(.queue)) }
    if takesMessage { needs.add(messageOf: call.string(.taskID)) }
    if nonce { needs.add(nonce: call.string(.nonce), of: call.owner.principal) }
  }

  private func add(session id: String, _ call: Call, to needs: inout Needs) {
    needs.add(session: id)
    if shows { needs.add(shown: id) }
    if stateKey, call.has(.key) { needs.add(state: call.string(.key), of: id) }
  }

  /// The id that stands in a record.
  private static func id(_ name: ParameterName, in record: ParameterName, of call: Call) -> String? {
    guard call.has(record) else { return nil }
    return try? call.openRecord(record, [.required(name, .identifier, "")]).optionalString(name)
  }
}
