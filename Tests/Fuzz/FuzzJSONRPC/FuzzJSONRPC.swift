import JSON
import JSONRPC

/// The first byte is the limit of a line, the second says in what pieces the rest arrives: the lines are those of a
/// plain split, whatever the pieces, and each is read as a request or refused for a reason that holds.
@c public func LLVMFuzzerTestOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: count))
  guard bytes.count >= 2 else { return 0 }
  let limit = Int(bytes[0])
  let stream = bytes[2...]
  let lines = cut(stream, piece: Int(bytes[1]) + 1, limit: limit)
  let expected = split(stream, limit: limit)
  guard lines == expected else { fatalError("\(lines), but a plain split gives \(expected)") }
  // Without a limit there is more to read in them.
  for case .complete(let line) in split(stream, limit: .max) {
    if let complaint = complaint(about: line) { fatalError("\(complaint): \(line)") }
  }
  return 0
}

enum Line: Equatable {
  case complete([UInt8])
  case tooLong([UInt8])
}

func cut(_ stream: ArraySlice<UInt8>, piece: Int, limit: Int) -> [Line] {
  var reader = LineReader(limit: limit)
  var lines: [Line] = []
  func take(_ line: LineReader.Line) {
    switch line {
    case .complete(let text): lines.append(.complete(Array(text)))
    case .tooLong(let prefix): lines.append(.tooLong(Array(prefix)))
    }
  }
  var rest = stream
  while !rest.isEmpty {
    reader.append(Array(rest.prefix(piece)))
    rest = rest.dropFirst(piece)
    while let line = reader.next() { take(line) }
  }
  if let line = reader.finish() { take(line) }
  return lines
}

/// The same by the words of the contract.
func split(_ stream: ArraySlice<UInt8>, limit: Int) -> [Line] {
  stream.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).compactMap { line in
    if line.count > limit { return .tooLong(Array(line.prefix(LineReader.keptPrefix))) }
    let text = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    return text.allSatisfy { [0x20, 0x09, 0x0D].contains($0) } ? nil : .complete(Array(text))
  }
}

func complaint(about line: [UInt8]) -> String? {
  let isJSON = isValue(line, 0..<line.count)
  var reader = RequestReader()
  var whole: Range<Int>?
  do throws(InvalidRequest) {
    let request = try reader.read(line.span)
    if !isJSON { return "read as a request, though no JSON" }
    whole = request.id
    for member in reader.members where !isValue(line, member.value) { return "a member that is no value" }
  } catch {
    if (error.error.kind == "parse_error") == isJSON { return "\(error.error.kind), though JSON is \(isJSON)" }
    // Of an id that is given twice the first one may stand in what was kept of a long line.
    if error.id == nil { return nil }
    whole = error.id
  }
  if let whole, !isScalar(line, whole) { return "an id that is neither a string nor a number nor null" }
  guard isJSON else { return nil }
  for count in 0...line.count {
    let beginning = line[..<count]
    if let id = RequestReader.id(inPrefix: beginning.span), id != whole { return "another id in the first \(count)" }
  }
  return nil
}

func isScalar(_ line: [UInt8], _ range: Range<Int>) -> Bool {
  isValue(line, range) && !["{", "[", "t", "f"].contains(UnicodeScalar(line[range.lowerBound]))
}

func isValue(_ line: [UInt8], _ range: Range<Int>) -> Bool {
  let value = line[range]
  do throws(JSONError) {
    try JSONScanner.validate(value.span)
    return true
  } catch {
    return false
  }
}
