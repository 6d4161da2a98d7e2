import Database
import SHA256

/// Where sessions go that leave the store.
package protocol ArchiveTarget: AnyObject {
  /// which file it is, wherever it is moved to on its machine
  var file: String { get }
  /// without links, so that it can be found from any directory
  var path: String { get }
  /// those that are at its end, at most as many as may be in the store as well, with the digest of their lines
  var newest: [(sessionID: String, digest: String)] { get }
  /// bytes
  var size: Int64 { get }
  /// What follows is of this session.
  func begin(_ sessionID: String) throws
  /// - Parameter lines: whole lines of a dump
  func append(_ lines: [UInt8]) throws
  /// - Parameter digest: 64 digits, of all lines but the first
  func end(_ digest: String) throws
  /// When this returns, all that was appended outlives a power cut.
  func sync() throws
}

/// Why there is no archive to be had.
package enum ArchiveError: Error {
  /// none can be made at that path
  case unusable(path: String, reason: String)
  case missing(path: String, reason: String)
  /// not one of ours, or damaged
  case foreign(path: String, offset: Int64)
  /// another process writes to it
  case busy(path: String)
  /// sessions of the store are leaving for that one
  case elsewhere(path: String)
  /// - Parameter what: for example "cannot write to"
  case failed(path: String, what: String, isFull: Bool, reason: String)
  /// what it takes is not there on this machine
  case noLibrary(what: String, instead: String)
}

/// A session that is on disk in an archive.
package struct LeavingSession: Sendable {
  let sessionID: String
  /// what tells whether it is still what was written there
  let stamp: [Int64]
}

/// One pass over the sessions that ended before a time, the longest ended first. Each is a dump of its own, with its
/// tasks and without its part of the audit trail, which stays where it is. They are written and synced while nobody is
/// held up, and deleted by a later commit: whoever is killed finds them in both places, and the next pass to the same
/// archive begins with deleting those that are the same.
package struct ArchivePass {
  let target: any ArchiveTarget
  private let endedBefore: Int64
  /// behind which session it goes on; nil: what an earlier pass has left comes first
  private var place: ArchivePlace?

  package init(to target: any ArchiveTarget, endedBefore: Int64) {
    self.target = target
    self.endedBefore = endedBefore
  }

  /// how many sessions there are for it
  package func count(in store: Store) throws -> Int {
    try store.read { try store.endedCount(before: endedBefore) }
  }

  /// Writes some sessions to the archive. One that turns out not to leave is not met again.
  /// - Parameters:
  ///   - store: to read from; in no group
  ///   - check: called now and then; what it throws ends the pass
  /// - Returns: what is on disk there and may leave the store; nil when there is nothing more
  package mutating func next(
    in store: Store, check: () throws -> Void = {}
  ) throws -> [LeavingSession]? {
    guard var place else {
      place = ArchivePlace()
      return try store.read { try store.leaving(among: target.newest, check) }
    }
    let leaving = try store.read {
      try store.archive(endedBefore: endedBefore, behind: &place, to: target, check)
    }
    self.place = place
    if leaving.isEmpty { return nil }
    try target.sync()
    return leaving
  }
}

private struct ArchivePlace {
  var endedAt: Int64 = 0
  var number: Int64 = 0
}

extension Store {
  /// sessions that may be in both places
  package static let archivedAtOnce = 100
  /// bytes of lines after which no more sessions are added to those
  private static let archivedBytes = 4 << 20

  // MARK: - Writing them

  fileprivate func endedCount(before time: Int64) throws -> Int {
    var select = try tables.statement(
      .server, "SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL AND ended_at > 0 AND ended_at < $1")
    select.bind(1, time)
    return try select.step() ? Int(select.integer(0)) : 0
  }

  fileprivate func archive(
    endedBefore time: Int64, behind place: inout ArchivePlace, to target: some ArchiveTarget, _ check: () throws -> Void
  ) throws -> [LeavingSession] {
    var (leaving, bytes): ([LeavingSession], Int) = ([], 0)
    for (sessionID, next) in try endedSessions(before: time, behind: &place) where bytes < Self.archivedBytes {
      guard let slot = try findSession(sessionID, owner: .server) else { continue }
      let stamp = try stamp(of: slot)
      try target.begin(sessionID)
      let digest = try dumpForArchive(sessionID) { lines in
        try check()
        bytes += lines.count
        try target.append(lines)
      }
      try target.end(digest)
      leaving.append(LeavingSession(sessionID: sessionID, stamp: stamp))
      place = next
    }
    return leaving
  }

  /// What an archive has already and a killed process has left here.
  fileprivate func leaving(
    among members: [(sessionID: String, digest: String)], _ check: () throws -> Void
  ) throws -> [LeavingSession] {
    var leaving: [LeavingSession] = []
    for member in members {
      guard let slot = try findSession(member.sessionID, owner: .server), cache.rows[slot].endedAt != nil,
        try mayGo(slot)
      else { continue }
      let stamp = try stamp(of: slot)
      if try dumpForArchive(member.sessionID, emit: { _ in try check() }) == member.digest {
        leaving.append(LeavingSession(sessionID: member.sessionID, stamp: stamp))
      }
    }
    return leaving
  }

