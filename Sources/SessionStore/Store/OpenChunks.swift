/// What the open group has added to one session and is not in rows yet.
struct OpenChunk {
  fileprivate(set) var session: SessionNumber?
  fileprivate var events = EventChunk()
  fileprivate var log = LogChunk()
  fileprivate var participants = NewParticipation()

  /// that wait
  var byteCount: Int { events.byteCount + log.byteCount + participants.byteCount }

  fileprivate mutating func forget() {
    events.forget()
    log.forget()
    participants.removeAll()
  }

  /// Gives back the memory of large rows.
  fileprivate mutating func shrink() {
    events.shrink()
    log.shrink()
  }
}

/// The chunks to which the open group may still add, one for each session. They are rows by the end of the group, and
/// before anything that reads or deletes events or log entries of the session.
struct OpenChunks {
  /// bytes, and chunks, that may wait
  private static let maxBytes = 1 << 20
  private static let maxChunks = 1_024
  /// of which the memory is kept however large they were
  private static let kept = 32

  /// the first ``count`` are in use, and of those only what is not empty waits
  private var chunks: [OpenChunk] = []
  private(set) var count = 0
  private(set) var bytes = 0

  var isFull: Bool { bytes >= Self.maxBytes || count >= Self.maxChunks }

  /// Where a session's chunk is.
  /// - Parameter place: where it was put last; that may be another's now
  func index(_ place: Int32, of session: SessionNumber) -> Int? {
    let index = Int(place)
    return index >= 0 && index < count && chunks[index].session == session ? index : nil
  }

  /// Makes a session's chunk, which has none.
  mutating func open(_ session: SessionNumber) -> Int {
    if count == chunks.count { chunks.append(OpenChunk()) }
    chunks[count].session = session
    count += 1
    return count - 1
  }

  mutating func add(
    _ event: NewEvent, _ data: Payload, id: Int64, timestamp: Int64, at index: Int, to tables: Tables
  ) throws {
    guard let session = chunks[index].session else { return }
    bytes -= chunks[index].events.byteCount
    try chunks[index].events.add(event, data, id: id, timestamp: timestamp, of: session, to: tables)
    bytes += chunks[index].events.byteCount
  }

  mutating func add(
    _ entry: Payload, _ kind: NewLogEntry.Kind?, seq: Int64, at index: Int, to tables: Tables
  ) throws {
    guard let session = chunks[index].session else { return }
    bytes -= chunks[index].log.byteCount
    try chunks[index].log.add(entry, kind, seq: seq, of: session, to: tables)
    bytes += chunks[index].log.byteCount
  }

  /// - Returns: false when others have to be written first
  mutating func note(_ sender: String, seen: Int64, seq: Int64, at index: Int) -> Bool {
    bytes -= chunks[index].participants.byteCount
    defer { bytes += chunks[index].participants.byteCount }
    return chunks[index].participants.note(sender, seen: seen, seq: seq)
  }

  mutating func takeParticipants(_ index: Int) -> NewParticipation {
    let taken = chunks[index].participants
    bytes -= taken.byteCount
    chunks[index].participants.removeAll()
    return taken
  }

  func session(_ index: Int) -> SessionNumber? { chunks[index].session }

  /// Makes rows of all but the participants.
  mutating func write(_ index: Int, to tables: Tables) throws {
    bytes -= chunks[index].events.byteCount + chunks[index].log.byteCount
    try chunks[index].events.write(to: tables)
    try chunks[index].log.write(to: tables)
  }

  mutating func forget() {
    for index in 0..<count { chunks[index].forget() }
    empty()
  }

  /// Begins anew, when everything is written.
  mutating func empty() {
    if count > Self.kept { for index in Self.kept..<count { chunks[index].shrink() } }
    (count, bytes) = (0, 0)
  }
}

extension Store {
  /// The session's chunk, for whoever adds to it.
  func openChunk(of slot: SessionSlot) throws -> Int {
    if openChunks.isFull { try writeChunks() }
    let row = cache.rows[slot]
    if let known = openChunks.index(row.openChunk, of: row.number) { return known }
    let index = openChunks.open(row.number)
    cache.setOpenChunk(slot, Int32(index))
    return index
  }

  /// Makes rows of what was added to the session; needed before SQL that reads or deletes its events or log entries.
  func writeChunks(of slot: SessionSlot) throws {
    if openChunks.count > 0 { try writeChunks(of: cache.rows[slot]) }
  }

  func writeChunks(of row: SessionRow) throws {
    if let index = openChunks.index(row.openChunk, of: row.number) { try writeChunk(index) }
  }

  /// The same for all sessions.
  func writeChunks() throws {
    if openChunks.count == 0 { return }
    for index in 0..<openChunks.count { try writeChunk(index) }
    openChunks.empty()
  }

  private func writeChunk(_ index: Int) throws {
    try openChunks.write(index, to: tables)
    try writeParticipants(index)
  }

  /// Counts in the table what waits to be counted.
  func writeParticipants(_ index: Int) throws {
    guard let session = openChunks.session(index) else { return }
    try count(openChunks.takeParticipants(index).counts, of: session)
  }
}
