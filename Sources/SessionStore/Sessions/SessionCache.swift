/// The rows of sessions that were used lately, with the changes that the open group has not written yet.
struct SessionCache {
  /// rows kept from one request to the next
  private static let capacity = 16_384
  /// bytes of details kept, in all and of one session
  private static let detailsCapacity = 2 << 20
  private static let largestDetails = 4_096

  private(set) var rows: [SessionRow] = []
  /// of the rows at the same places
  private var details: [SessionDetails?] = []
  private(set) var detailsBytes = 0
  private var slots: [String: Int] = [:]
  private var dirtySlots: [Int] = []

  func slot(_ sessionID: String) -> Int? { slots[sessionID] }

  mutating func insert(_ row: SessionRow) -> Int {
    rows.append(row)
    details.append(nil)
    slots[row.sessionID] = rows.count - 1
    return rows.count - 1
  }

  /// Changes a row; the change is written at the end of the group or before SQL that reads sessions.
  mutating func update<Result>(_ slot: Int, _ change: (inout SessionRow) throws -> Result) rethrows -> Result {
    let result = try change(&rows[slot])
    if !rows[slot].isDirty {
      rows[slot].isDirty = true
      dirtySlots.append(slot)
    }
    return result
  }

  /// Those that were kept, unless what they say has changed since.
  func details(_ slot: Int) -> SessionDetails? {
    details[slot].flatMap { $0.revision == rows[slot].revision ? $0 : nil }
  }

  mutating func keep(_ new: SessionDetails, _ slot: Int) {
    if new.bytes > Self.largestDetails { return }
    if detailsBytes + new.bytes > Self.detailsCapacity { dropDetails() }
    detailsBytes += new.bytes - (details[slot]?.bytes ?? 0)
    details[slot] = new
  }

  private mutating func dropDetails() {
    for slot in details.indices { details[slot] = nil }
    detailsBytes = 0
  }

  /// Takes over a `checkAt` that is in the database already.
  mutating func setCheck(_ slot: Int, _ checkAt: Int64?) {
    rows[slot].checkAt = checkAt
  }

  /// Forgets a session whose row is deleted.
  mutating func remove(_ slot: Int) {
    slots[rows[slot].sessionID] = nil
    rows[slot].isDirty = false
  }

  /// Hands each changed row to `write` once.
  mutating func flush(_ write: (SessionRow) throws -> Void) rethrows {
    for slot in dirtySlots where rows[slot].isDirty {
      try write(rows[slot])
      rows[slot].isDirty = false
      rows[slot].checkIsDirty = false
    }
    dirtySlots.removeAll(keepingCapacity: true)
  }

  mutating func removeAll() {
    rows.removeAll(keepingCapacity: true)
    details.removeAll(keepingCapacity: true)
    detailsBytes = 0
    slots.removeAll(keepingCapacity: true)
    dirtySlots.removeAll(keepingCapacity: true)
  }

  /// Keeps memory bounded; called when nothing is dirty.
  mutating func trim() {
    if rows.count > Self.capacity { removeAll() }
  }
}