  /// Those that may go, as many as may be in both places.
  /// - Parameter place: moves behind those that are looked at in vain
  private func endedSessions(
    before time: Int64, behind place: inout ArchivePlace
  ) throws -> [(sessionID: String, place: ArchivePlace)] {
    while true {
      var found: [(sessionID: String, place: ArchivePlace)] = []
      do {
        var select = try tables.statement(
          .server,
          """
          SELECT session_id, ended_at, number FROM sessions
          WHERE ended_at IS NOT NULL AND ended_at > 0 AND ended_at < $1 AND (ended_at, number) > ($2, $3)
          ORDER BY ended_at, number LIMIT $4
          """)
        select.bind(1, time)
        select.bind(2, place.endedAt)
        select.bind(3, place.number)
        select.bind(4, Int64(Self.archivedAtOnce))
        while try select.step() {
          found.append((select.string(0), ArchivePlace(endedAt: select.integer(1), number: select.integer(2))))
        }
      }
      let going = try found.filter { session in
        try findSession(session.sessionID, owner: .server).map { try mayGo($0) } ?? false
      }
      guard going.isEmpty, let last = found.last else { return going }
      place = last.place
    }
  }

  /// Whether a session may go, and all its tasks, which are archived with it.
  private func mayGo(_ slot: SessionSlot) throws -> Bool {
    let row = cache.rows[slot]
    if !policies.hasHolds { return true }
    if !mayGo(tenantID: row.tenantID, principal: row.principal) { return false }
    var tasks = Filter(.server)
    tasks.add("session_id = ?", row.sessionID)
    tasks.add(of: row.number)
    do {
      try requireMayGo(tasks, of: "tasks")
      return true
    } catch StoreError.heldByLegalHold {
      return false
    }
  }

  /// - Returns: the digest of all lines but the first, which tells what the store has given out since
  private func dumpForArchive(_ sessionID: String, emit: ([UInt8]) throws -> Void) throws -> String {
    var hashing = Digest.Hashing()
    var isFirst = true
    try writeDump(sessionID: sessionID, withTrail: false) { lines, _ in
      let start = isFirst ? lines.firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? lines.count : 0
      isFirst = false
      hashing.append(lines.span.extracting(start..<lines.count))
      try emit(lines)
    }
    return hashing.finish().text
  }

  /// What differs once anything of a session that has ended is changed, its tasks included. Payloads that were replaced
  /// do not count: to those who read them nothing has changed.
  private func stamp(of slot: SessionSlot) throws -> [Int64] {
    let row = cache.rows[slot]
    var stamp = [
      row.number.value, row.revision, row.endedAt ?? -1, row.lastEventID, row.eventFloor, row.lastLogSeq, row.logFloor,
    ]
    var conditions = Filter(.server)
    conditions.add("session_id = ?", row.sessionID)
    conditions.add(of: row.number)
    var select = try tables.statement(
      conditions,
      """
      SELECT number, revision, queue_size,
        coalesce((SELECT max(m.number) FROM task_messages m WHERE m.task = tasks.number), 0) FROM tasks
      """, suffix: " ORDER BY number")
    while try select.step() { stamp += (0..<4).map { select.integer($0) } }
    return stamp
  }

  // MARK: - Deleting them

  func removeArchived(_ leaving: [LeavingSession], of file: String) throws -> Int {
    beginRequest()
    return try inOwnGroup(waiting: limits.busyTimeout) {
      try renewArchive(file)
      var budget = SliceBudget(rows: .max, environment)
      var rest = leaving[...]
      return try removeArchived(&rest, &budget)
    }
  }

  /// Deletes the first of them, as many as the budget allows.
  func removeArchived(_ leaving: inout ArraySlice<LeavingSession>, _ budget: inout SliceBudget) throws -> Int {
    var removed = 0
    while !budget.isUsedUp, let session = leaving.popFirst() {
      budget.spend(Int64(Self.sessionRows))
      guard let slot = try findSession(session.sessionID, owner: .server), cache.rows[slot].endedAt != 0,
        try mayGo(slot), try stamp(of: slot) == session.stamp
      else { continue }
      try removeArchived(slot, &budget)
      removed += 1
    }
    return removed
  }

  private func removeArchived(_ slot: SessionSlot, _ budget: inout SliceBudget) throws {
    let row = cache.rows[slot]
    var userID: String?
    do {
      var select = try tables.statement(of: row.number, "SELECT user_id FROM sessions WHERE number = $1")
      if try select.step() { userID = select.optionalString(0) }
    }
    budget.spend(try deleteTasks(of: row, owner: .server) * Int64(Self.taskRows))
    if row.rowsAtMost > budget.chunk {
      // Nobody sees it any more; its rows go with the next sweep, a few at a time.
      end(slot, as: row.status, at: 0)
      noteChange(ofSession: row.number)
    } else {
      budget.spend(row.rowsAtMost)
      try removeSession(slot, as: nil)
    }
    try audit(.deleted, row, userID: userID, from: row.status, to: nil, reason: "archived")
  }
}
