import Database
package import JSON

/// A value under (tenant, principal, collection, key).
package struct NamedValue {
  package let key: String
  package let value: JSONText
  package let expiresAt: Int64?
  package let revision: Int64
}

/// Where a value lies. Owners partition: the same key under two of them is two values, and under none a third.
package struct ValuePlace {
  let tenantID: String
  let principal: String
  let collection: String

  init(tenantID: String, principal: String, collection: String) {
    self.tenantID = tenantID
    self.principal = principal
    self.collection = collection
  }

  /// The name of a hold on all that lies here; nil: there is none.
  func hold(_ policies: Policies) -> String? {
    policies.hold(tenantID: tenantID.isEmpty ? nil : tenantID, principal: principal.isEmpty ? nil : principal)
  }

  package init(collection: String, owner: Owner) {
    // Names are never empty, so the empty one stands for nobody.
    tenantID = owner.tenant.binding ?? ""
    principal = owner.principal.binding ?? ""
    self.collection = collection
  }
}

/// A row of a value, which may have lapsed.
struct StoredValue {
  let number: Int64
  let value: NamedValue

  func hasLapsed(at now: Int64) -> Bool { value.expiresAt.map { $0 <= now } ?? false }

  init(_ row: borrowing Statement) {
    number = row.integer(0)
    value = NamedValue(
      key: row.string(1), value: row.json(2) ?? .null, expiresAt: row.optionalInteger(3), revision: row.integer(4))
  }
}

/// State behind a handle, for servers that have no protocol session.
extension Store {
  /// Stores a value.
  /// - Parameters:
  ///   - ttl: milliseconds; nil: it stays
  ///   - ifAbsent: only when there is none
  ///   - ifRevision: only when this is its revision
  /// - Returns: whether it was stored, and the revision of what is there now
  /// - Throws: `concurrentModification`, `maxValuesReached`
  package func putValue(
    _ place: ValuePlace, _ key: String, _ value: JSONText, ttl: Int64?, ifAbsent: Bool, ifRevision: Int64?
  ) throws -> (stored: Bool, revision: Int64) {
    let value = try payload(value, "value")
    let found = try find(place, key)
    let old = found.flatMap { $0.hasLapsed(at: now) ? nil : $0 }
    if let ifRevision, old?.value.revision != ifRevision {
      throw StoreError.concurrentModification(revision: old?.value.revision)
    }
    if ifAbsent, let old { return (false, old.value.revision) }
    let expiresAt = ttl.map { (Saturating(now) + $0).time }
    if old != nil {
      let revision = try nextRevision(above: old?.value.revision ?? 0)
      var update = try tables.statement(
        in: place, from: 4,
        """
        UPDATE named_values SET value = $1, expires_at = $2, revision = $3
        WHERE tenant_id = $4 AND principal = $5 AND collection = $6 AND key = $7
        """)
      update.bind(1, value)
      update.bind(2, expiresAt)
      update.bind(3, revision)
      update.bind(7, key)
      try update.run()
      foreseen.forget(place, key)
      return (true, revision)
    }
    // Before anything is removed: a refused call leaves everything as it was.
    if limits.maxValues > 0, counters.values >= Int64(limits.maxValues),
      try counters.values - lapsedValues() >= Int64(limits.maxValues)
    {
      throw StoreError.maxValuesReached(limit: limits.maxValues)
    }
    // One that has lapsed is absent: the new one is a new row, at the end of lists.
    if found != nil { try remove(place, key, isReplaced: true) }
    // More than one round when the cap was lowered since.
    while limits.maxValues > 0, counters.values >= Int64(limits.maxValues) {
      // What has to stay takes nobody's place.
      if policies.hasHolds {
        if try !makeRoomAmongHeldValues() { break }
      } else if try sweepValues(limit: 16) == 0 {
        throw StoreError.maxValuesReached(limit: limits.maxValues)
      }
    }
    let revision = try nextRevision()
    var insert = try tables.statement(
      in: place,
      """
      INSERT INTO named_values (tenant_id, principal, collection, number, key, value, expires_at, revision)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
      """)
    insert.bind(4, revision)
    insert.bind(5, key)
    insert.bind(6, value)
    insert.bind(7, expiresAt)
    insert.bind(8, revision)
    try insert.run()
    foreseen.forget(place, key)
    counters.values += 1
    noteMade(Self.valueRows)
    return (true, revision)
  }

  package func getValue(_ place: ValuePlace, _ key: String) throws -> NamedValue? {
    try find(place, key).flatMap { $0.hasLapsed(at: now) ? nil : $0.value }
  }

  /// - Throws: `concurrentModification` when `ifRevision` is not (or no longer) its revision
  package func deleteValue(_ place: ValuePlace, _ key: String, ifRevision: Int64?) throws -> Bool {
    let found = try find(place, key)
    let old = found.flatMap { $0.hasLapsed(at: now) ? nil : $0 }
    if let ifRevision, old?.value.revision != ifRevision {
      throw StoreError.concurrentModification(revision: old?.value.revision)
    }
    if old != nil || (found != nil && place.hold(policies) == nil) { try remove(place, key) }
    return old != nil
  }

  /// The next values of one partition in the order of creation after the one with the number `after`.
  /// - Parameter visit: gets each value; false ends the page before it
  /// - Returns: whether there are more
  package func listValues(
    _ place: ValuePlace, prefix: String, after: Int64, limit: Int, visit: (NamedValue, Int64) throws -> Bool
  ) throws -> Bool {
    var select = try list(place, prefix: prefix, after: after, limit: Int64(limit) + 1)
    var count = 0
    while try select.step() {
      let stored = StoredValue(select)
      if try count == limit || !visit(stored.value, stored.number) { return true }
      count += 1
    }
    return false
  }

