/// Appends compact JSON to a growing buffer. It places the commas; the caller closes what it opens.
package struct JSONWriter {
  /// What was written, and behind it room that is there already: a piece is put into it after one look whether it fits.
  /// To append each byte, or each piece, to an array is three times the instructions.
  private var storage: [UInt8]
  /// how many bytes were written
  package private(set) var count: Int
  /// whether the next value or member stands after another one
  private var needsComma = false

  package init(_ bytes: consuming [UInt8] = []) {
    count = bytes.count
    storage = bytes
  }

  /// what was written, as a copy
  package var bytes: [UInt8] { bytes(from: 0) }
  package func bytes(from start: Int) -> [UInt8] { Array(storage[start..<count]) }
  package var capacity: Int { storage.capacity }

  /// Makes room for so many bytes in all, so that writing them moves nothing.
  package mutating func reserve(_ capacity: Int) { storage.reserveCapacity(capacity) }

  /// Takes back everything after the first `count` bytes, which must end between messages: inside an array or an object
  /// only a ``Mark`` knows whether a comma is due.
  package mutating func rewind(to count: Int) {
    self.count = min(self.count, count)
    needsComma = false
  }

  /// A place to return to, in the middle of an object or an array.
  package struct Mark {
    package let count: Int
    fileprivate let needsComma: Bool
  }

  package var mark: Mark { Mark(count: count, needsComma: needsComma) }

  package mutating func rewind(to mark: Mark) {
    rewind(to: mark.count)
    needsComma = mark.needsComma
  }

  /// Hands out what was written and starts empty again, keeping nothing.
  package mutating func take() -> [UInt8] {
    var taken: [UInt8] = []
    move(to: &taken)
    return taken
  }

  /// Moves what was written to the end of `buffer` and starts empty again. An empty buffer changes places with the
  /// writer's own, so that neither is copied or made anew.
  package mutating func move(to buffer: inout [UInt8]) {
    if buffer.isEmpty {
      cutRoom()
      swap(&storage, &buffer)
    } else {
      buffer.append(contentsOf: storage[..<count])
    }
    count = 0
    needsComma = false
  }

  // MARK: - Room

  /// bytes that are made ready at once: few for a short text, which may be kept, more for a long one
  private static let room = 512..<1_536

  /// Writes by putting bytes at a place in the storage.
  /// - Parameters:
  ///   - most: bytes that may be touched there
  ///   - put: gives the place behind what it wrote
  @inline(__always)
  private mutating func write(atMost most: Int, _ put: (inout MutableSpan<UInt8>, Int) -> Int) {
    if storage.count &- count < most { makeRoom(most) }
    let start = count
    var bytes = storage.mutableSpan
    count = put(&bytes, start)
  }

  @inline(never)
  private mutating func makeRoom(_ most: Int) {
    let more = max(most, min(max(count, Self.room.lowerBound), Self.room.upperBound))
    storage.append(addingCapacity: more) { $0.append(repeating: 0, count: more) }
  }

  /// Takes the room away, for what is appended to the storage itself.
  private mutating func cutRoom() { storage.removeLast(storage.count - count) }

  // MARK: - Structure

  package mutating func beginObject() { open(UInt8(ascii: "{")) }
  package mutating func endObject() { close(UInt8(ascii: "}")) }
  package mutating func beginArray() { open(UInt8(ascii: "[")) }
  package mutating func endArray() { close(UInt8(ascii: "]")) }

  private mutating func open(_ bracket: UInt8) {
    let comma = needsComma
    write(atMost: 2) { bytes, at in
      let at = bytes.putComma(comma, at)
      bytes[at] = bracket
      return at + 1
    }
    needsComma = false
  }

  private mutating func close(_ bracket: UInt8) {
    write(atMost: 1) { bytes, at in
      bytes[at] = bracket
      return at + 1
    }
    needsComma = true
  }

  /// Writes a member's name; its value follows. `name` must need no escape.
  package mutating func name(_ name: String) {
    let name = name.utf8.span
    let comma = needsComma
    write(atMost: name.count &+ 4) { bytes, at in bytes.put(name: name, comma, at) }
    needsComma = false
  }

  /// Writes a member's name that may need escapes.
  package mutating func escapedName(_ name: String) {
    string(name)
    raw(":")
  }

  @inline(__always)
  private mutating func separate() {
    let comma = needsComma
    write(atMost: 1) { bytes, at in bytes.putComma(comma, at) }
  }

  /// Appends bytes that are outside the structure, such as the newline after a message.
  package mutating func raw(_ text: String) {
    append(text.utf8.span)
    needsComma = false
  }

  /// The same of what another writer has written.
  package mutating func raw(_ other: borrowing JSONWriter, _ part: Range<Int>) {
    append(other.storage.span.extracting(part))
    needsComma = false
  }

  /// The same of three pieces at once.
  package mutating func raw(_ text: String, _ middle: Span<UInt8>, _ end: String) {
    let (text, end) = (text.utf8.span, end.utf8.span)
    write(atMost: text.count &+ middle.count &+ end.count) { bytes, at in
      let at = bytes.put(text, at)
      return bytes.put(end, bytes.put(middle, at))
    }
    needsComma = false
  }

  // MARK: - Values

  package mutating func null() { literal(LiteralWord.null, 4) }
  package mutating func boolean(_ value: Bool) {
    if value { literal(LiteralWord.yes, 4) } else { literal(LiteralWord.no, 5) }
  }

  private mutating func literal(_ word: UInt64, _ length: Int) {
    let comma = needsComma
    write(atMost: 9) { bytes, at in
      let at = bytes.putComma(comma, at)
      bytes.put(word: word, at)
      return at + length
    }
    needsComma = true
  }

  package mutating func integer(_ value: Int64) {
    let comma = needsComma
    write(atMost: 32) { bytes, at in
      let at = bytes.putComma(comma, at)
      return bytes.put(value, at)
    }
    needsComma = true
  }

  package mutating func integer(_ value: Int) { integer(Int64(value)) }

  package mutating func string(_ value: String) {
    let text = value.utf8.span
    let comma = needsComma
    let start = count
    write(atMost: text.count &+ 3) { bytes, at in
      let at = bytes.putComma(comma, at)
      return bytes.put(string: text, at) ?? start
    }
    if count == start { escapedString(text) }
    needsComma = true
  }

  private mutating func escapedString(_ text: Span<UInt8>) {
    separate()
    raw("\"")
    appendEscaped(text)
    raw("\"")
  }

  /// Writes a string whose contents are appended piece by piece through ``StringPieces``.
  package mutating func string<Result>(_ write: (inout StringPieces) throws -> Result) rethrows -> Result {
    separate()
    raw("\"")
    var pieces = StringPieces(writer: JSONWriter())
    swap(&pieces.writer, &self)
    defer {
      swap(&pieces.writer, &self)
      raw("\"")
      needsComma = true
    }
    return try write(&pieces)
  }

  /// The inside of a string that is being written.
  package struct StringPieces {
    fileprivate var writer: JSONWriter
    package mutating func append(_ text: String) { writer.appendEscaped(text.utf8.span) }
    package mutating func append(_ text: Span<UInt8>) { writer.appendEscaped(text) }
    package var count: Int { writer.count }
    package mutating func rewind(to count: Int) { writer.rewind(to: count) }
  }

  /// Writes a value as it came.
  package mutating func text(_ value: JSONText) {
    if value.bytes.count <= Self.short { return validated(value.bytes.span) }
    validated { $0.append(contentsOf: value.bytes) }
  }

  /// bytes from which on the system copies faster
  private static let short = 128

  /// Writes a value that `write` puts together of pieces.
  @inline(__always)
  package mutating func value(_ write: (inout JSONWriter) -> Void) {
    separate()
    write(&self)
    needsComma = true
  }

  /// Writes bytes that are one valid JSON value.
  package mutating func validated(_ value: Span<UInt8>) {
    separate()
    append(value)
    needsComma = true
  }

  /// Writes one valid JSON value that `append` puts at the end of the buffer.
  package mutating func validated(_ append: (inout [UInt8]) throws -> Void) rethrows {
    separate()
    cutRoom()
    defer { count = storage.count }
    try append(&storage)
    needsComma = true
  }

  private mutating func append(_ text: Span<UInt8>) {
    write(atMost: text.count) { bytes, at in bytes.put(text, at) }
  }

  private mutating func appendEscaped(_ span: Span<UInt8>) {
    var clean = 0
    for index in span.indices {
      let byte = span[index]
      if byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") { continue }
      append(span.extracting(clean..<index))
      raw(Self.escape(byte))
      clean = index + 1
    }
    append(span.extracting(clean..<span.count))
  }

  private static func escape(_ byte: UInt8) -> String {
    switch byte {
    case 0x08: "\\b"
    case 0x09: "\\t"
    case 0x0A: "\\n"
    case 0x0C: "\\f"
    case 0x0D: "\\r"
    case 0..<0x10: "\\u000" + String(byte, radix: 16)
    case 0x10..<0x20: "\\u00" + String(byte, radix: 16)
    default: "\\" + String(UnicodeScalar(byte))
    }
  }
}

