import Glibc
import Synchronization

/// The system calls of the process, with the policy for their errors in one place: EINTR is tried again, "would block"
/// is a result, and everything else ends the conversation.
///
/// Unsafe code stands here, where files are looked at, and in the room of the database: each use hands a buffer that
/// outlives the call to the C library.
enum System {
  /// Lets a pipe hold so much, if it holds less; what is no pipe stays as it is.
  static func widenPipe(_ descriptor: Int32, to bytes: Int) {
    // F_GETPIPE_SZ and F_SETPIPE_SZ, which no header of Glibc's module has
    if fcntl(descriptor, 1_032) < bytes { _ = fcntl(descriptor, 1_031, Int32(clamping: bytes)) }
  }

  enum Transfer {
    case bytes(Int)
    case wouldBlock
    /// there is no other end any more
    case ended
    /// the system's reason
    case failed(String)
  }

  /// Reads what is there into `buffer`, from its beginning.
  static func read(_ descriptor: Int32, into buffer: inout [UInt8]) -> Transfer {
    unsafe buffer.withUnsafeMutableBytes { target in
      while true {
        let got = unsafe Glibc.read(descriptor, target.baseAddress, target.count)
        if got > 0 { return .bytes(got) }
        if got < 0, errno == EINTR { continue }
        if got == 0 { return .ended }
        return errno == EAGAIN ? .wouldBlock : .failure
      }
    }
  }

  /// Writes what the reader takes right now, without O_NONBLOCK: the descriptor was inherited, and the flag would
  /// change it for every process that shares it.
  static func writeWithoutWaiting(_ descriptor: Int32, _ bytes: ArraySlice<UInt8>) -> Transfer {
    unsafe bytes.withUnsafeBytes { buffer in
      retryingWrite { limit in
        var vector = unsafe iovec(
          iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: min(buffer.count, limit))
        let sent = unsafe pwritev2(descriptor, &vector, 1, -1, Int32(RWF_NOWAIT))
        if sent < 0, errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL {
          // A named pipe, a file, a terminal or an old kernel. A pipe that polls as writable has room for PIPE_BUF
          // bytes.
          var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          let ready = unsafe poll(&state, 1, 0)
          if ready == 0 { errno = EAGAIN }
          if ready <= 0 { return -1 }
          return unsafe Glibc.write(descriptor, buffer.baseAddress, min(buffer.count, Int(PIPE_BUF)))
        }
        return sent
      }
    }
  }

  private static func retryingWrite(_ write: (Int) -> Int) -> Transfer {
    while true {
      let sent = write(1 << 20)
      if sent >= 0 { return .bytes(sent) }
      switch errno {
      case EINTR: continue
      case EAGAIN: return .wouldBlock
      default: return .failure
      }
    }
  }

  /// Says something to people. A full or closed stderr never holds the service up: what does not fit is lost.
  static func report(_ message: String) {
    writeError("mcp-session-store: \(message)\n")
  }

  private static let lostLines = Atomic<Int>(0)

  /// Writes a line of the log to standard error, whole or not at all: what its reader does not take is lost, and how
  /// many lines were is told when it takes some again.
  static func log(_ line: [UInt8]) {
    let lost = lostLines.load(ordering: .relaxed)
    let told = lost == 0 ? line : Array("{\"lost_lines\":\(lost)}\n".utf8) + line
    if case .bytes = writeWithoutWaiting(STDERR_FILENO, told[...]) {
      lostLines.store(0, ordering: .relaxed)
    } else {
      lostLines.store(lost + 1, ordering: .relaxed)
    }
  }

  static func writeError(_ text: String) {
    _ = writeWithoutWaiting(STDERR_FILENO, Array(text.utf8)[...])
  }

  /// Writes all of it to standard output and waits for the reader: for commands that print and end.
  /// - Returns: nil when it is written, else the system's reason; empty when the reader has gone away
  static func writeOut(_ bytes: ArraySlice<UInt8>) -> String? {
    writeAll(bytes, to: STDOUT_FILENO, called: "standard output")
  }

