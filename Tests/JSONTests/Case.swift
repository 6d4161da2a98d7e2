import JSON

/// A part of a text: a string is its UTF-8, an integer is one byte, so that what is no UTF-8 can be written down too.
enum Piece: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByStringInterpolation {
  case text(String)
  case byte(UInt8)

  init(stringLiteral value: String) { self = .text(value) }
  init(integerLiteral value: UInt8) { self = .byte(value) }

  static func many(_ text: String, _ count: Int) -> Piece { .text(String(repeating: text, count: count)) }

  static func bytes(_ pieces: [Piece]) -> [UInt8] {
    pieces.flatMap { piece in
      switch piece {
      case .text(let text): Array(text.utf8)
      case .byte(let byte): [byte]
      }
    }
  }
}

/// A text that every JSON parser must accept.
struct Accepted: Sendable {
  let name: String
  let bytes: [UInt8]

  init(_ name: String, _ pieces: Piece...) {
    self.name = name
    self.bytes = Piece.bytes(pieces)
  }
}

/// A text that every JSON parser must reject, with the first thing that is wrong in it and where that stands.
struct Rejected: Sendable {
  let name: String
  let error: JSONError
  let bytes: [UInt8]

  init(_ name: String, _ defect: Defect, at offset: Int, _ pieces: Piece...) {
    self.name = name
    self.bytes = Piece.bytes(pieces)
    self.error = defect.error(in: bytes, at: offset)
  }
}

/// A text of which RFC 8259 lets each parser decide; the verdict of this house and its reason stand beside it.
struct Either: Sendable {
  let name: String
  /// nil when it is accepted here
  let error: JSONError?
  let reason: String
  let bytes: [UInt8]

  static func accepted(_ name: String, because reason: String, _ pieces: Piece...) -> Either {
    Either(name: name, error: nil, reason: reason, bytes: Piece.bytes(pieces))
  }

  static func rejected(
    _ name: String, _ defect: Defect, at offset: Int, because reason: String, _ pieces: Piece...
  ) -> Either {
    let bytes = Piece.bytes(pieces)
    return Either(name: name, error: defect.error(in: bytes, at: offset), reason: reason, bytes: bytes)
  }
}

/// The problems of ``JSONError`` as the tables name them; the wrong byte itself is read from the text.
enum Defect {
  case end, control, escape, utf8, number, depth, trailing
  case expected(String)

  static let value = Defect.expected("a value")
  static let name = Defect.expected("a member name")
  static let colon = Defect.expected("':' after a member name")
  static let commaOrBrace = Defect.expected("',' or '}'")
  static let commaOrBracket = Defect.expected("',' or ']'")

  func error(in bytes: [UInt8], at offset: Int) -> JSONError {
    let problem: JSONError.Problem =
      switch self {
      case .end: .unexpectedEnd
      case .control: .controlCharacter
      case .escape: .invalidEscape
      case .utf8: .invalidUTF8
      case .number: .invalidNumber
      case .depth: .tooDeep(limit: 128)
      case .trailing: .trailingBytes
      case .expected(let what): .unexpectedByte(bytes[offset], expected: what)
      }
    return JSONError(problem, at: offset)
  }
}
