import Database
package import JSON

/// What a caller may say about a session that is to be made.
package struct NewSession {
  package var sessionID: String?
  package var idFormat: IDFormat?
  package var userID: String?
  package var clientCapabilities: JSONText?
  package var serverCapabilities: JSONText?
  /// an object
  package var state: JSONText?
  /// an object
  package var metadata: JSONText?
  package var status = SessionStatus.pending
  package var isInitialized = false
  /// nil: the store's default; 0: never
  package var ttl: Int64?
  /// nil: the store's default; 0: never
  package var inactivityTimeout: Int64?
  package var createdAt: Int64?
  package var lastActivity: Int64?
  /// an absolute deadline, which goes before `ttl`
  package var expiresAt: Int64?

  package init() {}
}

/// A field of a record in an update: left as it is, or replaced (by nothing, where the field may be absent).
package enum Change<Value> {
  case keep
  case set(Value)

  func applied(to value: Value) -> Value {
    if case .set(let new) = self { new } else { value }
  }
}

/// What may be changed of a session by ``Store/updateSession(_:_:owner:ifRevision:)``.
package struct SessionUpdate {
  package var userID = Change<String?>.keep
  package var clientCapabilities = Change<JSONText?>.keep
  package var serverCapabilities = Change<JSONText?>.keep
  package var state = Change<JSONText>.keep
  package var metadata = Change<JSONText>.keep
  package var isInitialized = Change<Bool>.keep
  package var lastActivity = Change<Int64>.keep
  package var expiresAt = Change<Int64?>.keep
  package var inactivityTimeout = Change<Int64?>.keep

  package init() {}
}

/// What of a session's record can be large, as it is stored.
private struct SessionPayloads {
  let clientCapabilities: Payload?
  let serverCapabilities: Payload?
  let metadata: Payload

  init(_ new: NewSession, _ store: Store) throws {
    clientCapabilities = try new.clientCapabilities.map { try store.payload($0, "client_capabilities") }
    serverCapabilities = try new.serverCapabilities.map { try store.payload($0, "server_capabilities") }
    metadata = try store.payload(new.metadata ?? .emptyObject, "metadata")
  }

  /// What an update leaves as it is may be larger than the limit is now.
  init(_ update: SessionUpdate, _ old: SessionDetails, _ store: Store) throws {
    func payload(_ change: Change<JSONText?>, _ old: JSONText?, _ name: StaticString) throws -> Payload? {
      guard case .set(let new) = change else { return old.map { Payload(own: $0) } }
      return try new.map { try store.payload($0, name) }
    }
    clientCapabilities = try payload(update.clientCapabilities, old.clientCapabilities, "session.client_capabilities")
    serverCapabilities = try payload(update.serverCapabilities, old.serverCapabilities, "session.server_capabilities")
    metadata =
      if case .set(let new) = update.metadata { try store.payload(new, "session.metadata") } else {
        Payload(own: old.metadata)
      }
  }
}

/// What was deleted with a session.
package struct DeletedSession: Equatable {
  package var deleted = false
  package var events: Int64 = 0
  package var tasks: Int64 = 0
  package var logEntries: Int64 = 0
}

extension Store {
  // MARK: - Finding a session

  /// What a call wants to do with a session; the status decides whether it may.
  enum SessionAccess {
    case read
    /// - counts: whether it takes something off the session's allowance
    case write(requested: String, counts: Bool = true)
    case lifecycle
  }

  /// The cached row of a session that answers to `owner`, whatever its status; nil when there is none.
  func findSession(_ sessionID: String, owner: Owner) throws -> SessionSlot? {
    if let slot = cache.slot(sessionID) {
      if cache.admits(owner, slot) { return slot }
      // It was read with this group or snapshot, as it was found then that a missing one is missing.
      if isShared { return nil }
    }
    if !absentSessions.isEmpty, absentSessions.contains(sessionID) { return nil }
    // A foreign one too is looked for in the database each time and not remembered: a missing one costs the same.
    guard let row = try selectSession(sessionID), row.admits(owner) else { return nil }
    return cache.insert(underPolicies(row))
  }