  private static func writeAll(_ bytes: ArraySlice<UInt8>, to descriptor: Int32, called name: String) -> String? {
    var rest = bytes
    while !rest.isEmpty {
      let sent = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if sent >= 0 {
        rest = rest.dropFirst(sent)
        continue
      }
      switch errno {
      case EINTR: continue
      // Someone who shares the descriptor has set O_NONBLOCK.
      case EAGAIN: _ = wait(input: nil, output: descriptor, wantsToWrite: true, milliseconds: nil)
      case EPIPE, ECONNRESET: return ""
      default: return "cannot write to \(name): \(errorText())"
      }
    }
    return nil
  }

  /// Whether the program was started without a dynamic linker: the kernel tells every program where it put that one.
  /// https://man7.org/linux/man-pages/man3/getauxval.3.html, AT_BASE
  static var isStatic: Bool {
    let descriptor = unsafe open("/proc/self/auxv", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var pairs = [UInt8](repeating: 0, count: 1 << 12)
    guard case .bytes(let count) = read(descriptor, into: &pairs) else { return false }
    func word(_ start: Int) -> UInt64 { pairs[start..<(start + 8)].reversed().reduce(0) { $0 << 8 | UInt64($1) } }
    return stride(from: 0, to: count - 15, by: 16).contains { word($0) == 7 && word($0 + 8) == 0 }
  }

  static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

  /// Makes a file that only its owner may read, whole or not at all: it is written beside its place and then renamed.
  /// - Parameters:
  ///   - replacing: whether a file that is there is replaced
  ///   - mode: the rights that it has, less the umask
  ///   - isKept: whether it must outlive a power cut
  /// - Returns: nil when it is there, else the system's reason
  static func makeFile(
    _ path: String, _ bytes: [UInt8], replacing: Bool, mode: mode_t = 0o600, isKept: Bool = true
  ) -> String? {
    let partial = "\(path).partial-\(process())"
    let descriptor = unsafe open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    guard descriptor >= 0 else { return "cannot write to \(path): \(errorText())" }
    var reason = writeAll(bytes[...], to: descriptor, called: path)
    if reason == nil, isKept, fsync(descriptor) != 0 { reason = "cannot write to \(path): \(errorText())" }
    close(descriptor)
    if reason == nil {
      let isThere = unsafe replacing ? rename(partial, path) == 0 : link(partial, path) == 0
      if !isThere { reason = "cannot write to \(path): \(errorText())" }
    }
    _ = unsafe unlink(partial)
    return reason
  }

  /// Gives a database that is closed another name, without replacing anything.
  /// - Returns: nil when it has it, else the system's reason
  static func place(_ path: String, at target: String) -> String? {
    var code = unsafe renameat2(AT_FDCWD, path, AT_FDCWD, target, UInt32(RENAME_NOREPLACE))
    // Some network file systems cannot do that, but have links, which never replace anything either.
    if code != 0, errno == EINVAL || errno == ENOSYS { code = unsafe link(path, target) }
    return code == 0 ? syncDirectory(of: target) : errorText()
  }

  /// - Returns: nil when the names in it outlive a power cut, else the system's reason
  static func syncDirectory(of path: String) -> String? {
    let parent = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    let directory = unsafe open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { return errorText() }
    defer { close(directory) }
    // EINVAL: a file system that has no such thing.
    return fsync(directory) == 0 || errno == EINVAL ? nil : errorText()
  }

  /// Takes a database away with all that stands beside it.
  static func removeDatabase(_ path: String) {
    for ending in ["", "-wal", "-shm", "-journal", "-lock"] { _ = unsafe unlink(path + ending) }
  }

  static func errorText() -> String {
    guard let text = unsafe strerror(errno) else { return "error \(errno)" }
    return unsafe String(cString: text)
  }

  // MARK: - Descriptors

  static func isOpen(_ descriptor: Int32) -> Bool { fcntl(descriptor, F_GETFD) >= 0 }

  /// Takes standard output away: its duplicate is the wire, and descriptor 1 points where stderr does, so that nothing
  /// that prints can pollute the wire. Closed standard descriptors are filled first, lest the database become one.
  static func takeOutput() -> Int32 {
    for descriptor: Int32 in 0...2 where !isOpen(descriptor) { _ = unsafe open("/dev/null", O_RDWR) }
    let output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
    dup2(STDERR_FILENO, STDOUT_FILENO)
    return output
  }

  static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

  /// the width of a terminal; nil when it does not know
  static func columns(_ descriptor: Int32) -> Int? {
    var size = winsize()
    guard unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
    return Int(size.ws_col)
  }

  /// the lines of a terminal; nil when it does not know
  static func rows(_ descriptor: Int32) -> Int? {
    var size = winsize()
    guard unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 2 else { return nil }
    return Int(size.ws_row)
  }

  /// Has the terminal hand over keys as they are pressed, and show none of them.
  /// - Returns: what ``releaseKeys(_:)`` needs; nil where standard input is no terminal
  static func takeKeys() -> termios? {
    var before = termios()
    guard unsafe tcgetattr(0, &before) == 0 else { return nil }
    var state = before
    state.c_lflag &= ~tcflag_t(ICANON | ECHO)
    return unsafe tcsetattr(0, TCSANOW, &state) == 0 ? before : nil
  }

  static func releaseKeys(_ before: termios) {
    var state = before
    _ = unsafe tcsetattr(0, TCSAFLUSH, &state)
  }

  // MARK: - Waiting

  private static let stop = Atomic<Bool>(false)

  /// whether SIGTERM, SIGINT or SIGHUP has come
  static var stopRequested: Bool { stop.load(ordering: .relaxed) }

  /// Signals end the service like the end of the input does. They stay blocked but for the moments of waiting, so that
  /// none comes between a look at the flag and the wait; whatever mask was inherited is replaced.
  static func installSignals() {
    _ = stopRequested
    signal(SIGPIPE, SIG_IGN)
    // A file that may not grow is an error like a full disk.
    signal(SIGXFSZ, SIG_IGN)
    for number in endingNumbers {
      signal(number) { _ in System.stop.store(true, ordering: .relaxed) }
    }
    var blocked = endingSignals
    unsafe sigprocmask(SIG_SETMASK, &blocked, nil)
  }

  /// Keeps signals that would end the process waiting, so that what it does can be undone first.
  static func holdSignals() {
    signal(SIGXFSZ, SIG_IGN)
    var held = endingSignals
    unsafe sigprocmask(SIG_BLOCK, &held, nil)
  }

  /// whether a signal that is held has come
  static var isSignalWaiting: Bool {
    var waiting = sigset_t()
    unsafe sigpending(&waiting)
    return endingNumbers.contains { number in unsafe sigismember(&waiting, number) == 1 }
  }

  /// Lets them do what they would have done.
  static func releaseSignals() {
    var held = endingSignals
    unsafe sigprocmask(SIG_UNBLOCK, &held, nil)
  }

  private static var endingSignals: sigset_t {
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    for number in endingNumbers { unsafe sigaddset(&signals, number) }
    return signals
  }

  /// What whoever started this ignores stays ignored, as for every program under nohup: a server that outlives its
  /// terminal must not lose its store.
  private static var endingNumbers: [Int32] { [SIGTERM] + [SIGINT, SIGHUP].filter { !isIgnored($0) } }

  private static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    guard unsafe sigaction(number, nil, &action) == 0 else { return false }
    let ignored = unsafe unsafeBitCast(SIG_IGN, to: Int.self)
    return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == ignored
  }

