/// What commits changed that somebody may be waiting for.
package struct StoreChanges {
  /// sessions whose events or status changed, or that are gone
  package var sessions: Set<SessionNumber> = []
  /// tasks that changed or are gone
  package var tasks: Set<TaskNumber> = []
  /// sessions to which such tasks belong
  package var sessionsOfTasks: Set<SessionNumber> = []
  /// queues of which there may be more to claim
  package var queues: Set<String> = []
  /// when the first of what was leased or put off wakes, by queue
  package var wakes: [String: Int64] = [:]

  var isEmpty: Bool { sessions.isEmpty && tasks.isEmpty && queues.isEmpty && wakes.isEmpty }
}
