internal import Glibc

/// What the file system says of a database and the files beside it.
package enum DatabaseFile {
  package enum Kind { case missing, file, directory, other }

  package static func kind(_ path: String) -> Kind {
    guard let status = status(path) else { return .missing }
    return switch status.st_mode & S_IFMT {
    case S_IFREG: .file
    case S_IFDIR: .directory
    default: .other
    }
  }

  /// bytes; 0 when there is no such file
  package static func size(_ path: String) -> Int64 { Int64(status(path)?.st_size ?? 0) }

  package static func logPath(_ path: String) -> String { path + "-wal" }

  /// Creates an empty file that only its owner may read and write. SQLite gives the files beside it the same rights.
  /// - Returns: nil when it was created or was there already, else the system's reason
  package static func create(_ path: String) -> String? {
    let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0o600)
    guard descriptor >= 0 else { return lastErrorText() }
    close(descriptor)
    return nil
  }

  static func lastErrorText() -> String { errorText(errno) }

  static func errorText(_ code: Int32) -> String {
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
  }

  /// Whether anything stands at the path, be it a link that leads nowhere.
  package static func isTaken(_ path: String) -> Bool {
    var status = stat()
    return unsafe lstat(path, &status) == 0
  }

  /// Whether the path names the database, or a file that SQLite or a sidecar keeps beside it.
  /// - Parameter database: as SQLite resolved it
  package static func belongs(_ path: String, to database: String) -> Bool {
    guard let directory = unsafe realpath(directory(of: path), nil) else { return false }
    defer { unsafe free(directory) }
    let name = path.split(separator: "/").last ?? ""
    let resolved = unsafe String(cString: directory) + "/" + name
    return ["", "-wal", "-shm", "-journal", "-lock"].contains { resolved == database + $0 }
  }

  static func directory(of path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private static func status(_ path: String) -> stat? {
    var status = stat()
    return unsafe stat(path, &status) == 0 ? status : nil
  }
}
