/// The rows that requests are about, as far as their parameters name them. A store that shares its tables with others
/// locks them before anything is run, in one order and in one trip.
package struct Needs {
  package private(set) var sessions: Set<String> = []
  package private(set) var tasks: Set<String> = []
  private(set) var values: [(place: ValuePlace, key: String)] = []
  private(set) var rateKeys: [String] = []
  private(set) var queues: Set<String> = []
  private(set) var nonces: [(nonce: String, principal: String)] = []
  /// items of work that are to be made
  private(set) var work: [(queue: String, workID: String)] = []
  /// groups of work that something joins
  private(set) var workGroups: [(queue: String, name: String)] = []
  /// items of work that are somebody's
  private(set) var leases: [(queue: String, workID: String)] = []
  private var claims: [(queue: String, limit: Int)] = []
  /// by task, how many messages are taken from the front of its queue
  private(set) var messages: [String: Int] = [:]
  /// those of the sessions whose whole record is wanted
  private(set) var shown: Set<String> = []
  /// keys of states
  private(set) var states: [(session: String, key: String)] = []
  /// Whether nobody else may write meanwhile.
  package var holdsOthersUp = false
  /// how many calls there are, with those that stand in others
  private var calls = 0

  package init() {}

  /// The claim that is all there is: nothing can change what it is about to find.
  var loneClaim: (queue: String, limit: Int)? { calls == 1 ? claims.first : nil }

  package mutating func addCall() { calls += 1 }

  package mutating func add(session id: String) { sessions.insert(id) }
  package mutating func add(shown id: String) { shown.insert(id) }
  package mutating func add(state key: String, of session: String) { states.append((session, key)) }
  package mutating func add(task id: String) { tasks.insert(id) }
  package mutating func add(value key: String, in place: ValuePlace) { values.append((place, key)) }
  package mutating func add(rateKey key: String) { rateKeys.append(key) }
  package mutating func add(queue: String) { queues.insert(queue) }
  package mutating func add(work id: String, in queue: String) { work.append((queue, id)) }
  package mutating func add(workGroup name: String, in queue: String) { workGroups.append((queue, name)) }
  package mutating func add(lease id: String, in queue: String) { leases.append((queue, id)) }
  package mutating func add(claimOf limit: Int, in queue: String) { claims.append((queue, limit)) }
  package mutating func add(messageOf task: String) { messages[task, default: 0] += 1 }
  package mutating func add(nonce: String, of principal: OwnerClaim) { nonces.append((nonce, principal.binding ?? "")) }
}
