import SessionStore

/// How the process ends; scripts rely on these (sysexits.h).
enum ExitCode: Int32 {
  case success = 0
  /// a command that judges found something wrong
  case problem = 1
  /// the command line is wrong
  case usage = 64
  /// the file is not ours, is newer or older than this program can use, or is damaged
  case data = 65
  /// what was named is not there
  case missing = 66
  /// The file was deleted, moved, replaced or written over while it was open, or libpq or zlib is not there.
  case replaced = 69
  /// a defect of this program
  case defect = 70
  /// the file cannot be created or opened
  case cannotCreate = 73
  /// the disk or the reader of our output failed
  case inputOutput = 74
  /// another process holds the file
  case locked = 75
  /// the options contradict each other or the surroundings
  case configuration = 78

  /// what help says of them
  static let sentence = """
    Exit codes: 0 done, 1 doctor or check found a problem, 64 usage, 65 not our file or damaged, 66 no such file or
    session, 69 file deleted or replaced while open, no libpq or no zlib, 70 a defect here, 73 cannot create or open, 74
    disk or reader failed, 75 locked by another process or out of reach, 78 configuration.
    """
}

/// Why the process ends without having done what it was asked for.
struct Failure: Error {
  let code: ExitCode
  /// one line for people; empty when there is nobody to tell or nothing that they do not know
  let message: String
}

extension Failure {
  /// Whatever opening, reading or writing a store may throw.
  init(_ error: any Error, _ path: String) {
    let path = ServerAddress(path)?.shown ?? path
    switch error {
    case let error as Failure: self = error
    case let error as OpenError: self.init(error, path)
    case let error as ArchiveError: self.init(error)
    case StoreError.sessionNotFound(let id):
      self.init(code: .missing, message: "there is no session '\(Terminal.printable(id))' in \(path)")
    case StoreError.invalidParameter("path", let expected):
      self.init(code: .cannotCreate, message: "the copy cannot be made: expected \(expected)")
    case StoreError.notOnServer(let what, let instead):
      self.init(code: .usage, message: "\(what); use \(instead)")
    case StoreError.backupFailed(_, _, let message):
      self.init(code: .inputOutput, message: "the copy failed: \(message); nothing of it is left")
    case StoreError.sessionExpired(let id):
      self.init(code: .missing, message: "the session '\(Terminal.printable(id))' has expired")
    case StoreError.tooNew(let found, let supported):
      self.init(OpenError.tooNew(found: found, supported: supported), path)
    case StoreError.databaseReplaced(let change, _): self.init(.replaced(change), path)
    case StoreError.busy(let milliseconds):
      self.init(code: .locked, message: "\(path) was written by other processes for \(milliseconds) ms; try again")
    default: self.init(OpenError.of(error, path), path)
    }
  }

  init(_ error: ArchiveError) {
    switch error {
    case .unusable(let path, let reason):
      self.init(code: .cannotCreate, message: "cannot write to \(path): \(reason)")
    case .missing(let path, let reason): self.init(code: .missing, message: "cannot read \(path): \(reason)")
    case .foreign(let path, let offset):
      self.init(code: .data, message: "\(path) is no archive of this program, or is damaged at byte \(offset)")
    case .busy(let path): self.init(code: .locked, message: "another process writes to \(path)")
    case .elsewhere(let path):
      self.init(
        code: .locked,
        message: "sessions of this store are leaving for the archive at \(path): try again when that is done, or "
          + "archive to it if whoever did so was killed")
    case .failed(let path, let what, _, let reason):
      self.init(code: .inputOutput, message: "\(what) \(path): \(reason)")
    case .noLibrary(let what, let instead): self.init(code: .replaced, message: "\(what); \(instead)")
    }
  }

  init(_ error: OpenError, _ path: String) {
    switch error {
    case .foreign(let message), .damaged(let message): self.init(code: .data, message: message)
    case .tooNew(let found, let supported):
      self.init(
        code: .data,
        message: "\(path) has schema \(found), made by a newer program; this one knows \(supported): install that")
    case .tooOld(let found, let supported):
      self.init(
        code: .data,
        message: "\(path) has schema \(found), made by an older program; this one reads \(supported): start "
          + "mcp-session-store serve on it once, which brings it up to date")
    case .missing(let message): self.init(code: .missing, message: message)
    case .cannotCreate(let message): self.init(code: .cannotCreate, message: message)
    case .locked(let message): self.init(code: .locked, message: message)
    case .inputOutput(let message): self.init(code: .inputOutput, message: message)
    case .replaced(let message): self.init(code: .replaced, message: "\(message); start again")
    case .unusable(let message): self.init(code: .usage, message: message)
    case .noLibrary(let message): self.init(code: .replaced, message: message)
    }
  }
}
