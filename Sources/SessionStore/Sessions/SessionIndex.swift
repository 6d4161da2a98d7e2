import JSON

/// The places of rows by the ids of their sessions: open addressing, and as sure against ids that are chosen to collide
/// as a dictionary, for nobody knows the seed. Every request asks it, and a dictionary of strings takes four times as
/// long.
struct SessionIndex {
  /// Half of a hash, and one more than the place of a row; 0 where there is nothing.
  private var entries = [UInt64](repeating: 0, count: 64)
  /// entries that are not 0
  private var used = 0
  private let seed = UInt64.random(in: 1...UInt64.max) | 1

  /// an entry that was taken out, behind which the search goes on
  private static let removed: UInt64 = 1 << 63
  private static let placeBits: UInt64 = 0xFFFF_FFFF

  /// - Parameter id: gives the id of a row
  @inline(__always)
  func place(of bytes: Span<UInt8>, id: (Int) -> String) -> Int? {
    find(bytes, bytes.hash(seed), id: id).map { Int(entries[$0] & Self.placeBits) - 1 }
  }

  /// Where the entry of an id is.
  @inline(__always)
  private func find(_ bytes: Span<UInt8>, _ hash: UInt64, id: (Int) -> String) -> Int? {
    var at = Int(truncatingIfNeeded: hash) & (entries.count &- 1)
    while entries[at] != 0 {
      let entry = entries[at]
      if (entry ^ hash) >> 32 == 0, entry & Self.placeBits != 0,
        id(Int(entry & Self.placeBits) - 1).utf8.span.isSame(as: bytes)
      {
        return at
      }
      at = (at &+ 1) & (entries.count &- 1)
    }
    return nil
  }

  /// - Parameters:
  ///   - place: of a row; one that has the same id is forgotten
  ///   - id: gives the id of each row, this one too
  mutating func insert(_ place: Int, id: (Int) -> String) {
    remove(id(place).utf8.span, id: id)
    if 2 * used >= entries.count { grow(id) }
    let id = id(place)
    add(id.utf8.span.hash(seed), place)
  }

  mutating func remove(_ bytes: Span<UInt8>, id: (Int) -> String) {
    if let found = find(bytes, bytes.hash(seed), id: id) { entries[found] = Self.removed }
  }

  mutating func removeAll() {
    if used == 0 { return }
    entries = [UInt64](repeating: 0, count: 64)
    used = 0
  }

  private mutating func add(_ hash: UInt64, _ place: Int) {
    var at = Int(truncatingIfNeeded: hash) & (entries.count - 1)
    while entries[at] != 0 { at = (at + 1) & (entries.count - 1) }
    entries[at] = hash & ~Self.placeBits | UInt64(place + 1)
    used += 1
  }

  private mutating func grow(_ id: (Int) -> String) {
    let old = entries
    entries = [UInt64](repeating: 0, count: 2 * old.count)
    used = 0
    for entry in old where entry & Self.placeBits != 0 {
      let place = Int(entry & Self.placeBits) - 1
      let id = id(place)
      add(id.utf8.span.hash(seed), place)
    }
  }
}