  struct Readiness {
    var readable = false
    var writable = false
    /// nobody will ever read what is written
    var outputClosed = false
    var othersWrote = false
  }

  /// Waits until one of the descriptors is ready, a signal came, or the time is over.
  /// - Parameters:
  ///   - milliseconds: nil: no limit
  ///   - others: is readable when other processes wrote
  static func wait(
    input: Int32?, output: Int32?, wantsToWrite: Bool, milliseconds: Int64?, others: Int32? = nil
  ) -> Readiness {
    var descriptors = [
      pollfd(fd: output ?? -1, events: wantsToWrite ? Int16(POLLOUT) : 0, revents: 0),
      pollfd(fd: input ?? -1, events: Int16(POLLIN), revents: 0),
      pollfd(fd: others ?? -1, events: Int16(POLLIN), revents: 0),
    ]
    var timeout = timespec()
    if let milliseconds {
      timeout.tv_sec = Int(milliseconds / 1_000)
      timeout.tv_nsec = Int(milliseconds % 1_000) * 1_000_000
    }
    var unblocked = sigset_t()
    unsafe sigemptyset(&unblocked)
    let ready =
      if milliseconds == nil {
        unsafe ppoll(&descriptors, 3, nil, &unblocked)
      } else {
        unsafe ppoll(&descriptors, 3, &timeout, &unblocked)
      }
    guard ready > 0 else { return Readiness() }
    let (out, into) = (Int32(descriptors[0].revents), Int32(descriptors[1].revents))
    // A pipe whose reader has gone says POLLERR, a socket (Node's pipes are) POLLHUP. One whose peer only writes no
    // more says neither, and goes on taking what is written.
    return Readiness(
      readable: into & (POLLIN | POLLHUP | POLLERR) != 0, writable: out & POLLOUT != 0,
      outputClosed: out & (POLLERR | POLLHUP | POLLNVAL) != 0,
      othersWrote: descriptors[2].revents != 0)
  }