  private func list(_ place: ValuePlace, prefix: String, after: Int64, limit: Int64) throws -> Statement {
    if let end = Self.end(ofPrefix: prefix), try fewBegin(place, prefix, end) {
      var select = try tables.statement(
        in: place,
        """
        SELECT number, key, value, expires_at, revision FROM named_values
        WHERE number IN (
            SELECT number FROM named_values
            WHERE tenant_id = $1 AND principal = $2 AND collection = $3 AND key >= $4 AND key < $5)
          AND number > $6 AND coalesce(expires_at > $7, true)
        ORDER BY number LIMIT $8
        """)
      select.bind(4, prefix)
      select.bind(5, end)
      select.bind(6, after)
      select.bind(7, now)
      select.bind(8, limit)
      return select
    }
    var select = try tables.cursor(
      in: place,
      """
        SELECT number, key, value, expires_at, revision FROM named_values
        WHERE tenant_id = $1 AND principal = $2 AND collection = $3 AND number > $4
          AND coalesce(expires_at > $5, true) AND \(tables.dialect.begins("key", with: "$6"))
        ORDER BY number LIMIT $7
        """)
    select.bind(4, after)
    select.bind(5, now)
    select.bind(6, prefix)
    select.bind(7, limit)
    return select
  }

  /// Keys that are found by their prefix and then sorted, at most. Among more than that a page is found sooner in the
  /// order of creation.
  private static let fewKeys: Int64 = 1_000

  private func fewBegin(_ place: ValuePlace, _ prefix: String, _ end: String) throws -> Bool {
    var select = try tables.statement(
      in: place,
      """
      SELECT count(*) FROM (
        SELECT number FROM named_values
        WHERE tenant_id = $1 AND principal = $2 AND collection = $3 AND key >= $4 AND key < $5 LIMIT $6) AS beginning
      """)
    select.bind(4, prefix)
    select.bind(5, end)
    select.bind(6, Self.fewKeys + 1)
    return try select.step() && select.integer(0) <= Self.fewKeys
  }

  /// The first text behind all that begin with `prefix`, in the order of their bytes; nil where nothing is behind them.
  static func end(ofPrefix prefix: String) -> String? {
    var scalars = Array(prefix.unicodeScalars)
    while let last = scalars.popLast() {
      // Nothing is encoded between the two, which stand for halves of pairs.
      let next = last.value == 0xD7FF ? 0xE000 : last.value + 1
      guard let next = Unicode.Scalar(next) else { continue }
      var end = String.UnicodeScalarView(scalars)
      end.append(next)
      return String(end)
    }
    return nil
  }

  /// The row under a key; it may have lapsed.
  private func find(_ place: ValuePlace, _ key: String) throws -> StoredValue? {
    if isShared, let known = foreseen.value(place, key) { return known }
    var select = try tables.statement(
      in: place,
      """
      SELECT number, key, value, expires_at, revision FROM named_values
      WHERE tenant_id = $1 AND principal = $2 AND collection = $3 AND key = $4
      """)
    select.bind(4, key)
    return try select.step() ? StoredValue(select) : nil
  }

  /// Removes a row that is there.
  /// - Parameter isReplaced: whether another one takes its place
  /// - Throws: `heldByLegalHold`
  private func remove(_ place: ValuePlace, _ key: String, isReplaced: Bool = false) throws {
    if !isReplaced, let hold = place.hold(policies) { throw StoreError.heldByLegalHold(hold) }
    var delete = try tables.statement(
      in: place,
      "DELETE FROM named_values WHERE tenant_id = $1 AND principal = $2 AND collection = $3 AND key = $4")
    delete.bind(4, key)
    try delete.run()
    if isShared { foreseen.note(nil as StoredValue?, place, key) }
    counters.values -= 1
  }

  private func lapsedValues() throws -> Int64 {
    var lapsed = Filter(.server)
    lapsed.add("expires_at <= ?", now)
    return try tables.sum("count(*)", from: "named_values", lapsed)
  }

  /// - Returns: whether any value went
  private func makeRoomAmongHeldValues() throws -> Bool {
    let numbers = try due(.values, at: now, limit: 16).numbers
    try removeLapsedValues(numbers)
    return !numbers.isEmpty
  }

  /// Removes values that have lapsed and may go.
  func removeLapsedValues(_ numbers: [Int64]) throws {
    for number in numbers {
      var delete = try tables.statement(.server, "DELETE FROM named_values WHERE number = $1")
      delete.bind(1, number)
      try delete.run()
      counters.values -= tables.changes
    }
    foreseen.forgetValues()
  }

  /// Removes lapsed values, where none has to stay.
  /// - Returns: how many; as many as `limit` means that there may be more
  func sweepValues(limit: Int) throws -> Int64 {
    var delete = try tables.statement(
      .server,
      composed: """
        DELETE FROM named_values WHERE number IN (SELECT number FROM named_values
          WHERE expires_at <= $1 ORDER BY expires_at, number LIMIT $2\(tables.dialect.lockingWhatIsFree))
        """)
    delete.bind(1, now)
    delete.bind(2, Int64(limit))
    try delete.run()
    let swept = tables.changes
    counters.values -= swept
    foreseen.forgetValues()
    return swept
  }
}
