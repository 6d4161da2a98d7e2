import SessionStore

/// Power cuts: a workload is run once and all that it does to the disk is written down; then every disk that a power
/// cut could have left at some moment is built, opened by the product and compared with the model.
struct PowerCut {
  /// What one opening of the product was put through.
  struct Tally: CustomStringConvertible {
    var images = 0
    /// held just what was answered
    var equal = 0
    /// requests that were answered and are gone; only `normal` may
    var lost = 0
    var broken: [String] = []

    var description: String {
      "\(images) images, \(equal) with just what was answered" + (lost > 0 ? ", \(lost) last requests gone" : "")
    }

    static func += (all: inout Tally, one: Tally) {
      all.images += one.images
      all.equal += one.equal
      all.lost += one.lost
      all.broken += one.broken
    }
  }

  let folder: Folder
  let images: Folder
  let opening: Opening
  let work: Workload
  let reference: Reference
  var lies = false
  private(set) var tally = Tally()
  private var chance: Chance

  init(_ directory: String, _ opening: Opening, _ work: Workload, _ reference: Reference, seed: UInt64) {
    folder = Folder(directory + "/life")
    images = Folder(directory + "/image")
    self.opening = opening
    self.work = work
    self.reference = reference
    chance = Chance(seed)
  }

  // MARK: - The life that ends in a power cut

  /// Runs the requests behind the first `done` on what `image` holds, and writes down what happens to the disk.
  func life(from image: Image = [:], done: Int = 0) throws -> [Step] {
    folder.hold(image)
    let recorder = Recorder(lies: lies)
    try recorder.record {
      var service: Service?
      var answered = done
      for act in work.acts {
        if case .send(let range) = act, range.upperBound <= done { continue }
        if service == nil {
          let clock = Clock()
          let base = answered
          service = Service(try opening.open(folder.database, clock), clock)
          service?.onAnswers = { count in
            answered = base + count
            recorder.note(answered: answered)
          }
        }
        switch act {
        case .send(let range): service?.send(work.requests[max(done, range.lowerBound)..<range.upperBound])
        case .checkpoint: service?.checkpoint()
        case .restart: service = nil
        }
      }
    }
    return recorder.steps
  }

  // MARK: - What it leaves

  /// Looks at the images of every moment: at all of them, or at so many of each.
  mutating func tryEveryMoment(atMost limit: Int? = nil) throws {
    var state = DiskState()
    var seen: Set<Int> = []
    for step in try life() {
      state.apply(step)
      if case .answered = step { continue }
      var cuts = state.cuts(density: 8, &chance)
      if let limit, cuts.count > limit {
        cuts.shuffle(using: &chance)
        cuts.removeLast(cuts.count - limit)
      }
      for cut in cuts {
        let image = state.image(cut)
        guard seen.insert(Self.hash(image, state.answered)).inserted else { continue }
        judge(image, answered: state.answered)
      }
    }
  }

  /// Looks at so many images, at moments by chance. After some of them life goes on, and ends in a power cut again.
  mutating func trySome(_ count: Int) throws {
    let second = max(1, count / 200)
    var survivors = try sample(life(), DiskState(), count - 20 * second, answered: 0)
    for _ in 0..<second {
      guard !survivors.isEmpty else { return }
      let (image, answered) = survivors.remove(at: chance.below(survivors.count))
      // What the first life left on the disk is what the second one finds there, for good.
      guard let reached = judge(image, answered: answered), reached < work.requests.count else { continue }
      _ = try sample(life(from: image, done: reached), DiskState(image), 20, answered: reached)
    }
  }

  /// - Returns: some of the images, each with what had been answered until then
  private mutating func sample(
    _ steps: [Step], _ start: DiskState, _ count: Int, answered before: Int
  ) throws -> [(Image, Int)] {
    var state = start
    var kept: [(Image, Int)] = []
    let moments = (0..<count).map { _ in chance.below(steps.count) }.sorted()
    var next = 0
    for (index, step) in steps.enumerated() {
      state.apply(step)
      while next < moments.count, moments[next] == index {
        next += 1
        let image = state.randomImage(&chance)
        let answered = max(before, state.answered)
        judge(image, answered: answered)
        if next % 40 == 0 { kept.append((image, answered)) }
      }
    }
    return kept
  }

  // MARK: - The verdict

  /// Opens the image as the product does, and compares.
  /// - Returns: after how many requests the store is as it is now; nil when something broke
  @discardableResult
  private mutating func judge(_ image: Image, answered: Int) -> Int? {
    tally.images += 1
    images.hold(image)
    // Whatever lies there is nobody's.
    if tally.images % 3 == 0 {
      images.write(Folder.databaseName + "-shm", (0..<32_768).map { _ in UInt8(chance.below(256)) })
    }
    do {
      let reached = try Disk.quietly { try look(answered, goesOn: tally.images % 4 == 0) }
      tally.lost += max(0, answered - reached)
      if reached == answered { tally.equal += 1 }
      return reached
    } catch {
      let files = image.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.count) bytes" }.joined(separator: ", ")
      tally.broken.append("\(opening.name), image \(tally.images) (\(files)), \(answered) answered: \(error)")
      return nil
    }
  }

  struct Broken: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
  }

  private func look(_ answered: Int, goesOn: Bool) throws -> Int {
    let clock = Clock()
    let service = Service(try opening.open(images.database, clock), clock)
    let problems = try service.problems()
    if let first = problems.first { throw Broken("\(problems.count) problems: \(first)") }
    guard let reached = reference.count(try service.digest(), atMost: work.requests.count) else {
      throw Broken("the store is as it was after no number of requests")
    }
    if reached < answered, opening.durability == .full {
      throw Broken("what \(answered - reached) requests did is gone, though they were answered")
    }
    if goesOn { try goOn(service, from: reached) }
    return reached
  }

  /// What comes next is answered as if nothing had happened: above all, no id is given out a second time.
  private func goOn(_ service: Service, from reached: Int) throws {
    let next = reached..<min(reached + 6, work.requests.count)
    for number in next { service.send(work.requests[number...number]) }
    for (number, answer) in zip(next, service.answers) where answer != reference.answers[number] {
      let (found, wanted) = (String(decoding: answer, as: UTF8.self), reference.answers[number])
      throw Broken("request \(number) is answered \(found) instead of \(String(decoding: wanted, as: UTF8.self))")
    }
    if try service.answers.count != next.count || service.digest() != reference.digests[next.upperBound] {
      throw Broken("the store does not go on from request \(reached)")
    }
  }

  private static func hash(_ image: Image, _ answered: Int) -> Int {
    var hasher = Hasher()
    hasher.combine(answered)
    for name in image.keys.sorted() {
      hasher.combine(name)
      image[name]?.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
    return hasher.finalize()
  }
}
