import SQLite

/// Whether the write-ahead log that a dead process left belongs to the file that it stands beside now. SQLite asks
/// nothing of the kind: it would put its pages into whatever file has the name, such as a backup that was restored.
///
/// The row of the store says, in the log, which revision the file itself had when the log was begun. So the file has
/// that revision or, as checkpoints copy what is in the log, a later one of the log; and a file that was put there has
/// another one, unless the log fits it too.
struct LogLineage {
  let revision: Int64
  let lineage: Int64
  let logBase: Int64

  /// - Returns: nil when it does not stand there, as in older files, or cannot be read
  init?(_ connection: Connection) {
    do {
      let select = try connection.statement("SELECT revision, lineage, log_base FROM store WHERE id = 1")
      guard try select.step() else { return nil }
      (revision, lineage, logBase) = (select.integer(0), select.integer(1), select.integer(2))
    } catch {
      return nil
    }
  }

  /// - Parameter file: what stands in the file without the log
  func fits(_ file: LogLineage) -> Bool {
    (file.lineage == 0 || file.lineage == lineage) && logBase <= file.revision && file.revision <= revision
  }

  /// Call it only where nobody else has the file open, and before this process has.
  /// - Returns: what is in the file alone; nil where there is no log
  static func ofFile(_ resolved: String) -> LogLineage? {
    guard DatabaseFile.size(DatabaseFile.logPath(resolved)) > 0, !DatabaseFile.sharedMemoryIsUsed(resolved),
      let file = try? Connection(path: resolved, mode: .immutable, busyTimeout: 0)
    else { return nil }
    return LogLineage(file)
  }

  /// - Parameters:
  ///   - file: what is in the file alone
  ///   - connection: sees the log too
  /// - Throws: ``OpenError``
  static func check(_ file: LogLineage?, _ connection: Connection, _ path: String, log: String) throws {
    guard let file, let all = LogLineage(connection), !all.fits(file) else { return }
    throw OpenError.damaged(
      "\(log) was left by a process that died, and belongs to another file than the one that stands at \(path) now: "
        + "together they would be damaged. To use \(path) as it is, move \(log) away")
  }
}
