import Foundation
import SQLite
import Testing

/// A directory of its own for one test, gone with it.
final class TemporaryDirectory {
  let path: String

  init() throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("sqlite-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
  }

  func file(_ name: String) -> String { path + "/" + name }

  /// An empty file for a database, as the program makes it.
  func database() -> String {
    let path = file("a.db")
    #expect(DatabaseFile.create(path) == nil)
    return path
  }
}
