import Database

/// The number of a session's row, by which its events, its state, its log and its tasks know it. No two sessions ever
/// have the same, unlike their ids, which are used again.
///
/// It is a key: who has it may reach those rows. So it comes only out of a row that a statement gave, and statements
/// are made for somebody (``Tables``), or with a new row.
package struct SessionNumber: Hashable, Comparable, Sendable {
  let value: Int64

  fileprivate init(_ value: Int64) {
    self.value = value
  }

  /// Of the row that is being read.
  init(_ row: borrowing Statement, _ column: Int32) {
    value = row.integer(column)
  }

  /// nil where the row names none.
  init?(optional row: borrowing Statement, _ column: Int32) {
    guard let value = row.optionalInteger(column) else { return nil }
    self.value = value
  }

  /// Of a row that was just made of what a dump tells.
  init(loaded value: Int64) {
    self.value = value
  }

  package static func < (first: SessionNumber, second: SessionNumber) -> Bool {
    first.value < second.value
  }
}

/// The number of a task's row, by which its messages know it: a key as ``SessionNumber`` is one.
package struct TaskNumber: Hashable, Comparable, Sendable {
  let value: Int64

  /// Of a row that was found because it is due.
  init(due value: Int64) {
    self.value = value
  }

  fileprivate init(_ value: Int64) {
    self.value = value
  }

  /// Of the row that is being read.
  init(_ row: borrowing Statement, _ column: Int32) {
    value = row.integer(column)
  }

  package static func < (first: TaskNumber, second: TaskNumber) -> Bool {
    first.value < second.value
  }
}

extension Store {
  /// The number of a session that is being made; also its first revision.
  func newSessionNumber() throws -> SessionNumber { SessionNumber(try nextRevision()) }

  /// The number of a task that is being made; also its first revision.
  func newTaskNumber() throws -> TaskNumber { TaskNumber(try nextRevision()) }
}

extension Statement {
  mutating func bind(_ index: Int32, _ session: SessionNumber) { bind(index, session.value) }
  mutating func bind(_ index: Int32, _ session: SessionNumber?) { bind(index, session?.value) }
  mutating func bind(_ index: Int32, _ task: TaskNumber) { bind(index, task.value) }
}
