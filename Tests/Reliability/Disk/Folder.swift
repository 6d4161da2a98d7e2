import Glibc

/// A directory for one database and what SQLite keeps beside it.
struct Folder {
  static let databaseName = "sessions.db"
  private static let names = ["", "-wal", "-shm", "-journal", "-lock"].map { databaseName + $0 }

  let path: String

  init(_ path: String) {
    self.path = path
    mkdir(path, 0o700)
    empty()
  }

  var database: String { path + "/" + Self.databaseName }

  func empty() {
    for name in Self.names { unlink(path + "/" + name) }
  }

  /// Makes it hold just these files.
  func hold(_ image: Image) {
    empty()
    for (name, bytes) in image { write(name, bytes) }
  }

  func write(_ name: String, _ bytes: [UInt8]) {
    let file = open(path + "/" + name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    precondition(file >= 0, "\(path)/\(name) cannot be made: \(String(cString: strerror(errno)))")
    defer { close(file) }
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress! + done, bytes.count - done) }
      precondition(count > 0, "\(path)/\(name) cannot be written: \(String(cString: strerror(errno)))")
      done += count
    }
  }

  /// The files of the database, without the shared memory, which is nobody's after a power cut, and the lock, which is
  /// empty.
  func image() -> Image { Self.image(at: path) }

  static func image(at path: String) -> Image {
    var image: Image = [:]
    for name in names where !name.hasSuffix("-shm") && !name.hasSuffix("-lock") {
      if let bytes = bytes(path + "/" + name) { image[name] = bytes }
    }
    return image
  }

  /// nil when there is no such file
  static func bytes(_ path: String) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    if file < 0 { return nil }
    defer { close(file) }
    var status = stat()
    fstat(file, &status)
    let size = Int(status.st_size)
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      while count < size, case let more = read(file, buffer.baseAddress! + count, size - count), more > 0 {
        count += more
      }
    }
    return bytes
  }
}