// MARK: - Bytes

/// Each puts something at a place and gives the place behind it.
extension MutableSpan<UInt8> {
  @inline(__always)
  fileprivate mutating func putComma(_ isDue: Bool, _ at: Int) -> Int {
    if !isDue { return at }
    self[at] = UInt8(ascii: ",")
    return at &+ 1
  }

  @inline(__always)
  fileprivate mutating func put(name: Span<UInt8>, _ comma: Bool, _ at: Int) -> Int {
    let start = putComma(comma, at)
    self[start] = UInt8(ascii: "\"")
    let end = put(name, start &+ 1)
    self[end] = UInt8(ascii: "\"")
    self[end &+ 1] = UInt8(ascii: ":")
    return end &+ 2
  }

  @inline(__always)
  fileprivate mutating func put(_ text: Span<UInt8>, _ at: Int) -> Int {
    let end = at &+ text.count
    if text.count < 8 {
      for index in text.indices { self[at &+ index] = text[index] }
      return end
    }
    var index = 0
    while index &+ 8 < text.count {
      put(word: ByteWord.load(text, at: index), at &+ index)
      index &+= 8
    }
    // The last word ends where the text does, over some of what is there.
    put(word: ByteWord.load(text, at: text.count &- 8), end &- 8)
    return end
  }

