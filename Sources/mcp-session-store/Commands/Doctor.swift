import JSON
import SessionStore
import Sidecar

extension Command {
  static var doctor: Command {
    Command(
      name: "doctor", summary: "looks for what may go wrong with the file, and says what to do about it",
      details: [
        "Each line is ok, a warning or a problem. It ends with 1 when there is a problem, with 0 otherwise.",
        "The contents are looked at for a few seconds; what that did not reach is said. 'check' looks at everything.",
      ],
      options: [.database, .schema, .busyTimeout, .json("one JSON object with a list of checks")],
      tellsVariables: true, run: doctor)
  }

  private static func doctor(_ arguments: Arguments) throws(Failure) -> ExitCode {
    let path = try arguments.readablePath()
    let checkup =
      if let address = ServerAddress(path) {
        Checkup(address) { try arguments.opened(address, isForReading: true) }
      } else {
        Checkup(path)
      }
    if arguments.json {
      var writer = JSONWriter()
      checkup.write(to: &writer)
      writer.raw("\n")
      try Output.write(json: writer.take())
    } else {
      try Output.write(checkup.text(.output))
    }
    return checkup.hasProblem ? .problem : .success
  }
}

/// What was looked at, and what was found.
private struct Checkup {
  enum Finding: String {
    case ok, warning, problem

    var style: Terminal.Style {
      switch self {
      case .ok: .green
      case .warning: .yellow
      case .problem: .red
      }
    }
  }

  struct Check {
    let name: String
    var result = Finding.ok
    let message: String
    var remedy: String?
  }

  /// a write-ahead log over this means that checkpoints do not get through
  private static let walBound: Int64 = 256 << 20
  /// less free disk than this, and writes will soon fail
  private static let diskBound: Int64 = 64 << 20
  /// milliseconds after which what can be claimed should have been
  private static let readyBound: Int64 = 3_600_000
  /// milliseconds after which an event subscription that is not active should have been looked at
  private static let inactiveBound: Int64 = 86_400_000
  /// milliseconds that are spent on the contents
  private static let contentsBound: Int64 = 3_000

  private let path: String
  /// opens the store to look at it
  private let open: () throws -> Store
  private var checks: [Check] = []
  private let file: FileFacts?
  private let lock: FileFacts?
  private let directory: String

  var hasProblem: Bool { checks.contains { $0.result == .problem } }

  /// A server: its disks, rights and processes are looked at where it is.
  init(_ address: ServerAddress, open: @escaping () throws -> Store) {
    path = address.shown
    self.open = open
    (directory, file, lock) = ("", nil, nil)
    add("program", "mcp-session-store \(Sidecar.version), schema \(Build.schema)")
    contents()
    variables()
  }

  init(_ path: String) {
    // What stands beside the file stands beside what a link leads to.
    let path = System.resolved(path) ?? path
    self.path = path
    open = { try Store.openForReading(path, environment: Environment(now: System.now)) }
    let slash = path.lastIndex(of: "/")
    directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    file = FileFacts(path)
    lock = FileFacts(path + "-lock")
    let openers = FileFacts.openers([file, lock])
    versions(openers[0], openers[1])
    contents()
    variables()
    if FileFacts(directory) == nil { return }
    fileSystem()
    disk()
    if file == nil { return }
    rights()
    log(openers[0])
    processes(openers[0], openers[1])
    leftovers()
  }

  private mutating func add(_ name: String, _ message: String) { add(name, .ok, message) }

  private mutating func add(_ name: String, _ result: Finding, _ message: String, remedy: String? = nil) {
    checks.append(Check(name: name, result: result, message: message, remedy: remedy))
  }

  // MARK: - The checks

  private mutating func versions(_ users: FileFacts.Openers, _ sidecars: FileFacts.Openers) {
    add("program", "mcp-session-store \(Sidecar.version), schema \(Build.schema)")
    let version = "SQLite \(Build.sqliteVersion)"
    guard Build.sqliteCanLoseCommits else { return add("sqlite", version) }
    let defect = "\(version) can lose a commit when programs that do not take turns by the lock file write at once"
    let remedy = "let nothing but sidecars write, or only under 'flock \(path)-lock'; SQLite 3.51.3 is free of it"
    let strangers = users.writers.subtracting(sidecars.processes)
    if !strangers.isEmpty {
      add("sqlite", .warning, "\(defect), and \(Self.list(strangers)) may: it has the file open", remedy: remedy)
    } else if !users.isComplete {
      add("sqlite", .warning, "\(defect); whether one has the file open cannot be known by this user", remedy: remedy)
    } else {
      add("sqlite", "\(defect); none has the file open")
    }
  }

