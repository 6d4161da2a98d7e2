/// What this process has put into the store and taken out of it since it opened it. What is not committed does not
/// count, so no figure ever falls back.
package struct Totals: Equatable, Sendable {
  package var sessionsCreated: Int64 = 0
  /// by whoever asked and by sweeps
  package var sessionsRemoved: Int64 = 0
  package var eventsStored: Int64 = 0
  /// of their payloads
  package var eventBytesStored: Int64 = 0
  package var eventsEvicted: Int64 = 0
  package var tasksCreated: Int64 = 0
  package var tasksRemoved: Int64 = 0
  package var logEntriesAppended: Int64 = 0
  package var workEnqueued: Int64 = 0
  /// claims
  package var workClaimed: Int64 = 0
  package var workDone: Int64 = 0
  package var workDead: Int64 = 0

  mutating func add(_ other: Totals) {
    sessionsCreated += other.sessionsCreated
    sessionsRemoved += other.sessionsRemoved
    eventsStored += other.eventsStored
    eventBytesStored += other.eventBytesStored
    eventsEvicted += other.eventsEvicted
    tasksCreated += other.tasksCreated
    tasksRemoved += other.tasksRemoved
    logEntriesAppended += other.logEntriesAppended
    workEnqueued += other.workEnqueued
    workClaimed += other.workClaimed
    workDone += other.workDone
    workDead += other.workDead
  }
}
