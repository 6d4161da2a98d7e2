/// What commits changed that somebody may be waiting for.
package struct StoreChanges {
  /// sessions whose events or status changed, or that are gone
  package var sessions: Set<SessionNumber> = []
  /// tasks that changed or are gone
  package var tasks: Set<TaskNumber> = []
  /// sessions to which such tasks belong
  package var sessionsOfTasks: Set<SessionNumber> = []

  var isEmpty: Bool { sessions.isEmpty && tasks.isEmpty }
}
