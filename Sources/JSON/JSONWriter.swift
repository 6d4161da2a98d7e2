/// Appends compact JSON to a growing buffer. It places the commas; the caller closes what it opens.
package struct JSONWriter {
  package private(set) var bytes: [UInt8]
  /// whether the next value or member stands after another one
  private var needsComma = false

  package init(_ bytes: consuming [UInt8] = []) {
    self.bytes = bytes
  }

  package var count: Int { bytes.count }
  package var capacity: Int { bytes.capacity }

  /// Makes room for so many bytes in all, so that writing them moves nothing.
  package mutating func reserve(_ capacity: Int) { bytes.reserveCapacity(capacity) }

  /// Takes back everything after the first `count` bytes, which must end between messages: inside an array or an object
  /// only a ``Mark`` knows whether a comma is due.
  package mutating func rewind(to count: Int) {
    bytes.removeLast(bytes.count - count)
    needsComma = false
  }

  /// A place to return to, in the middle of an object or an array.
  package struct Mark {
    package let count: Int
    fileprivate let needsComma: Bool
  }

  package var mark: Mark { Mark(count: bytes.count, needsComma: needsComma) }

  package mutating func rewind(to mark: Mark) {
    bytes.removeLast(bytes.count - mark.count)
    needsComma = mark.needsComma
  }

  /// Hands out what was written and starts empty again, keeping nothing.
  package mutating func take() -> [UInt8] {
    var taken: [UInt8] = []
    swap(&taken, &bytes)
    needsComma = false
    return taken
  }

  /// Moves what was written to the end of `buffer` and starts empty again. An empty buffer changes places with the
  /// writer's own, so that neither is copied or made anew.
  package mutating func move(to buffer: inout [UInt8]) {
    if buffer.isEmpty {
      swap(&bytes, &buffer)
    } else {
      buffer.append(contentsOf: bytes)
      bytes.removeAll(keepingCapacity: true)
    }
    needsComma = false
  }

  // MARK: - Structure

  package mutating func beginObject() {
    separate()
    bytes.append(UInt8(ascii: "{"))
    needsComma = false
  }

  package mutating func endObject() {
    bytes.append(UInt8(ascii: "}"))
    needsComma = true
  }

  package mutating func beginArray() {
    separate()
    bytes.append(UInt8(ascii: "["))
    needsComma = false
  }

  package mutating func endArray() {
    bytes.append(UInt8(ascii: "]"))
    needsComma = true
  }

  /// Writes a member's name; its value follows. `name` must need no escape.
  package mutating func name(_ name: String) {
    let name = name.utf8.span
    let comma = needsComma
    // One growth check for the whole of it: there are as many names as values on the wire.
    bytes.append(addingCapacity: name.count + 4) { output in
      if comma { output.append(UInt8(ascii: ",")) }
      output.append(UInt8(ascii: "\""))
      for index in name.indices { output.append(name[index]) }
      output.append(UInt8(ascii: "\""))
      output.append(UInt8(ascii: ":"))
    }
    needsComma = false
  }

  /// Writes a member's name that may need escapes.
  package mutating func escapedName(_ name: String) {
    string(name)
    bytes.append(UInt8(ascii: ":"))
    needsComma = false
  }

  private mutating func separate() {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
  }

  /// Appends bytes that are outside the structure, such as the newline after a message.
  package mutating func raw(_ text: String) {
    append(text.utf8.span)
    needsComma = false
  }

  // MARK: - Values

  package mutating func null() {
    literal("null")
  }

  package mutating func boolean(_ value: Bool) {
    literal(value ? "true" : "false")
  }

  private mutating func literal(_ text: String) {
    let text = text.utf8.span
    let comma = needsComma
    bytes.append(addingCapacity: text.count + 1) { output in
      if comma { output.append(UInt8(ascii: ",")) }
      for index in text.indices { output.append(text[index]) }
    }
    needsComma = true
  }

  package mutating func integer(_ value: Int64) {
    if 0...9 ~= value { return digit(UInt8(truncatingIfNeeded: value)) }
    var digits = InlineArray<20, UInt8>(repeating: 0)
    var start = 20
    var rest = value.magnitude
    repeat {
      start -= 1
      digits[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    } while rest > 0
    let comma = needsComma
    bytes.append(addingCapacity: 22 - start) { output in
      if comma { output.append(UInt8(ascii: ",")) }
      if value < 0 { output.append(UInt8(ascii: "-")) }
      for index in start..<20 { output.append(digits[index]) }
    }
    needsComma = true
  }

  package mutating func integer(_ value: Int) { integer(Int64(value)) }

  private mutating func digit(_ value: UInt8) {
    separate()
    bytes.append(UInt8(ascii: "0") + value)
    needsComma = true
  }

  package mutating func string(_ value: String) {
    separate()
    bytes.append(UInt8(ascii: "\""))
    if Self.needsEscape(value.utf8.span) {
      appendEscaped(value.utf8.span)
    } else {
      bytes.append(contentsOf: value.utf8)
    }
    bytes.append(UInt8(ascii: "\""))
    needsComma = true
  }

  private static func needsEscape(_ text: Span<UInt8>) -> Bool {
    var at = 0
    while let word = ByteWord.load(text, at) {
      if ByteWord.controls(word) | ByteWord.matches(word, UInt8(ascii: "\""))
        | ByteWord.matches(word, UInt8(ascii: "\\")) != 0
      {
        return true
      }
      at &+= 8
    }
    while at < text.count {
      if text[at] < 0x20 || text[at] == UInt8(ascii: "\"") || text[at] == UInt8(ascii: "\\") { return true }
      at &+= 1
    }
    return false
  }

  /// Writes a string whose contents are appended piece by piece through ``StringPieces``.
  package mutating func string<Result>(_ write: (inout StringPieces) throws -> Result) rethrows -> Result {
    separate()
    bytes.append(UInt8(ascii: "\""))
    var pieces = StringPieces(writer: JSONWriter(bytes))
    bytes = []
    defer {
      bytes = pieces.writer.bytes
      bytes.append(UInt8(ascii: "\""))
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
    separate()
    bytes.append(contentsOf: value.bytes)
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
    try append(&bytes)
    needsComma = true
  }

  private mutating func append(_ span: Span<UInt8>) {
    bytes.append(addingCapacity: span.count) { output in
      for index in span.indices { output.append(span[index]) }
    }
  }

  private mutating func appendEscaped(_ span: Span<UInt8>) {
    var clean = 0
    for index in span.indices {
      let byte = span[index]
      if byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") { continue }
      append(span.extracting(clean..<index))
      appendEscape(byte)
      clean = index + 1
    }
    append(span.extracting(clean..<span.count))
  }

  private mutating func appendEscape(_ byte: UInt8) {
    bytes.append(UInt8(ascii: "\\"))
    switch byte {
    case 0x08: bytes.append(UInt8(ascii: "b"))
    case 0x09: bytes.append(UInt8(ascii: "t"))
    case 0x0A: bytes.append(UInt8(ascii: "n"))
    case 0x0C: bytes.append(UInt8(ascii: "f"))
    case 0x0D: bytes.append(UInt8(ascii: "r"))
    case 0..<0x20:
      bytes.append(contentsOf: "u00".utf8)
      for digit in [byte >> 4, byte & 15] {
        bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
      }
    default: bytes.append(byte)
    }
  }
}

// MARK: - Members

extension JSONWriter {
  package mutating func member(_ name: String, _ value: String) {
    self.name(name)
    string(value)
  }

  package mutating func member(_ name: String, _ value: String?) {
    self.name(name)
    if let value { string(value) } else { null() }
  }

  package mutating func member(_ name: String, _ value: Int64) {
    self.name(name)
    integer(value)
  }

  package mutating func member(_ name: String, _ value: Int) {
    self.name(name)
    integer(value)
  }

  package mutating func member(_ name: String, _ value: Int64?) {
    self.name(name)
    if let value { integer(value) } else { null() }
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
    self.name(name)
    if let value { text(value) } else { null() }
  }

  package mutating func member(_ name: String, strings values: some Sequence<String>) {
    self.name(name)
    beginArray()
    for value in values { string(value) }
    endArray()
  }
}