  /// The cached row of a session that may be used so.
  /// - Throws: `sessionNotFound` (also for a foreign one), `sessionExpired`, `invalidSessionStatus`; for a write
  ///   `maxSessionWritesReached`
  func session(_ sessionID: String, owner: Owner, for access: SessionAccess) throws -> SessionSlot {
    guard let slot = try findSession(sessionID, owner: owner) else {
      noteUnauthorized(session: sessionID, owner: owner)
      throw StoreError.sessionNotFound(sessionID)
    }
    let status = effectiveStatus(slot)
    if case .read = access, owner.seesEnded, cache.rows[slot].isKept(at: now, limits) { return slot }
    switch (status, access) {
    case (.expired, _), (.resolved, _):
      throw StoreError.sessionExpired(sessionID)
    case (.pending, _), (.active, _), (.suspended, .read), (_, .lifecycle):
      if let rate = limits.sessionWrites, case .write(_, counts: true) = access { try takeWrite(slot, rate) }
      return slot
    case (.suspended, .write(let requested, _)), (.invalidated, .write(let requested, _)):
      throw StoreError.invalidSessionStatus(current: status, requested: requested)
    case (.invalidated, .read):
      throw StoreError.invalidSessionStatus(current: status, requested: "read")
    }
  }

  func effectiveStatus(_ slot: SessionSlot) -> SessionStatus {
    cache.status(slot, at: now, limits)
  }

  /// Slides the inactivity deadline: every write on a session does.
  func touch(_ slot: SessionSlot) {
    cache.update(slot) { $0.touch(now, limits) }
  }

  /// Marks that the caller's own content of the session changed.
  func revise(_ slot: SessionSlot) throws {
    let revision = try nextRevision(above: cache.rows[slot].revision)
    cache.update(slot) { $0.revision = revision }
  }

  private func selectSession(_ sessionID: String) throws -> SessionRow? {
    var select =
      isShared
      ? try tables.statement(.server, composed: SessionRow.byID.description + locking)
      : try tables.statement(.server, SessionRow.byID)
    select.bind(1, sessionID)
    return try select.step() ? Self.sessionRow(select) : nil
  }

  static func sessionRow(_ select: borrowing Statement) -> SessionRow {
    SessionRow(
      number: SessionNumber(select, 0), sessionID: select.string(1), tenantID: select.optionalString(2),
      principal: select.optionalString(3), status: SessionStatus(rawValue: select.string(4)) ?? .invalidated,
      lastActivity: select.integer(5), expiresAt: select.optionalInteger(6),
      inactivityTimeout: select.optionalInteger(7), suspendedAt: select.optionalInteger(8),
      lastEventID: select.integer(9), eventFloor: select.integer(10), eventTrimmed: select.integer(11),
      stateBytes: select.integer(12), revision: select.integer(13), lastLogSeq: select.integer(15),
      logFloor: select.integer(16), logCheckpoint: select.integer(17), logIDs: select.integer(18),
      logIDsSeq: select.integer(19), endedAt: select.optionalInteger(21), checkAt: select.optionalInteger(14),
      writeArrival: select.optionalInteger(20))
  }

  /// Writes the changed rows, and events and log entries that wait; needed before SQL that reads or counts sessions or
  /// what they have.
  func flushSessions() throws {
    try writeChunks()
    try cache.flush { row in
      var update = try tables.statement(
        of: row.number, as: 14,
        """
        UPDATE sessions SET last_activity = $1, expires_at = $2, inactivity_timeout = $3, last_event_id = $4,
          event_floor = $5, event_trimmed = $6, state_bytes = $7, revision = $8, last_log_seq = $9, log_floor = $10,
          log_checkpoint = $11, log_ids = $12, log_ids_seq = $13
        WHERE number = $14
        """)
      update.bind(1, row.lastActivity)
      update.bind(2, row.expiresAt)
      update.bind(3, row.inactivityTimeout)
      update.bind(4, row.lastEventID)
      update.bind(5, row.eventFloor)
      update.bind(6, row.eventTrimmed)
      update.bind(7, row.stateBytes)
      update.bind(8, row.revision)
      update.bind(9, row.lastLogSeq)
      update.bind(10, row.logFloor)
      update.bind(11, row.logCheckpoint)
      update.bind(12, row.logIDs)
      update.bind(13, row.logIDsSeq)
      try update.run()
      if row.isDirtyInIndexes { try writeIndexed(row) }
      if limits.sessionWrites != nil { try writeAllowance(row) }
    }
  }

