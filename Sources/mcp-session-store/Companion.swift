import Glibc

/// The same program linked with the system's C library. It stands beside the fully static one in the packages, and can
/// load libraries, which that one cannot: it would get a second C library, and crash in it.
enum Companion {
  static let name = "mcp-session-store-dynamic"

  /// Goes on as the companion where this program is static, and returns where it can load libraries itself.
  /// - Parameter need: which library, and what for: "PostgreSQL needs libpq"
  static func takeOver(for need: String) throws(Failure) {
    guard System.isStatic else { return }
    let own = System.executablePath()
    let path = own.prefix(upTo: own.lastIndex(of: "/") ?? own.startIndex) + "/" + name
    guard path != own, System.exists(path) else {
      throw Failure(
        code: .replaced,
        message: "\(need), which the fully static program cannot load, and \(name), which can, is not beside it "
          + "(\(path)): install the whole package, or build the other with 'swift build -c release "
          + "--static-swift-stdlib --product mcp-session-store'")
    }
    // What fails before its first instruction could not say so.
    if let problem = problem(withStarting: path) {
      throw Failure(
        code: .replaced,
        message: "\(need), which the fully static program cannot load, and \(path), which can, does not start here: "
          + "\(problem). It needs glibc 2.34 or newer and libgcc, as Debian 12, Ubuntu 22.04 and RHEL 9 have them; "
          + "Alpine Linux has another libc")
    }
    _ = unsafe execv(path, CommandLine.unsafeArgv)
    throw Failure(code: .replaced, message: "\(need), and \(path) cannot be run: \(System.errorText())")
  }

  private static func problem(withStarting path: String) -> String? {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    for descriptor: Int32 in 0...1 {
      unsafe posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
    }
    var process: pid_t = 0
    let code = unsafe path.withCString { path in
      unsafe "--version".withCString { option in
        let words = unsafe [UnsafeMutablePointer(mutating: path), UnsafeMutablePointer(mutating: option), nil]
        return unsafe posix_spawn(&process, path, &actions, nil, words, environ)
      }
    }
    if code != 0 {
      errno = code
      return System.errorText()
    }
    var status: Int32 = 0
    while unsafe waitpid(process, &status, 0) < 0 {
      // Whoever started this one has the system forget children: the real start will tell.
      if errno != EINTR { return nil }
    }
    if status == 0 { return nil }
    return status & 0x7f == 0 ? "it ended with \(status >> 8 & 0xff)" : "it was ended by signal \(status & 0x7f)"
  }
}
