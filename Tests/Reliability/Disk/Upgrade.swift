import SessionStore

/// Files of earlier versions: a power cut at any moment of their migration leaves the old file or the new one, and the
/// next start brings either to the end.
struct Upgrade {
  struct Tally: CustomStringConvertible {
    var images = 0
    /// images by the version that they were found with; 0: a journal hid it
    var versions: [Int64: Int] = [:]
    var broken: [String] = []

    var description: String {
      let found = versions.sorted { $0.key < $1.key }.map { version, count in
        version == 0 ? "\(count) with a journal" : "\(count) of version \(version)"
      }
      return "\(images) images, \(found.joined(separator: ", "))"
    }
  }

  private let life: Folder
  private let images: Folder
  private let old: Image
  private let schema: Schema
  private let opening = Opening()
  private var chance: Chance
  private(set) var tally = Tally()

  /// - Parameter old: the files as the old version left them
  init(_ directory: String, _ old: Image, to schema: Schema, seed: UInt64) {
    life = Folder(directory + "/life")
    images = Folder(directory + "/image")
    self.old = old
    self.schema = schema
    chance = Chance(seed)
  }

  /// As it is today, and with two steps that another version may bring.
  static let schemas = [
    Schema.current,
    Schema(
      migrations: Schema.current.migrations + [
        "ALTER TABLE sessions ADD COLUMN note TEXT; UPDATE sessions SET note = 'of ' || session_id",
        "CREATE TABLE notes (number INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT; INSERT INTO notes VALUES (1, 'x')",
      ]),
  ]

  mutating func run(atMost limit: Int?) throws {
    life.hold(old)
    let wanted = try Disk.quietly { try open(life).digest() }
    life.hold(old)
    let recorder = Recorder()
    try recorder.record { _ = try open(life) }

    var state = DiskState(old)
    for step in recorder.steps {
      state.apply(step)
      var cuts = state.cuts(density: 4, &chance)
      if let limit, cuts.count > limit {
        cuts.shuffle(using: &chance)
        cuts.removeLast(cuts.count - limit)
      }
      for cut in cuts {
        let image = state.image(cut)
        tally.images += 1
        images.hold(image)
        do {
          try Disk.quietly { try judge(wanted) }
        } catch {
          tally.broken.append("version \(schema.version), image \(tally.images): \(error)")
        }
      }
    }
  }

  private func open(_ folder: Folder) throws(OpenError) -> Store {
    try opening.open(folder.database, Clock(), schema: schema)
  }

  private mutating func judge(_ wanted: UInt64) throws {
    let version = try found()
    tally.versions[version, default: 0] += 1
    let store = try open(images)
    guard case .checked(let problems, _) = try store.run(.integrityCheck()) else { return }
    if let first = problems.first { throw PowerCut.Broken("\(problems.count) problems: \(first)") }
    if try store.digest() != wanted { throw PowerCut.Broken("the old data is not what it was") }
  }

  /// - Returns: the version of the file as it is found; 0 when a journal is to be rolled back first
  private func found() throws -> Int64 {
    let clock = Clock()
    do throws(OpenError) {
      let store = try Store.openForReading(
        images.database, environment: Environment(now: { clock.now }), schema: schema)
      return store.schema
    } catch {
      if case .tooOld(let found, _) = error { return found }
      if case .cannotCreate(let message) = error, message.contains("journal") { return 0 }
      throw error
    }
  }

  /// An older program meets a newer file, whose log may be hot: it names both versions and leaves all as it was.
  static func refusals(_ directory: String, _ old: Image) throws -> [String] {
    var broken: [String] = []
    let newest = schemas[1]
    for isHot in [false, true] {
      let folder = Folder(directory + "/newer")
      folder.hold(old)
      var hot: Image?
      try Disk.quietly {
        let store = try Opening().open(folder.database, Clock(), schema: newest)
        // As it is while the store is open: all that is new is in the log.
        if isHot { hot = withExtendedLifetime(store) { folder.image() } }
      }
      if let hot { folder.hold(hot) }
      let before = folder.image()
      for count in 1..<newest.migrations.count {
        let older = Schema(migrations: Array(newest.migrations.prefix(count)))
        do throws(OpenError) {
          _ = try Opening().open(folder.database, Clock(), schema: older)
          broken.append("version \(count) opened a file of version \(newest.version)")
        } catch {
          if error != .tooNew(found: newest.version, supported: Int64(count)) { broken.append("\(count): \(error)") }
        }
        if folder.image().filter({ !$0.value.isEmpty }) != before.filter({ !$0.value.isEmpty }) {
          broken.append("version \(count) changed a file of version \(newest.version)")
        }
      }
    }
    return broken
  }
}