  /// Apart, because most stores limit no writes.
  private func writeAllowance(_ row: SessionRow) throws {
    var update = try tables.statement(
      of: row.number, as: 2, "UPDATE sessions SET write_arrival = $1 WHERE number = $2")
    update.bind(1, row.writeArrival)
    try update.run()
  }

  /// Apart, because it stands in indexes, and an index is written even when the value stays.
  private func writeIndexed(_ row: SessionRow) throws {
    var update = try tables.statement(
      of: row.number, as: 5,
      "UPDATE sessions SET status = $1, suspended_at = $2, check_at = $3, ended_at = $4 WHERE number = $5")
    update.bind(1, row.status.rawValue)
    update.bind(2, row.suspendedAt)
    update.bind(3, row.checkAt)
    update.bind(4, row.endedAt)
    try update.run()
  }

  func setCheck(_ number: SessionNumber, _ checkAt: Int64?) throws {
    var update = try tables.statement(
      of: number, as: 2, "UPDATE sessions SET check_at = $1 WHERE number = $2")
    update.bind(1, checkAt)
    try update.run()
  }

  // MARK: - Creating, reading, changing, deleting

  /// Makes a session, bound to the owners that `owner` names.
  /// - Throws: `sessionExists` (also under a foreign id: the one exception to silence about foreign things),
  ///   `maxSessionsReached`, `maxUserSessionsReached`, `payloadTooLarge`, `invalidParameter`
  package func createSession(_ new: NewSession, owner: Owner) throws -> Session {
    let state = try new.state.map { try stateEntries($0) } ?? []
    let payloads = try SessionPayloads(new, self)
    let made = new.sessionID == nil ? makeIdentifier(new.idFormat ?? limits.idFormat) : nil
    let sessionID = new.sessionID ?? made?.text ?? ""
    // Where a look is a trip, an id that was just made is not looked for.
    let taken = made != nil && isShared ? nil : try findSession(sessionID, owner: .server)
    if let taken, !effectiveStatus(taken).isOver { throw StoreError.sessionExists(sessionID) }
    // Before anything is removed: a refused call leaves everything as it was.
    try checkSessionCap(freed: taken.map { cache.rows[$0].endedAt == nil } == true ? 1 : 0)
    try checkUserCap(new.userID, tenantID: owner.tenant.binding)
    // As good as gone: only the sweep has not come by yet, or it is kept until its id is wanted.
    if let taken { try removeSession(taken, as: .expired) }
    try makeRoomForSession()

    let createdAt = new.createdAt ?? now
    let ttl = new.ttl ?? limits.sessionTTL
    let timeout = new.inactivityTimeout ?? limits.inactivityTimeout
    let number = try newSessionNumber()
    var row = SessionRow(
      number: number, sessionID: sessionID, tenantID: owner.tenant.binding, principal: owner.principal.binding,
      status: new.status, lastActivity: new.lastActivity ?? now,
      expiresAt: new.expiresAt ?? (ttl > 0 ? (Saturating(createdAt) + ttl).time : nil),
      inactivityTimeout: timeout > 0 ? timeout : nil, suspendedAt: nil, lastEventID: 0, eventFloor: 0,
      eventTrimmed: 0, stateBytes: Self.bytes(state), revision: number.value, checkAt: nil)
    row.rearm(limits)
    row.isDirtyInIndexes = false
    try insert(row, new, payloads, createdAt: createdAt)
    for entry in state { try insertState(session: number, entry.key, entry.value) }
    counters.sessions += 1
    done.sessionsCreated += 1
    note(made)
    noteMade(Self.sessionRows)
    if !absentSessions.isEmpty { absentSessions.remove(sessionID) }
    let slot = cache.insert(underPolicies(row))
    try audit(.created, row, userID: new.userID, from: nil, to: new.status, reason: nil)
    // What was just written need not be read.
    let details = SessionDetails(
      revision: row.revision, userID: new.userID, clientCapabilities: new.clientCapabilities,
      serverCapabilities: new.serverCapabilities, metadata: new.metadata ?? .emptyObject,
      isInitialized: new.isInitialized, createdAt: createdAt, state: stateObject(state, bytes: row.stateBytes))
    cache.keep(details, slot)
    return record(slot, details, includeState: true)
  }

