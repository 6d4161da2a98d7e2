import Database
package import JSON

/// One key of a session's state.
struct StateEntry {
  let key: String
  let value: Payload
}

/// The key-value map of a session: one row for each key, so that setting one costs the same however large the rest is.
extension Store {
  /// - Returns: the session's new revision
  /// - Throws: what a write on a session throws; `payloadTooLarge` when the whole state would become too large
  package func setSessionState(_ sessionID: String, _ key: String, _ value: JSONText, owner: Owner) throws -> Int64 {
    let value = try payload(value, "value")
    let slot = try session(sessionID, owner: owner, for: .write(requested: "set state"))
    let number = cache.rows[slot].number
    let before = try stateValueSize(session: number, key).map { Self.bytes(key, $0) } ?? 0
    let size = cache.rows[slot].stateBytes - before + Self.bytes(key, value.text.bytes.count)
    try checkStateSize(size)
    try insertState(session: number, key, value)
    cache.update(slot) { $0.stateBytes = size }
    touch(slot)
    try revise(slot)
    return cache.rows[slot].revision
  }

  /// The value, or nil when there is none: a stored null is a value.
  package func getSessionState(_ sessionID: String, _ key: String, owner: Owner) throws -> JSONText? {
    let slot = try session(sessionID, owner: owner, for: .read)
    return try stateValue(session: cache.rows[slot].number, key)
  }

  /// Removes a key and touches the session even if there was none.
  /// - Returns: the value that it had
  package func removeSessionState(_ sessionID: String, _ key: String, owner: Owner) throws -> JSONText? {
    let slot = try session(sessionID, owner: owner, for: .write(requested: "remove state"))
    let number = cache.rows[slot].number
    let value = try stateValue(session: number, key)
    if let value {
      try requireMayGo(tenantID: cache.rows[slot].tenantID, principal: cache.rows[slot].principal)
      var delete = try tables.statement(
        of: number, "DELETE FROM session_state WHERE session = $1 AND key = $2")
      delete.bind(2, key)
      try delete.run()
      if isShared { foreseen.note(nil as JSONText?, number, key) }
      cache.update(slot) { $0.stateBytes -= Self.bytes(key, value.bytes.count) }
      try revise(slot)
    }
    touch(slot)
    return value
  }

  /// The keys behind the one with the number `after`, in the order in which they were first set.
  /// - Parameter visit: gets each key with its number; false ends the page before it
  /// - Returns: whether there are more
  package func listStateKeys(
    _ sessionID: String, owner: Owner, after: Int64, visit: (String, Int64) throws -> Bool
  ) throws -> Bool {
    let slot = try session(sessionID, owner: owner, for: .read)
    var select = try tables.statement(
      of: cache.rows[slot].number,
      "SELECT key, number FROM session_state WHERE session = $1 AND number > $2 ORDER BY number")
    select.bind(2, after)
    while try select.step() {
      if try !visit(select.string(0), select.integer(1)) { return true }
    }
    return false
  }

  // MARK: - Rows

  private func stateValue(session: SessionNumber, _ key: String) throws -> JSONText? {
    if isShared, let known = foreseen.state(session, key) { return known }
    var select = try tables.statement(
      of: session, "SELECT value FROM session_state WHERE session = $1 AND key = $2")
    select.bind(2, key)
    return try select.step() ? select.json(0) : nil
  }

  private func stateValueSize(session: SessionNumber, _ key: String) throws -> Int? {
    if isShared, let known = foreseen.state(session, key) { return known?.bytes.count }
    var select = try tables.statement(
      of: session, "SELECT value FROM session_state WHERE session = $1 AND key = $2")
    select.bind(2, key)
    return try select.step() ? select.withText(0) { $0.count } : nil
  }

  func insertState(session: SessionNumber, _ key: String, _ value: Payload) throws {
    var upsert = try tables.statement(
      of: session,
      """
      INSERT INTO session_state (session, key, value) VALUES ($1, $2, $3)
      ON CONFLICT (session, key) DO UPDATE SET value = excluded.value
      """)
    upsert.bind(2, key)
    upsert.bind(3, value)
    try upsert.run()
    if isShared { foreseen.note(value.text, session, key) }
  }

  func deleteState(session: SessionNumber) throws {
    var delete = try tables.statement(of: session, "DELETE FROM session_state WHERE session = $1")
    try delete.run()
    foreseen.forgetStates()
  }

  /// The whole state as one object, its keys in the order in which they were first set.
  func stateObject(_ row: SessionRow) throws -> JSONText {
    if row.stateBytes == 0 { return .emptyObject }
    // Sorted here: with SQLite's sorter one key took 10,900 instructions instead of 8,400.
    var select = try tables.statement(
      of: row.number, "SELECT number, key, value FROM session_state WHERE session = $1")
    var entries: [(number: Int64, key: String, value: JSONText)] = []
    while try select.step() {
      entries.append((select.integer(0), select.string(1), JSONText(validated: select.bytes(2)[...])))
    }
    entries.sort { $0.number < $1.number }
    return stateObject(entries.map { StateEntry(key: $0.key, value: Payload(own: $0.value)) }, bytes: row.stateBytes)
  }

  /// - Parameter bytes: what the entries count for
  func stateObject(_ entries: [StateEntry], bytes: Int64) -> JSONText {
    if entries.isEmpty { return .emptyObject }
    var writer = JSONWriter()
    // An entry counts for its quotes, colon and comma; only escapes make it longer.
    writer.reserve(Int(bytes) + 2)
    writer.beginObject()
    for entry in entries {
      writer.escapedName(entry.key)
      writer.text(entry.value.text)
    }
    writer.endObject()
    return JSONText(validated: writer.take()[...])
  }

  // MARK: - Checks

  /// The members of a state object, each key once and usable as a name.
  func stateEntries(_ object: JSONText) throws -> [StateEntry] {
    var keys: Set<[UInt8]> = []
    var entries: [StateEntry] = []
    var size: Int64 = 0
    for (name, value) in object.members {
      guard let key = name, (1...1_024).contains(key.utf8.count) else {
        throw StoreError.invalidParameter(name: "state", expected: "an object whose keys are 1 to 1,024 bytes of UTF-8")
      }
      guard keys.insert(key.exact).inserted else {
        throw StoreError.invalidParameter(name: "state.\(key)", expected: "each key once")
      }
      let entry = StateEntry(key: key, value: try Payload(value, what: "The value of a state key", limits))
      // At once: what is too much is not held.
      size += Self.bytes([entry])
      entries.append(entry)
      try checkStateSize(size)
    }
    return entries
  }

  private func checkStateSize(_ size: Int64) throws {
    if limits.maxStateBytes > 0, size > Int64(limits.maxStateBytes) {
      throw StoreError.payloadTooLarge(what: "The session's whole state", limit: limits.maxStateBytes)
    }
  }

  /// what an entry counts for: its key, its value, and four bytes for quotes, colon and comma
  private static func bytes(_ key: String, _ valueBytes: Int) -> Int64 { Int64(key.utf8.count + valueBytes + 4) }

  static func bytes(_ entries: [StateEntry]) -> Int64 {
    entries.reduce(0) { $0 + bytes($1.key, $1.value.text.bytes.count) }
  }
}
