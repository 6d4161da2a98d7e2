/// The place of a session's row in the cache, for as long as the cache remembers its rows: what is kept longer traps in
/// debug builds, and so in tests. Only the cache makes one.
struct SessionSlot {
  fileprivate let index: UInt32
  fileprivate let generation: UInt32

  @inline(__always)
  fileprivate func index(in rows: SessionCache.Rows) -> Int {
    assert(generation == rows.generation, "the rows that this slot is one of have been forgotten")
    return Int(index)
  }
}

/// The rows of sessions that were used lately, with the changes that the open group has not written yet.
struct SessionCache {
  struct Rows {
    fileprivate var rows: [SessionRow] = []
    fileprivate var index = SessionIndex()
    /// how often all of them were forgotten
    fileprivate var generation: UInt32 = 0

    var count: Int { rows.count }
    var first: SessionRow? { rows.first }

    subscript(slot: SessionSlot) -> SessionRow {
      // A row is large, and mostly one field of it is asked for.
      @inline(__always) _read { yield rows[slot.index(in: self)] }
      @inline(__always) _modify { yield &rows[slot.index(in: self)] }
    }

    fileprivate mutating func slot(_ sessionID: String) -> SessionSlot? {
      index.place(of: sessionID.utf8.span) { rows[$0].sessionID }.map(slot)
    }

    private func slot(_ place: Int) -> SessionSlot {
      SessionSlot(index: UInt32(truncatingIfNeeded: place), generation: generation)
    }

    fileprivate mutating func append(_ row: SessionRow) -> SessionSlot {
      rows.append(row)
      index.insert(rows.count - 1) { rows[$0].sessionID }
      return slot(rows.count - 1)
    }

    fileprivate mutating func remove(_ sessionID: String) {
      index.remove(sessionID.utf8.span) { rows[$0].sessionID }
    }

    fileprivate mutating func forget() {
      rows.removeAll(keepingCapacity: true)
      index.removeAll()
      generation &+= 1
    }
  }

  /// rows kept from one request to the next
  private static let capacity = 16_384
  /// bytes of details kept, in all and of one session
  private static let detailsCapacity = 2 << 20
  private static let largestDetails = 4_096

  private(set) var rows = Rows()
  /// of the rows at the same places
  private var details: [SessionDetails?] = []
  private(set) var detailsBytes = 0
  private var dirtySlots: [SessionSlot] = []

  // What every request asks is mutating, although it changes nothing: to look at what an object holds copies it.

  mutating func slot(_ sessionID: String) -> SessionSlot? { rows.slot(sessionID) }

  mutating func admits(_ owner: Owner, _ slot: SessionSlot) -> Bool {
    rows.rows[slot.index(in: rows)].admitsInPlace(owner)
  }

  mutating func status(_ slot: SessionSlot, at now: Int64, _ limits: Limits) -> SessionStatus {
    rows.rows[slot.index(in: rows)].statusInPlace(at: now, limits)
  }

  mutating func insert(_ row: SessionRow) -> SessionSlot {
    details.append(nil)
    return rows.append(row)
  }

  /// Changes a row; the change is written at the end of the group or before SQL that reads sessions.
  mutating func update<Result>(_ slot: SessionSlot, _ change: (inout SessionRow) throws -> Result) rethrows -> Result {
    let result = try change(&rows[slot])
    if !rows[slot].isDirty {
      rows[slot].isDirty = true
      dirtySlots.append(slot)
    }
    return result
  }

  /// Those that were kept, unless what they say has changed since.
  func details(_ slot: SessionSlot) -> SessionDetails? {
    details[slot.index(in: rows)].flatMap { $0.revision == rows[slot].revision ? $0 : nil }
  }

  /// - Parameter isForeseen: whether it is wanted for certain, and how much of its kind there is was looked at
  mutating func keep(_ new: SessionDetails, _ slot: SessionSlot, isForeseen: Bool = false) {
    if !isForeseen, new.bytes > Self.largestDetails { return }
    if !isForeseen, detailsBytes + new.bytes > Self.detailsCapacity { dropDetails() }
    let index = slot.index(in: rows)
    detailsBytes += new.bytes - (details[index]?.bytes ?? 0)
    details[index] = new
  }

  private mutating func dropDetails() {
    for index in details.indices { details[index] = nil }
    detailsBytes = 0
  }

  /// Takes over a `checkAt` that is in the database already.
  mutating func setCheck(_ slot: SessionSlot, _ checkAt: Int64?) {
    rows[slot].checkAt = checkAt
  }

  /// Remembers where the session's open chunk is; no change of the row.
  mutating func setOpenChunk(_ slot: SessionSlot, _ place: Int32) {
    rows[slot].openChunk = place
  }

  /// Forgets a session whose row is deleted.
  mutating func remove(_ slot: SessionSlot) {
    rows.remove(rows[slot].sessionID)
    rows[slot].isDirty = false
  }

  /// Hands each changed row to `write` once.
  mutating func flush(_ write: (SessionRow) throws -> Void) rethrows {
    for slot in dirtySlots where rows[slot].isDirty {
      try write(rows[slot])
      rows[slot].isDirty = false
      rows[slot].isDirtyInIndexes = false
    }
    dirtySlots.removeAll(keepingCapacity: true)
  }

  mutating func removeAll() {
    rows.forget()
    details.removeAll(keepingCapacity: true)
    detailsBytes = 0
    dirtySlots.removeAll(keepingCapacity: true)
  }

  /// Keeps memory bounded; called when nothing is dirty.
  mutating func trim() {
    if rows.count > Self.capacity { removeAll() }
  }
}