  /// Gives nil, and puts nothing that counts, when the string needs an escape.
  @inline(__always)
  fileprivate mutating func put(string text: Span<UInt8>, _ at: Int) -> Int? {
    self[at] = UInt8(ascii: "\"")
    let start = at &+ 1
    let end = start &+ text.count
    if text.count < 8 {
      for index in text.indices {
        let byte = text[index]
        if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return nil }
        self[start &+ index] = byte
      }
    } else {
      var special: UInt64 = 0
      var index = 0
      while index &+ 8 < text.count {
        let word = ByteWord.load(text, at: index)
        special |= ByteWord.escapes(word)
        put(word: word, start &+ index)
        index &+= 8
      }
      let word = ByteWord.load(text, at: text.count &- 8)
      if special | ByteWord.escapes(word) != 0 { return nil }
      put(word: word, end &- 8)
    }
    self[end] = UInt8(ascii: "\"")
    return end &+ 1
  }

  /// - Parameter word: eight bytes, the first one lowest
  @inline(__always)
  fileprivate mutating func put(word: UInt64, _ at: Int) {
    // One store, whatever stands around it. Of eight stores the compiler makes one in some places and not in others.
    var bytes = unsafe mutableBytes
    bytes.storeBytes(of: word.littleEndian, toByteOffset: at, as: UInt64.self)
  }

  /// Needs room for 8 bytes more than the digits.
  @inline(__always)
  fileprivate mutating func put(_ value: Int64, _ at: Int) -> Int {
    var at = at
    if value < 0 {
      self[at] = UInt8(ascii: "-")
      at &+= 1
    }
    let (rest, low) = value.magnitude.quotientAndRemainder(dividingBy: 100_000_000)
    if rest == 0 { return put(upToEight: low, at) }
    let (high, middle) = rest.quotientAndRemainder(dividingBy: 100_000_000)
    if high == 0 {
      at = put(upToEight: middle, at)
    } else {
      at = put(upToEight: high, at)
      put(word: DecimalWord.digits(middle), at)
      at &+= 8
    }
    put(word: DecimalWord.digits(low), at)
    return at &+ 8
  }

  @inline(__always)
  private mutating func put(upToEight value: UInt64, _ at: Int) -> Int {
    let digits = DecimalWord.digits(value)
    let zeros = DecimalWord.leadingZeros(digits)
    put(word: digits >> UInt64(8 * zeros), at)
    return at &+ 8 &- zeros
  }
}