  // MARK: - Facts

  /// Unix milliseconds
  static func now() -> Int64 { milliseconds(CLOCK_REALTIME) }

  /// milliseconds since some moment; never goes back
  static func monotonic() -> Int64 { milliseconds(CLOCK_MONOTONIC) }

  /// the same in nanoseconds
  static func monotonicNanoseconds() -> Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  private static func milliseconds(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
  }

  static func environment(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
  }

  /// the names of all variables
  static var environmentNames: [String] {
    var names: [String] = []
    var entry = unsafe environ
    while let text = unsafe entry.pointee {
      names.append(String(unsafe String(cString: text).prefix { $0 != "=" }))
      unsafe entry += 1
    }
    return names
  }

  static func parentProcess() -> Int32 { getppid() }
  static func process() -> Int32 { getpid() }

  /// resident bytes
  static func memoryUsage() -> Int64 {
    // The second number of /proc/self/statm counts resident pages.
    guard let text = contents("/proc/self/statm"), let pages = text.split(separator: " ").dropFirst().first else {
      return 0
    }
    return (Int64(pages) ?? 0) * Int64(sysconf(Int32(_SC_PAGESIZE)))
  }

  /// bytes that this user may still write on the file system of `path`; nil when nothing stands there
  static func freeDisk(_ path: String) -> Int64? {
    var status = statvfs()
    guard unsafe statvfs(path, &status) == 0 else { return nil }
    return Int64(status.f_bavail) * Int64(status.f_frsize)
  }

  static func executablePath() -> String { linkTarget("/proc/self/exe") ?? "mcp-session-store" }

  static func linkTarget(_ path: String) -> String? {
    var buffer = [UInt8](repeating: 0, count: 4_096)
    let count = unsafe buffer.withUnsafeMutableBytes { target in
      unsafe target.withMemoryRebound(to: CChar.self) { unsafe readlink(path, $0.baseAddress!, $0.count) }
    }
    return count > 0 ? String(decoding: buffer.prefix(count), as: UTF8.self) : nil
  }

  static var hostName: String {
    var name = [UInt8](repeating: 0, count: 256)
    _ = unsafe name.withUnsafeMutableBytes { target in
      unsafe target.withMemoryRebound(to: CChar.self) { unsafe gethostname($0.baseAddress!, $0.count - 1) }
    }
    return String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
  }

  /// The path without links, dots and doubled slashes; nil when nothing is there.
  static func resolved(_ path: String) -> String? {
    guard let resolved = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
  }

  /// Makes the directories above a file, for this user alone.
  static func makeDirectories(for file: String) {
    var path = ""
    for part in file.split(separator: "/").dropLast() {
      path += "/" + part
      _ = unsafe mkdir(path, 0o700)
    }
  }

  /// The whole of a file of the system's, such as one under /proc.
  static func contents(_ path: String) -> String? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var contents: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while case .bytes(let count) = read(descriptor, into: &buffer) { contents += buffer.prefix(count) }
    return String(decoding: contents, as: UTF8.self)
  }

  /// Ends the process at once, without closing the database: after a failed sync SQLite must not touch it again.
  static func end(_ code: ExitCode) -> Never {
    exit(code.rawValue)
  }

  /// The same, and says why.
  static func end(_ failure: Failure) -> Never {
    if !failure.message.isEmpty { report(failure.message) }
    end(failure.code)
  }
}

extension System.Transfer {
  /// What `errno` says of a transfer.
  fileprivate static var failure: Self {
    errno == EPIPE || errno == ECONNRESET ? .ended : .failed(System.errorText())
  }
}
