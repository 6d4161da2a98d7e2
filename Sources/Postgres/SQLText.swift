/// What has to be known of a statement's text. It is the program's own, so that a glance is enough: strings are between
/// single quotation marks, comments behind two dashes.
struct SQLText {
  private enum Kind: UInt8 { case code, quoted, comment }

  private let bytes: [UInt8]
  private let kinds: [Kind]

  init(_ text: String) {
    bytes = Array(text.utf8)
    kinds = Self.kinds(bytes)
  }

  private static func kinds(_ bytes: [UInt8]) -> [Kind] {
    var kinds: [Kind] = []
    kinds.reserveCapacity(bytes.count)
    var end: UInt8? = nil
    for (index, byte) in bytes.enumerated() {
      if let closing = end {
        kinds.append(closing == UInt8(ascii: "\n") ? .comment : .quoted)
        if byte == closing { end = nil }
      } else if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
        kinds.append(.quoted)
        end = byte
      } else if byte == UInt8(ascii: "-"), index + 1 < bytes.count, bytes[index + 1] == byte {
        kinds.append(.comment)
        end = UInt8(ascii: "\n")
      } else {
        kinds.append(.code)
      }
    }
    return kinds
  }

  var end: Int { bytes.count }
  func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

  private static func isName(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }

  /// A name as it has to be written so that it is taken as it is.
  static func quotedName(_ name: String) -> String {
    "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
  }

  // MARK: - Words

  private var firstWord: String {
    String(decoding: bytes.drop { $0 <= 0x20 }.prefix(while: Self.isName), as: UTF8.self)
  }

  func starts(with word: String) -> Bool { firstWord == word }

  var returnsRows: Bool {
    ["SELECT", "WITH", "VALUES", "SHOW", "FETCH"].contains(firstWord) || find("RETURNING") != nil
  }

  /// Where a word stands in the code from `start` on.
  func find(_ word: String, from start: Int = 0) -> Int? {
    let word = Array(word.utf8)
    guard end - start >= word.count else { return nil }
    return (start...end - word.count).first { place in
      kinds[place] == .code && bytes[place..<place + word.count].elementsEqual(word)
        && (place == 0 || !Self.isName(bytes[place - 1]))
        && (place + word.count == end || !Self.isName(bytes[place + word.count]))
    }
  }

  /// The first pair of brackets in the code from `start` on, and what is between them.
  func brackets(from start: Int) -> Range<Int>? {
    var depth = 0
    var open = 0
    for index in start..<end where kinds[index] == .code {
      if bytes[index] == UInt8(ascii: "(") {
        if depth == 0 { open = index }
        depth += 1
      } else if bytes[index] == UInt8(ascii: ")") {
        depth -= 1
        if depth == 0 { return open..<index + 1 }
      }
    }
    return nil
  }

  /// The statements of a script, without comments.
  var statements: [String] {
    var statements: [[UInt8]] = [[]]
    for (index, byte) in bytes.enumerated() {
      if kinds[index] == .code, byte == UInt8(ascii: ";") {
        statements.append([])
      } else if kinds[index] != .comment {
        statements[statements.count - 1].append(byte)
      }
    }
    return statements.map { String(decoding: $0, as: UTF8.self) }.filter { $0.contains { !$0.isWhitespace } }
  }

  // MARK: - Parameters

  var highestParameter: Int { parameters(in: 0..<end).map(\.number).max() ?? 0 }

  /// Every `$n` in the code of a part.
  func parameters(in range: Range<Int>) -> [(number: Int, range: Range<Int>)] {
    range.compactMap { place in
      guard bytes[place] == UInt8(ascii: "$"), kinds[place] == .code else { return nil }
      let digits = bytes[(place + 1)..<range.upperBound].prefix { $0 >= 0x30 && $0 <= 0x39 }
      guard let number = Int(String(decoding: digits, as: UTF8.self)) else { return nil }
      return (number, place..<place + 1 + digits.count)
    }
  }

  /// A part in which each `$n` is the column `given.pn`.
  func withColumns(_ range: Range<Int>) -> String {
    var result = ""
    var start = range.lowerBound
    for parameter in parameters(in: range) {
      result += text(start..<parameter.range.lowerBound) + "given.p\(parameter.number)"
      start = parameter.range.upperBound
    }
    return result + text(start..<range.upperBound)
  }
}
