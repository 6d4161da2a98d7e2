import JSON

/// Cuts the input into lines, whatever the boundaries at which it arrives.
///
/// A line that lies within one chunk is a slice of it, without a copy. No byte is looked at twice. A line that is
/// longer than the limit is passed without being buffered: only its beginning is kept, so that its id can be found.
package struct LineReader {
  package enum Line {
    case complete(ArraySlice<UInt8>)
    /// the first bytes of a line over the limit, at most ``keptPrefix`` of them
    case tooLong(prefix: ArraySlice<UInt8>)
  }

  /// how much of a line over the limit is kept
  package static let keptPrefix = 65_536

  private let limit: Int
  /// what came and was not looked at yet
  package private(set) var unread: ArraySlice<UInt8> = []
  /// the beginning of a line that ended no chunk yet
  private var begun: [UInt8] = []
  /// whether `begun` is the kept prefix of a line that is over the limit
  private var isTooLong = false

  /// - Parameter limit: bytes that a line may have, without its newline
  package init(limit: Int) {
    self.limit = limit
  }

  package mutating func append(_ chunk: [UInt8]) {
    unread = unread.isEmpty ? chunk[...] : unread + chunk
  }

  /// The next line that is not blank, without its newline and a `\r` before it; nil until more input comes.
  package mutating func next() -> Line? {
    while !unread.isEmpty {
      guard let newline = ByteWord.firstIndex(of: UInt8(ascii: "\n"), in: unread.span) else {
        keep(unread)
        unread = []
        return nil
      }
      let end = unread.startIndex + newline
      let rest = unread[..<end]
      unread = unread[(end + 1)...]
      if let line = finishLine(rest) { return line }
    }
    return nil
  }

  /// The last line, when the input ended without a newline.
  package mutating func finish() -> Line? {
    let rest = unread
    unread = []
    return finishLine(rest)
  }

  private mutating func finishLine(_ rest: ArraySlice<UInt8>) -> Line? {
    if begun.isEmpty, rest.count <= limit { return Self.trim(rest).map { .complete($0) } }
    keep(rest)
    let line = begun[...]
    begun = []
    if isTooLong {
      isTooLong = false
      return .tooLong(prefix: line)
    }
    return Self.trim(line).map { .complete($0) }
  }

  private mutating func keep(_ part: ArraySlice<UInt8>) {
    if !isTooLong, begun.count + part.count <= limit {
      begun.append(contentsOf: part)
      return
    }
    isTooLong = true
    if begun.count > Self.keptPrefix { begun = Array(begun.prefix(Self.keptPrefix)) }
    begun.append(contentsOf: part.prefix(Self.keptPrefix - begun.count))
  }

  /// nil for a blank line
  private static func trim(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    let isBlank = line.allSatisfy { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
    return isBlank ? nil : line
  }
}