  private func insert(_ row: SessionRow, _ new: NewSession, _ payloads: SessionPayloads, createdAt: Int64) throws {
    var insert = try tables.statement(
      of: row.number,
      """
      INSERT INTO sessions (number, session_id, tenant_id, principal, status, last_activity, expires_at,
        inactivity_timeout, last_event_id, event_floor, event_trimmed, state_bytes, revision, check_at, user_id,
        client_capabilities, server_capabilities, metadata, is_initialized, created_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, $9, $10, $11, $12, $13, $14, $15, $16, $17)
      """)
    insert.bind(2, row.sessionID)
    insert.bind(3, row.tenantID)
    insert.bind(4, row.principal)
    insert.bind(5, row.status.rawValue)
    insert.bind(6, row.lastActivity)
    insert.bind(7, row.expiresAt)
    insert.bind(8, row.inactivityTimeout)
    insert.bind(9, row.stateBytes)
    insert.bind(10, row.revision)
    insert.bind(11, row.checkAt)
    insert.bind(12, new.userID)
    insert.bind(13, payloads.clientCapabilities)
    insert.bind(14, payloads.serverCapabilities)
    insert.bind(15, payloads.metadata)
    insert.bind(16, new.isInitialized)
    insert.bind(17, createdAt)
    try insert.run()
  }

  /// Sessions that are over do not count, kept or not.
  /// - Parameter freed: overdue ones that will be removed in any case
  private func checkSessionCap(freed: Int64) throws {
    if limits.maxSessions == 0 { return }
    let excess = counters.sessions - counters.endedSessions + 1 - freed - Int64(limits.maxSessions)
    if excess > 0, try overdue("count(*)") - freed < excess {
      throw StoreError.maxSessionsReached(limit: limits.maxSessions)
    }
  }

  /// Removes or ends what has expired until one more session fits under the cap.
  private func makeRoomForSession() throws {
    if limits.maxSessions == 0 { return }
    while counters.sessions - (endedMayStay ? counters.endedSessions : 0) >= Int64(limits.maxSessions) {
      let swept = try sweepSessions(limit: 16)
      if swept.removed.isEmpty, !swept.hasMore { throw StoreError.maxSessionsReached(limit: limits.maxSessions) }
    }
    if keepsEnded { try makeRoomForEnded() }
  }

  /// Whether a user may have one more session.
  private func checkUserCap(_ userID: String?, tenantID: String?) throws {
    guard limits.maxSessionsPerUser > 0, let userID else { return }
    if try countSessions(ofUser: userID, tenantID: tenantID) >= Int64(limits.maxSessionsPerUser) {
      throw StoreError.maxUserSessionsReached(limit: limits.maxSessionsPerUser)
    }
  }

  /// The session, or nil when it is unknown, over or foreign.
  /// - Parameter touch: slides the inactivity deadline of a pending or active session; needs an open group
  /// - Parameter includeState: whether the state is read
  package func getSession(
    _ sessionID: String, owner: Owner, touch: Bool = false, includeState: Bool = true
  ) throws -> Session? {
    guard let slot = try findSession(sessionID, owner: owner) else {
      noteUnauthorized(session: sessionID, owner: owner)
      return nil
    }
    let status = effectiveStatus(slot)
    if status.isOver, !(owner.seesEnded && cache.rows[slot].isKept(at: now, limits)) { return nil }
    if touch, status == .pending || status == .active { self.touch(slot) }
    return try record(slot, includeState: includeState)
  }

  /// Replaces the fields that are given.
  /// - Throws: what ``session(_:owner:for:)`` throws for a write; `concurrentModification`; `payloadTooLarge`
  package func updateSession(
    _ sessionID: String, _ update: SessionUpdate, owner: Owner, ifRevision: Int64? = nil
  ) throws -> Session {
    let slot = try session(sessionID, owner: owner, for: .write(requested: "update"))
    try require(ifRevision, cache.rows[slot].revision)
    var state: [StateEntry]?
    if case .set(let text) = update.state { state = try stateEntries(text) }

    let number = cache.rows[slot].number
    let known = isShared ? cache.details(slot) : nil
    try checkUserCap(slot, update)
    try updateDetails(slot, update)
    if let state {
      try deleteState(session: number)
      for entry in state { try insertState(session: number, entry.key, entry.value) }
    }
    try revise(slot)
    cache.update(slot) { row in
      // An update is a write like any other. Only a later time than the one that is there counts: what a caller read
      // before and sends back must take back no activity that came in between.
      let given = update.lastActivity.applied(to: row.lastActivity)
      row.lastActivity = given > row.lastActivity ? given : now
      row.expiresAt = update.expiresAt.applied(to: row.expiresAt)
      row.inactivityTimeout = update.inactivityTimeout.applied(to: row.inactivityTimeout).flatMap { $0 > 0 ? $0 : nil }
      if let state { row.stateBytes = Self.bytes(state) }
      row.rearm(limits)
    }
    noteChange(ofSession: number)
    if let known { keep(known, update, state, slot) }
    return try record(slot, includeState: true)
  }