  private mutating func variables() {
    guard let complaint = Variables.complaint else { return add("variables", "each is known") }
    add("variables", .warning, complaint, remedy: "correct its name, or take it away")
  }

  private mutating func contents() {
    do {
      let store = try open()
      if let version = store.serverVersion { add("postgresql", "PostgreSQL \(version) at \(store.path)") }
      // Damage is told before what it keeps from being counted.
      let check = try quickCheck(store)
      let summary = Result { try store.read { try store.summary() } }
      if case .failure(let error) = summary, error is FileChanged { throw error }
      integrity(check)
      let figures = try summary.get()
      add(
        store.isShared ? "database" : "file",
        "\(path): schema \(figures.schema), \(figures.sessionCount) sessions, \(figures.events) events")
      if figures.legalHolds + figures.retentions > 0 {
        let holds = "\(figures.legalHolds) legal holds, \(figures.retentions) tenants with a retention of their own"
        add("policies", holds)
      }
      try work(store, figures)
    } catch is FileChanged {
      contents()
    } catch {
      // What passes by itself, or with the next start of a sidecar, is no problem.
      let result: Finding =
        switch error {
        case OpenError.locked, OpenError.tooOld: .warning
        default: .problem
        }
      add(directory.isEmpty ? "database" : "file", result, Failure(error, path).message)
      if file != nil, !checks.contains(where: { $0.name == "contents" }) {
        add("contents", .warning, "not looked at", remedy: "see the line above")
      }
    }
  }

  private func quickCheck(_ store: Store) throws -> QuickCheck {
    let (start, interruption) = (System.monotonic(), Interruption())
    return try Ticker.during(
      { if System.monotonic() - start >= Self.contentsBound { interruption.interrupt() } },
      { () throws in try store.read { try store.quickCheck(interruption) } })
  }

  private mutating func integrity(_ check: QuickCheck) {
    let all = "mcp-session-store check --database \(Self.quoted(path))"
    if let first = check.problems.first {
      let more = check.problems.count > 1 ? ", and \(check.problems.count - 1) more" : ""
      return add(
        "contents", .problem, first + more, remedy: "copy the file and those beside it; see all of it with: \(all)")
    }
    let seconds = Self.contentsBound / 1_000
    switch check.reach {
    case .everything where directory.isEmpty: add("contents", "the store's rules are kept")
    case .everything: add("contents", "the structure and the store's rules are kept; indexes were not compared")
    case .structure(let rules, let count):
      add(
        "contents",
        "the structure is sound and \(rules) of \(count) rules are kept; \(seconds) s were not enough for more, see "
          + all)
    case .part:
      add("contents", "\(seconds) s were not enough to look at all; nothing was found until then, see \(all)")
    }
  }

  /// What workers and senders leave undone.
  private mutating func work(_ store: Store, _ figures: Summary) throws {
    func count(_ status: WorkStatus) -> Int64 { figures.work[status] ?? 0 }
    let (slowest, inactive) = try store.read {
      (try store.slowestQueue(), try store.countEventSubscriptions(inactiveBefore: System.now() - Self.inactiveBound))
    }
    let age = slowest.map { System.now() - $0.readySince } ?? 0
    if let slowest, age > Self.readyBound {
      add(
        "work", .warning, "nobody has claimed what is ready in the queue '\(slowest.name)' for \(age.duration)",
        remedy: "see whether its workers run, or cancel what nobody will do: cancel_work")
    } else {
      add("work", "\(count(.waiting)) waiting, \(count(.leased)) leased")
    }
    if count(.dead) > 0 {
      add(
        "dead letters", .warning, "\(count(.dead)) items of work were given up",
        remedy: "look at them with list_work and status dead; revive_work tries again, cancel_work removes them")
    } else {
      add("dead letters", "none")
    }
    let all = figures.eventSubscriptions
    if inactive > 0 {
      add(
        "subscribers", .warning, "\(inactive) of \(all) event subscriptions are inactive for more than a day",
        remedy: "look at them with list_event_subscriptions and active false; their work waits until they are active "
          + "again, or deleted")
    } else {
      add("subscribers", "\(all) event subscriptions, \(figures.inactiveEventSubscriptions) of them inactive")
    }
  }

  private mutating func fileSystem() {
    switch FileFacts.fileSystem(System.resolved(directory) ?? directory) {
    case nil: add("file system", "of an unknown kind")
    case .local(let kind): add("file system", kind)
    case .fleeting(let kind):
      add(
        "file system", .warning, "\(kind): what is in it ends with it",
        remedy: "name a file on a disk or a volume that stays")
    case .remote(let kind):
      add(
        "file system", .warning, "\(kind): processes cannot share SQLite's memory there",
        remedy: "start one sidecar alone, with --exclusive, or name a file on a local disk")
    }
  }

