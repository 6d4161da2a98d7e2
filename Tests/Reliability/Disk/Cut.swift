/// The ways in which a power cut may leave what was not synced.
///
/// Each write may be there or not, whatever became of those before and after it, and may be there in part: up to any
/// byte, from any byte, or by sectors. What it should have written may be garbage; bytes outside of it are as they were
/// (SQLite takes that for granted: https://www.sqlite.org/psow.html). A name that was made or taken away may be found
/// as before until its directory is synced.
enum Fate {
  case none, all
  case prefix(Int)
  case only(Int)
  case without(Int)
  case subset(Int)
  /// the last one in part
  case torn(Range<Int>)
  /// each write is cut into pieces of `size` bytes, of which about `share` percent are there, and now and then garbage
  case scattered(seed: UInt64, size: Int, share: Int, garbage: Bool)

  func bytes(_ file: DiskState.File) -> [UInt8] {
    if case .all = self { return file.current }
    var bytes = file.durable
    let last = file.pending.count - 1
    for (index, change) in file.pending.enumerated() {
      switch self {
      case .none, .all: break
      case .prefix(let count): if index < count { change.apply(to: &bytes) }
      case .only(let one): if index == one { change.apply(to: &bytes) }
      case .without(let one): if index != one { change.apply(to: &bytes) }
      case .subset(let set): if set & (1 << index) != 0 { change.apply(to: &bytes) }
      case .torn(let part):
        if index < last { change.apply(to: &bytes) } else { change.apply(to: &bytes, part: part) }
      case .scattered(let seed, let size, let share, let garbage):
        var chance = Chance(seed &+ UInt64(index) &* 0x9E37)
        Self.scatter(change, size, share, garbage, &chance, into: &bytes)
      }
    }
    return bytes
  }

  private static func scatter(
    _ change: DiskState.Change, _ size: Int, _ share: Int, _ garbage: Bool, _ chance: inout Chance,
    into bytes: inout [UInt8]
  ) {
    guard case .write(let offset, let new) = change else {
      if chance.percent(share) { change.apply(to: &bytes) }
      return
    }
    // Sectors lie at multiples of their size in the file, wherever the write begins.
    var start = 0
    while start < new.count {
      let end = min(new.count, (offset + start) / size * size + size - offset)
      if garbage, chance.percent(10) {
        let noise = DiskState.Change.write(offset: offset + start, (start..<end).map { _ in UInt8(chance.below(256)) })
        noise.apply(to: &bytes)
      } else if chance.percent(share) {
        change.apply(to: &bytes, part: start..<end)
      }
      start = end
    }
  }
}

extension DiskState {
  /// The ways that are tried for a file at every step; `density` says how many of the random ones.
  private func fates(_ file: File, density: Int, _ chance: inout Chance) -> [Fate] {
    let count = file.pending.count
    var fates: [Fate] = [.none, .all]
    fates += (1..<max(1, count)).map(Fate.prefix)
    fates += (0..<count).flatMap { [Fate.only($0), .without($0)] }
    if count > 2, count <= 6 { fates += (0..<(1 << count)).map(Fate.subset) }
    let last = file.pending.last?.count ?? 0
    // The frames of a commit are written in one piece: a head of 24 bytes and a page each.
    let frames = stride(from: 4_120, to: min(last, 65_536), by: 4_120)
    for cut in Set([1, 7, 24, 511, 512, 513, last / 2, last - 1]).union(frames) where cut > 0 && cut < last {
      fates += [.torn(0..<cut), .torn(cut..<last)]
    }
    for _ in 0..<density { fates.append(Self.scattered(&chance)) }
    return fates
  }

  private static func scattered(_ chance: inout Chance) -> Fate {
    .scattered(
      seed: chance.next(), size: chance.pick([512, 512, 4_096, 101]), share: chance.pick([10, 50, 50, 90]),
      garbage: chance.percent(25))
  }

  /// One way in which everything that is uncertain is found.
  struct Cut {
    /// found as the process last saw them
    let newNames: Set<String>
    /// the file that is looked at, and what became of it
    let focus: Int
    let fate: Fate
    let others: Fate
  }

  /// Every name, every file and every fate with each other; of the fates by chance, `density` a file.
  func cuts(density: Int, _ chance: inout Chance) -> [Cut] {
    var cuts: [Cut] = []
    let uncertain = uncertain
    for names in Self.subsets(uncertainNames) {
      if uncertain.isEmpty { cuts.append(Cut(newNames: names, focus: -1, fate: .all, others: .all)) }
      for focus in uncertain {
        for fate in fates(files[focus], density: density, &chance) {
          for others in uncertain.count > 1 ? [Fate.none, .all] : [.none] {
            cuts.append(Cut(newNames: names, focus: focus, fate: fate, others: others))
          }
        }
      }
    }
    return cuts
  }

  func image(_ cut: Cut) -> Image {
    image(newNames: cut.newNames) { ($0 == cut.focus ? cut.fate : cut.others).bytes(files[$0]) }
  }

  /// One image by chance.
  func randomImage(_ chance: inout Chance) -> Image {
    let names = Set(uncertainNames.filter { _ in chance.percent(50) })
    var fates: [Int: Fate] = [:]
    for index in uncertain {
      let count = files[index].pending.count
      let last = files[index].pending[count - 1].count
      switch chance.below(10) {
      case 0: fates[index] = Fate.none
      case 1: fates[index] = .all
      case 2: fates[index] = .prefix(chance.below(count))
      case 3: fates[index] = .without(chance.below(count))
      case 4: fates[index] = .only(chance.below(count))
      case 5 where last > 1:
        let cut = 1 + chance.below(last - 1)
        fates[index] = .torn(chance.percent(50) ? 0..<cut : cut..<last)
      default: fates[index] = Self.scattered(&chance)
      }
    }
    return image(newNames: names) { (fates[$0] ?? .all).bytes(files[$0]) }
  }

  private static func subsets(_ names: [String]) -> [Set<String>] {
    names.prefix(4).reduce(into: [[]]) { sets, name in sets += sets.map { $0.union([name]) } }
  }
}
