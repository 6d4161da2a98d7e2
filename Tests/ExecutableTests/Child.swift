import Glibc

/// One process of the real binary behind pipes.
///
/// One thread does all of it with `poll`: a test that blocked in a read while a task had to write would never end on a
/// machine with few cores, for the tasks of Swift Testing share as many threads as there are cores.
final class Child {
  enum Trouble: Error, CustomStringConvertible {
    case system(String, code: Int32)
    case silence
    case outputEnded

    var description: String {
      switch self {
      case .system(let call, let code): "\(call): \(String(cString: strerror(code)))"
      case .silence: "nothing happened for \(Child.patience) ms"
      case .outputEnded: "the output has ended"
      }
    }
  }

  /// Milliseconds until a wait is given up: only so that a test that would hang for ever fails instead.
  static let patience: Int32 = 120_000

  let processID: pid_t
  private var input: Int32
  private let output: Int32
  private var buffer: [UInt8] = []
  private var outputEnded = false
  private var isReaped = false

  /// Starts the program that lies beside the test runner.
  init(_ arguments: String...) throws {
    // With O_CLOEXEC, or a child that another test starts at the same time would inherit the other end of these pipes,
    // and the end of the input would never come.
    let (inputEnd, input) = try Self.pipe()
    let (output, outputEnd) = try Self.pipe()
    defer {
      close(inputEnd)
      close(outputEnd)
    }
    self.input = input
    self.output = output

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, inputEnd, 0)
    posix_spawn_file_actions_adddup2(&actions, outputEnd, 1)

    // The threads that run tests block most signals, and a child inherits that.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    var words = ([Self.program] + arguments).map { strdup($0) } + [nil]
    defer { words.forEach { free($0) } }
    var processID = pid_t()
    let code = posix_spawn(&processID, Self.program, &actions, &attributes, &words, environ)
    if code != 0 { throw Trouble.system("posix_spawn \(Self.program)", code: code) }
    self.processID = processID
    _ = fcntl(input, F_SETFL, fcntl(input, F_GETFL) | O_NONBLOCK)
  }

  deinit {
    closeInput()
    close(output)
    if !isReaped {
      kill(processID, SIGKILL)
      waitpid(processID, nil, 0)
    }
  }

  private static let program: String = {
    var path = [UInt8](repeating: 0, count: 4_096)
    let count = path.withUnsafeMutableBytes { target in
      target.withMemoryRebound(to: CChar.self) { readlink("/proc/self/exe", $0.baseAddress!, $0.count) }
    }
    let runner = String(decoding: path.prefix(max(count, 0)), as: UTF8.self)
    return runner.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/mcp-session-store"
  }()

  private static func pipe() throws -> (reading: Int32, writing: Int32) {
    var ends: [Int32] = [0, 0]
    if pipe2(&ends, O_CLOEXEC) != 0 { throw Trouble.system("pipe2", code: errno) }
    return (ends[0], ends[1])
  }

  // MARK: - Talking

  /// Writes all of `text`, and keeps what comes back meanwhile.
  func write(_ text: String) throws {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      guard try wait(toWrite: true) else { continue }
      let sent = rest.withUnsafeBytes { Glibc.write(input, $0.baseAddress, $0.count) }
      if sent < 0, errno != EAGAIN { throw Trouble.system("write", code: errno) }
      rest = rest.dropFirst(max(sent, 0))
    }
  }

  func closeInput() {
    if input >= 0 { close(input) }
    input = -1
  }

  /// The next line, without its newline; nil when the output has ended.
  func readLine() throws -> String? {
    var searched = 0
    while true {
      if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = String(decoding: buffer[..<end], as: UTF8.self)
        buffer.removeFirst(end + 1)
        return line
      }
      searched = buffer.count
      if outputEnded { return nil }
      _ = try wait(toWrite: false)
    }
  }

  /// The answer to a request.
  func ask(_ request: String) throws -> String {
    try write(request + "\n")
    guard let line = try readLine() else { throw Trouble.outputEnded }
    return line
  }

  /// Every line until the output ends.
  func rest() throws -> [String] {
    var lines: [String] = []
    while !outputEnded { _ = try wait(toWrite: false) }
    for line in buffer.split(separator: UInt8(ascii: "\n")) { lines.append(String(decoding: line, as: UTF8.self)) }
    buffer = []
    return lines
  }

  /// Waits until something can be read (and keeps it) or written.
  /// - Returns: whether something can be written
  private func wait(toWrite: Bool) throws -> Bool {
    var descriptors = [
      pollfd(fd: outputEnded ? -1 : output, events: Int16(POLLIN), revents: 0),
      pollfd(fd: toWrite ? input : -1, events: Int16(POLLOUT), revents: 0),
    ]
    if poll(&descriptors, 2, Self.patience) == 0 { throw Trouble.silence }
    if descriptors[0].revents != 0 {
      var chunk = [UInt8](repeating: 0, count: 1 << 16)
      let count = read(output, &chunk, chunk.count)
      outputEnded = count <= 0
      buffer += chunk.prefix(max(count, 0))
    }
    return descriptors[1].revents != 0
  }

  // MARK: - Ending

  /// Waits for the end. Negative: the signal that it died of.
  func exitStatus() -> Int32 {
    var status: Int32 = 0
    while waitpid(processID, &status, 0) < 0, errno == EINTR {}
    isReaped = true
    return status & 0x7F == 0 ? (status >> 8) & 0xFF : -(status & 0x7F)
  }
}

/// A directory that is gone when the test is.
final class Folder {
  let path: String

  init() {
    var template = Array("/tmp/mcp-session-store-XXXXXX".utf8CString)
    path = String(cString: mkdtemp(&template)!)
  }

  deinit {
    for suffix in ["", "-wal", "-shm", "-lock"] { unlink(database + suffix) }
    rmdir(path)
  }

  var database: String { path + "/sessions.db" }
}