/// Literals as the bytes of a word, the first one lowest.
private enum LiteralWord {
  static let null: UInt64 = 0x6C6C_756E
  static let yes: UInt64 = 0x6575_7274
  static let no: UInt64 = 0x65_736C_6166
}

/// Eight decimal digits as the bytes of a word, the first one lowest, all reckoned at once.
private enum DecimalWord {
  /// - Parameter value: under 10^8
  @inline(__always)
  static func digits(_ value: UInt64) -> UInt64 {
    // In two halves of four digits, then four of two, then eight of one. The quotients are products: exact as far as
    // the dividends go (x * 10,486 >> 20 is x / 100 for four digits, x * 103 >> 10 is x / 10 for two).
    let thousands = value / 10_000
    let fours = thousands | (value &- thousands &* 10_000) << 32
    let hundreds = (fours &* 10_486) >> 20 & 0x0000_007F_0000_007F
    let twos = hundreds | (fours &- hundreds &* 100) << 16
    let tens = (twos &* 103) >> 10 & 0x000F_000F_000F_000F
    return (tens | (twos &- tens &* 10) << 8) + 0x3030_3030_3030_3030
  }

  /// How many digits there are before the number begins; the last one is always of it.
  @inline(__always)
  static func leadingZeros(_ digits: UInt64) -> Int {
    min((digits & 0x0F0F_0F0F_0F0F_0F0F).trailingZeroBitCount >> 3, 7)
  }
}

// MARK: - Members

extension JSONWriter {
  package mutating func member(_ name: String, _ value: String) {
    self.name(name)
    string(value)
  }

  package mutating func member(_ name: String, _ value: String?) {
    if let value { member(name, value) } else { nullMember(name) }
  }

  package mutating func member(_ name: String, _ value: Int64) {
    let name = name.utf8.span
    let comma = needsComma
    write(atMost: name.count &+ 36) { bytes, at in
      let at = bytes.put(name: name, comma, at)
      return bytes.put(value, at)
    }
    needsComma = true
  }

  package mutating func member(_ name: String, _ value: Int) {
    self.name(name)
    integer(value)
  }

  package mutating func member(_ name: String, _ value: Int64?) {
    if let value { member(name, value) } else { nullMember(name) }
  }

  private mutating func nullMember(_ name: String) {
    let name = name.utf8.span
    let comma = needsComma
    write(atMost: name.count &+ 12) { bytes, at in
      let at = bytes.put(name: name, comma, at)
      bytes.put(word: LiteralWord.null, at)
      return at &+ 4
    }
    needsComma = true
  }

  package mutating func member(_ name: String, _ value: Bool) {
    self.name(name)
    boolean(value)
  }

  package mutating func member(_ name: String, _ value: JSONText) {
    self.name(name)
    text(value)
  }

  package mutating func member(_ name: String, _ value: JSONText?) {
    if let value { member(name, value) } else { nullMember(name) }
  }

  package mutating func member(_ name: String, strings values: some Sequence<String>) {
    self.name(name)
    beginArray()
    for value in values { string(value) }
    endArray()
  }
}