  /// What an update has made of details that are known: to read them again would take a trip.
  private func keep(_ old: SessionDetails, _ update: SessionUpdate, _ state: [StateEntry]?, _ slot: SessionSlot) {
    let row = cache.rows[slot]
    let new = SessionDetails(
      revision: row.revision, userID: update.userID.applied(to: old.userID),
      clientCapabilities: update.clientCapabilities.applied(to: old.clientCapabilities),
      serverCapabilities: update.serverCapabilities.applied(to: old.serverCapabilities),
      metadata: update.metadata.applied(to: old.metadata),
      isInitialized: update.isInitialized.applied(to: old.isInitialized), createdAt: old.createdAt,
      suspendedTime: old.suspendedTime, suspensions: old.suspensions,
      state: state.map { stateObject($0, bytes: row.stateBytes) } ?? old.state)
    cache.keep(new, slot, isForeseen: true)
  }

  /// Taking over a session is having one more.
  private func checkUserCap(_ slot: SessionSlot, _ update: SessionUpdate) throws {
    guard limits.maxSessionsPerUser > 0, case .set(let userID?) = update.userID else { return }
    let old = try details(slot, includeState: false).userID
    if let old, old.isSame(as: userID) { return }
    try checkUserCap(userID, tenantID: cache.rows[slot].tenantID)
  }

  private func updateDetails(_ slot: SessionSlot, _ update: SessionUpdate) throws {
    switch (update.userID, update.clientCapabilities, update.serverCapabilities, update.metadata, update.isInitialized)
    {
    case (.keep, .keep, .keep, .keep, .keep): return
    default: break
    }
    let old = try details(slot, includeState: false)
    let payloads = try SessionPayloads(update, old, self)
    var statement = try tables.statement(
      of: cache.rows[slot].number, as: 6,
      """
      UPDATE sessions SET user_id = $1, client_capabilities = $2, server_capabilities = $3, metadata = $4,
        is_initialized = $5
      WHERE number = $6
      """)
    statement.bind(1, update.userID.applied(to: old.userID))
    statement.bind(2, payloads.clientCapabilities)
    statement.bind(3, payloads.serverCapabilities)
    statement.bind(4, payloads.metadata)
    statement.bind(5, update.isInitialized.applied(to: old.isInitialized))
    try statement.run()
  }

  /// Slides the inactivity deadline and does nothing else.
  package func touchSession(_ sessionID: String, owner: Owner) throws -> Session {
    let slot = try session(sessionID, owner: owner, for: .write(requested: "touch", counts: false))
    touch(slot)
    return try record(slot, includeState: true)
  }

  /// Deletes a session in any status with its events, state and log, and if asked with its tasks that answer to
  /// the caller too.
  package func deleteSession(_ sessionID: String, owner: Owner, deleteTasks: Bool) throws -> DeletedSession {
    guard let slot = try findSession(sessionID, owner: owner) else {
      noteUnauthorized(session: sessionID, owner: owner)
      return DeletedSession()
    }
    let row = cache.rows[slot]
    try requireMayGo(tenantID: row.tenantID, principal: row.principal)
    let tasks = deleteTasks ? try self.deleteTasks(of: row, owner: owner) : 0
    try removeSession(slot, as: .deleted)
    return DeletedSession(deleted: true, events: row.eventCount, tasks: tasks, logEntries: row.logCount)
  }

