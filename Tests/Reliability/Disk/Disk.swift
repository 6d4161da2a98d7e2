import CTestDisk

/// What every file of SQLite's in this process stands on.
enum Disk {
  /// Asked before each call; the code that it returns is what the call fails with, 0 lets it go on.
  nonisolated(unsafe) static var judge: (inout test_disk_event) -> Int32 = { _ in 0 }

  /// Puts it under the product. Once, before the first connection.
  static func install() {
    let code = test_disk_install { event in event.map { Disk.judge(&$0.pointee) } ?? 0 }
    precondition(code == 0, "SQLite does not take the file system of the tests: \(code)")
  }

  /// Does `body` with nobody asked, and without the syncs: they cost time, and this disk meets no power cut.
  static func quietly<Result>(_ body: () throws -> Result) rethrows -> Result {
    let before = judge
    defer { judge = before }
    judge = { event in
      if event.call == TEST_DISK_SYNC { event.is_lie = 1 }
      return 0
    }
    return try body()
  }

  static func name(_ path: UnsafePointer<CChar>) -> String {
    let path = String(cString: path)
    return path.split(separator: "/").last.map(String.init) ?? path
  }
}

/// One thing that was done to the files of a database, named by their last component.
enum Step {
  /// it is there from now on, if it was not
  case open(String)
  case write(String, offset: Int, [UInt8])
  case truncate(String, size: Int)
  case sync(String)
  case delete(String)
  case syncDirectory
  /// so many requests have been answered
  case answered(Int)
}

/// Writes down what is done to the disk.
final class Recorder {
  private(set) var steps: [Step] = []
  /// the disk says that it has synced, and has not
  let lies: Bool

  init(lies: Bool = false) {
    self.lies = lies
  }

  func note(answered count: Int) { steps.append(.answered(count)) }

  /// Records while `body` runs.
  func record<Result>(_ body: () throws -> Result) rethrows -> Result {
    let before = Disk.judge
    defer { Disk.judge = before }
    Disk.judge = { [unowned self] event in
      take(&event)
      return 0
    }
    return try body()
  }

  private func take(_ event: inout test_disk_event) {
    let name = Disk.name(event.path)
    switch event.call {
    case TEST_DISK_OPEN: steps.append(.open(name))
    case TEST_DISK_WRITE:
      let bytes = [UInt8](UnsafeBufferPointer(start: event.bytes, count: Int(event.count)))
      steps.append(.write(name, offset: Int(event.offset), bytes))
    case TEST_DISK_TRUNCATE: steps.append(.truncate(name, size: Int(event.offset)))
    case TEST_DISK_SYNC:
      // The sync of the directory that may come with it is a call of its own.
      if !lies { steps.append(.sync(name)) }
    case TEST_DISK_DELETE: steps.append(.delete(name))
    case TEST_DISK_SYNC_DIRECTORY: if !lies { steps.append(.syncDirectory) }
    default: break
    }
  }
}

/// The bytes of each file: what a disk holds when the machine starts again.
typealias Image = [String: [UInt8]]

/// What a process sees of its files, and what of that is on the disk for good.
struct DiskState {
  enum Change {
    case write(offset: Int, [UInt8])
    case truncate(size: Int)
  }

  struct File {
    var durable: [UInt8] = []
    /// not synced, in order
    var pending: [Change] = []
    var current: [UInt8] = []
  }

  /// names may come to mean another file before the directory is synced
  private(set) var files: [File] = []
  private(set) var names: [String: Int] = [:]
  private(set) var durableNames: [String: Int] = [:]
  private(set) var answered = 0

  /// - Parameter image: on the disk for good
  init(_ image: Image = [:]) {
    for (name, bytes) in image {
      names[name] = files.count
      files.append(File(durable: bytes, current: bytes))
    }
    durableNames = names
  }

  mutating func apply(_ step: Step) {
    switch step {
    case .open(let name): _ = file(name)
    case .write(let name, let offset, let bytes): change(name, .write(offset: offset, bytes))
    case .truncate(let name, let size): change(name, .truncate(size: size))
    case .sync(let name):
      let index = file(name)
      files[index].durable = files[index].current
      files[index].pending = []
    case .delete(let name): names[name] = nil
    case .syncDirectory: durableNames = names
    case .answered(let count): answered = count
    }
  }

  private mutating func file(_ name: String) -> Int {
    if let index = names[name] { return index }
    names[name] = files.count
    files.append(File())
    return files.count - 1
  }

  private mutating func change(_ name: String, _ change: Change) {
    let index = file(name)
    files[index].pending.append(change)
    change.apply(to: &files[index].current)
  }

  /// the files that may be found in more than one way
  var uncertain: [Int] { files.indices.filter { !files[$0].pending.isEmpty } }

  /// names that may or may not be there, or may mean another file
  var uncertainNames: [String] {
    Set(names.keys).union(durableNames.keys).filter { names[$0] != durableNames[$0] }.sorted()
  }

  /// What a power cut leaves.
  /// - Parameters:
  ///   - newNames: of the uncertain names, those that are found as the process last saw them
  ///   - content: what is found of a file
  func image(newNames: Set<String>, content: (Int) -> [UInt8]) -> Image {
    var image: Image = [:]
    for name in Set(names.keys).union(durableNames.keys) {
      let index = newNames.contains(name) ? names[name] : durableNames[name]
      if let index { image[name] = content(index) }
    }
    return image
  }
}

extension DiskState.Change {
  /// - Parameter part: of the bytes that it writes; the others are not written
  func apply(to bytes: inout [UInt8], part: Range<Int>? = nil) {
    switch self {
    case .truncate(let size):
      if size <= bytes.count { bytes.removeLast(bytes.count - size) } else { bytes.pad(to: size) }
    case .write(let offset, let new):
      let part = part ?? 0..<new.count
      if part.isEmpty { return }
      bytes.pad(to: offset + part.upperBound)
      bytes.replaceSubrange(offset + part.lowerBound..<offset + part.upperBound, with: new[part])
    }
  }

  /// bytes that it writes
  var count: Int {
    switch self {
    case .truncate: 0
    case .write(_, let bytes): bytes.count
    }
  }
}

extension [UInt8] {
  fileprivate mutating func pad(to size: Int) {
    if size > count { append(contentsOf: repeatElement(0, count: size - count)) }
  }
}
