import Synchronization

/// Standard output of the commands that print and end: it waits for its reader.
enum Output {
  private static let count = Atomic<Int>(0)

  /// how often something was written
  static var writes: Int { count.load(ordering: .relaxed) }

  /// - Throws: ``ExitCode/inputOutput``, silently where the reader went away
  static func write(_ text: String) throws(Failure) { try write(Array(text.utf8)) }

  /// Writes lines of JSON: as they are, but for what a terminal would obey.
  static func write(json bytes: [UInt8]) throws(Failure) {
    if Terminal.output.isTerminal {
      try write(Terminal.printable(json: String(decoding: bytes, as: UTF8.self)))
    } else {
      try write(bytes)
    }
  }

  /// - Throws: ``ExitCode/cannotCreate``
  static func write(_ bytes: [UInt8], toFile path: String, replacing: Bool) throws(Failure) {
    guard let reason = System.makeFile(path, bytes, replacing: replacing) else { return }
    throw Failure(code: .cannotCreate, message: reason)
  }

  static func write(_ bytes: [UInt8]) throws(Failure) {
    count.add(1, ordering: .relaxed)
    guard let reason = System.writeOut(bytes[...]) else { return }
    throw Failure(code: .inputOutput, message: reason)
  }
}