  /// Deletes all rows of a session but its tasks and its audit trail.
  /// - Parameter change: what the trail is told; nil for nothing
  /// - Throws: `heldByLegalHold`
  func removeSession(_ slot: SessionSlot, as change: LifecycleChange?) throws {
    try requireMayGo(tenantID: cache.rows[slot].tenantID, principal: cache.rows[slot].principal)
    let status = effectiveStatus(slot)
    try writeChunks(of: slot)
    let row = cache.rows[slot]
    if row.stateBytes > 0 { try deleteState(session: row.number) }
    if row.lastEventID > row.eventTrimmed { try deleteEventRows(session: row.number, through: .max) }
    if row.eventTrimmed > 0 { try deleteStreamLosses(session: row.number) }
    if row.logCount > 0 { try deleteLogEntries(session: row.number, through: .max) }
    if row.logIDs > 0 { try deleteMessageIDs(session: row.number) }
    if row.lastLogSeq > 0 { try deleteParticipants(session: row.number) }
    var delete = try tables.statement(
      of: row.number, "DELETE FROM sessions WHERE number = $1 RETURNING user_id")
    guard try delete.step() else {
      throw DatabaseError.corrupt("a row of table 'sessions' vanished")
    }
    let userID = delete.optionalString(0)
    try delete.run()
    cache.remove(slot)
    counters.sessions -= 1
    if row.endedAt != nil { counters.endedSessions -= 1 }
    done.sessionsRemoved += 1
    counters.events -= row.eventCount
    counters.logEntries -= row.logCount
    noteChange(ofSession: row.number)
    // An end that was noted is in the trail already.
    guard let change, !(change == .expired && row.endedAt != nil) else { return }
    let before = change == .expired ? row.status : status
    try audit(change, row, userID: userID, from: before, to: change == .expired ? .expired : nil, reason: nil)
  }

  /// Throws unless the caller's idea of the revision still holds.
  func require(_ ifRevision: Int64?, _ revision: Int64) throws {
    if let ifRevision, ifRevision != revision { throw StoreError.concurrentModification(revision: revision) }
  }

  // MARK: - The whole record

  private func details(_ slot: SessionSlot, includeState: Bool) throws -> SessionDetails {
    if let known = cache.details(slot), !includeState || known.state != nil { return known }
    let row = cache.rows[slot]
    var select = try tables.statement(
      of: row.number,
      """
      SELECT user_id, client_capabilities, server_capabilities, metadata, is_initialized, created_at,
        coalesce(suspended_ms, 0), coalesce(suspensions, 0)
      FROM sessions WHERE number = $1
      """)
    guard try select.step() else {
      throw DatabaseError.corrupt("a row of table 'sessions' vanished")
    }
    let details = SessionDetails(
      select, revision: row.revision, state: includeState ? try stateObject(row) : nil)
    if includeState { cache.keep(details, slot) }
    return details
  }

  func record(_ slot: SessionSlot, includeState: Bool) throws -> Session {
    let details = try details(slot, includeState: includeState)
    return record(slot, details, includeState: includeState)
  }

  @inline(__always)
  private func record(_ slot: SessionSlot, _ details: SessionDetails, includeState: Bool) -> Session {
    let row = cache.rows[slot]
    return Session(
      sessionID: row.sessionID, status: effectiveStatus(slot), userID: details.userID, tenantID: row.tenantID,
      principal: row.principal, clientCapabilities: details.clientCapabilities,
      serverCapabilities: details.serverCapabilities, state: includeState ? details.state : nil,
      metadata: details.metadata, isInitialized: details.isInitialized, createdAt: details.createdAt,
      lastActivity: row.lastActivity, expiresAt: row.expiresAt, inactivityTimeout: row.inactivityTimeout,
      suspendedAt: row.suspendedAt, suspendedTime: details.suspendedTime, suspensions: details.suspensions,
      endedAt: keepsEnded ? row.end(at: now, limits) : nil, tellsEnd: keepsEnded,
      lastEventID: row.lastEventID, revision: row.revision)
  }
}

/// A call that only reads most of the time has found something to write: run it again in a group.
package struct NeedsGroup: Error {
  package init() {}
}

extension SessionRow {
  /// A literal, so that finding the statement costs no hashing of text.
  static let byID: StaticString = """
    SELECT number, session_id, tenant_id, principal, status, last_activity, expires_at, inactivity_timeout,
      suspended_at, last_event_id, event_floor, event_trimmed, state_bytes, revision, check_at, last_log_seq,
      log_floor, log_checkpoint, log_ids, log_ids_seq, write_arrival, ended_at
    FROM sessions WHERE session_id = $1
    """
  /// The same columns, for other conditions.
  static let select = String(byID.description.dropLast(" WHERE session_id = $1".count))
}

extension Statement {
  /// A JSON column; nil for NULL.
  func json(_ column: Int32) -> JSONText? {
    optionalBytes(column).map { JSONText(validated: $0[...]) }
  }

}