  private mutating func disk() {
    let free = System.freeDisk(directory) ?? 0
    let message = "\(Size.text(free)) free"
    if free < Self.diskBound {
      add("disk", .problem, message, remedy: "free some space: writes will soon fail")
    } else if free < file?.size ?? 0 {
      add("disk", .warning, message, remedy: "free some space: a backup would not fit beside the file")
    } else {
      add("disk", message)
    }
  }

  private mutating func rights() {
    var open: [String] = []
    var isWritable = false
    for ending in ["", "-wal", "-shm", "-lock"] {
      guard let facts = FileFacts(path + ending), facts.mode & 0o077 != 0 else { continue }
      open.append("\(path)\(ending) (\(facts.rights))")
      isWritable = isWritable || facts.mode & 0o002 != 0
    }
    let folder = FileFacts(directory)
    if let folder, folder.mode & 0o002 != 0, folder.mode & 0o1000 == 0 {
      add(
        "directory", .problem, "anyone may put another file in the place of this one: \(directory) is \(folder.rights)",
        remedy: "chmod o-w \(Self.quoted(directory))")
    } else if let folder {
      add("directory", "\(directory) is \(folder.rights)")
    }
    if isWritable {
      add("rights", .problem, "anyone may write: \(open.joined(separator: ", "))", remedy: chmod)
    } else if !open.isEmpty {
      add("rights", .warning, "not for their owner alone: \(open.joined(separator: ", "))", remedy: chmod)
    } else if !FileFacts.mayWrite(path) {
      add("rights", .warning, "this user may not write the file", remedy: "start sidecars as its owner")
    } else {
      add("rights", "for their owner alone")
    }
  }

  private var chmod: String { "chmod go= \(Self.quoted(path))*" }

  private mutating func log(_ users: FileFacts.Openers) {
    let size = FileFacts(path + "-wal")?.size ?? 0
    if size > Self.walBound {
      add(
        "log", .warning, "the write-ahead log has \(Size.text(size)): something keeps checkpoints from getting through",
        remedy: "end what reads the file for long")
    } else if size > 0, users.isComplete, users.processes.isEmpty {
      add("log", "\(Size.text(size)) left by a process that was killed; the next sidecar takes them up")
    } else {
      add("log", Size.text(size))
    }
  }

  private mutating func processes(_ users: FileFacts.Openers, _ sidecars: FileFacts.Openers) {
    var message = users.processes.isEmpty ? "none has the file open" : "open in \(Self.list(users.processes))"
    if let lock { message += lock.lockHolder.map { "; \($0) holds the lock" } ?? "; none holds the lock" }
    if !users.isComplete { message += "; processes of other users are hidden from this one" }
    add("processes", message)
  }

  private mutating func leftovers() {
    // NAME.partial-RANDOM, as a backup is called until it is whole.
    let partial = (FileFacts.names(in: directory) ?? []).filter { name in
      name.split(separator: ".").last?.hasPrefix("partial-") == true
    }.sorted()
    if partial.isEmpty { return add("leftovers", "none") }
    let names = partial.map { "\(directory)/\($0)" }
    add(
      "leftovers", .warning, "unfinished backups: \(names.joined(separator: ", "))",
      remedy: "unless one is running: rm \(names.map(Self.quoted).joined(separator: " "))")
  }

  private static func list(_ processes: Set<Int32>) -> String {
    (processes.count == 1 ? "process " : "processes ") + processes.sorted().map(String.init).joined(separator: ", ")
  }

  /// as a shell takes it
  private static func quoted(_ text: String) -> String {
    let plain = text.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"): true
      default: "/._-+".utf8.contains(byte)
      }
    }
    if plain { return text }
    return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
  }

  // MARK: - What is said

  func text(_ terminal: Terminal) -> String {
    var text = ""
    for check in checks {
      let result = terminal.styled(check.result.rawValue, check.result.style)
      let padding = String(repeating: " ", count: 9 - check.result.rawValue.count)
      let name = check.name + String(repeating: " ", count: 13 - check.name.count)
      text += "\(result)\(padding)\(name)\(Terminal.printable(check.message))\n"
      if let remedy = check.remedy { text += String(repeating: " ", count: 22) + "\(Terminal.printable(remedy))\n" }
    }
    return text
  }

  func write(to writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("ok", !hasProblem)
    writer.member("database", path)
    writer.name("checks")
    writer.beginArray()
    for check in checks {
      writer.beginObject()
      writer.member("name", check.name)
      writer.member("result", check.result.rawValue)
      writer.member("message", check.message)
      writer.member("remedy", check.remedy)
      writer.endObject()
    }
    writer.endArray()
    writer.endObject()
  }
}
