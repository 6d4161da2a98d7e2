import JSON
import JSONReference
import Testing

/// The scanner's steps on their own: where it stands after each, and what it counts.
@Suite struct ScannerTests {
  @Test func aValueIsARangeWithoutTheWhiteSpaceAroundIt() throws {
    let text = Array(" \n[1, 2] ,".utf8)
    var scanner = JSONScanner()
    #expect(try scanner.skipValue(text.span) == 2..<8)
    #expect(scanner.position == 8)
    #expect(scanner.depth == 0)
    #expect(throws: JSONError(.trailingBytes, at: 9)) { try scanner.finish(text.span) }
  }

  @Test func scanningStartsWhereItIsTold() throws {
    let text = Array("xxx{\"a\":1}yyy".utf8)
    var scanner = JSONScanner(position: 3)
    #expect(try scanner.skipValue(text.span) == 3..<10)
    scanner.position = 13
    try scanner.finish(text.span)
  }

  @Test func peekPassesWhiteSpaceOnly() throws {
    let text = Array(" \t\r\n:".utf8)
    var scanner = JSONScanner()
    #expect(try scanner.peek(text.span) == UInt8(ascii: ":"))
    #expect(try scanner.peek(text.span) == UInt8(ascii: ":"))
    #expect(scanner.position == 4)
    scanner.position = 5
    #expect(throws: JSONError(.unexpectedEnd, at: 5)) { try scanner.peek(text.span) }
  }

  @Test func theDepthOutsideCounts() throws {
    let text = Array("[[]]".utf8)
    var scanner = JSONScanner(depth: JSONScanner.depthLimit - 2)
    try scanner.skipValue(text.span)
    #expect(scanner.depth == JSONScanner.depthLimit - 2)
    var deeper = JSONScanner(depth: JSONScanner.depthLimit - 1)
    #expect(throws: JSONError(.tooDeep(limit: 128), at: 1)) { try deeper.skipValue(text.span) }
  }

  /// What is outside has no bit of its own: each start keeps the kinds of its own containers only.
  @Test func containersAreToldApartAtEveryDepth() {
    var random = Random(seed: 4)
    for _ in 0..<200 {
      let kinds = (0..<1 + random.below(128)).map { _ in random.chance(50) }
      let opening = kinds.map { $0 ? "{\"k\":" : "[" }.joined()
      let closing = kinds.reversed().map { $0 ? "}" : "]" }
      #expect(verdict(Array((opening + "0" + closing.joined()).utf8)) == nil)

      let wrong = random.below(kinds.count)
      var crossed = closing
      crossed[wrong] = closing[wrong] == "}" ? "]" : "}"
      let defect = closing[wrong] == "}" ? Defect.commaOrBrace : .commaOrBracket
      let text = Array((opening + "0" + crossed.joined()).utf8)
      #expect(verdict(text) == defect.error(in: text, at: opening.utf8.count + 1 + wrong))
    }
  }

  @Test func membersOneAtATime() throws {
    let text = Array(" { \"a\" : 1 , \"b\\n\":[2] , \"\" : {} } ".utf8)
    let span = text.span
    var scanner = JSONScanner()
    #expect(try scanner.peek(span) == UInt8(ascii: "{"))
    try scanner.enterObject(span)
    #expect(scanner.depth == 1)
    var found: [String] = []
    while let name = try scanner.nextMember(span, isFirst: found.isEmpty) {
      #expect(span[scanner.position] != UInt8(ascii: " "))
      let value = try scanner.skipValue(span)
      found.append(String(decoding: text[name], as: UTF8.self) + "=" + String(decoding: text[value], as: UTF8.self))
    }
    try scanner.finish(span)
    #expect(found == ["a=1", "b\\n=[2]", "={}"])
    #expect(scanner.depth == 0)
  }

  @Test func membersAndElementsAreAppended() throws {
    let text = Array("{\"a\":1}[2,3]".utf8)
    var scanner = JSONScanner()
    var members = [JSONMember]()
    try scanner.readMembers(text.span, into: &members)
    #expect(members.map(\.name) == [2..<3])
    #expect(members.map(\.value) == [5..<6])
    var elements = [0..<0]
    try scanner.readElements(text.span, into: &elements)
    #expect(elements == [0..<0, 8..<9, 10..<11])
    try scanner.finish(text.span)
  }

  @Test func partsOfAContainerCountAsDeeper() {
    let text = Array((String(repeating: "[", count: 128) + String(repeating: "]", count: 128)).utf8)
    var scanner = JSONScanner(depth: 1)
    var elements: [Range<Int>] = []
    #expect(throws: JSONError(.tooDeep(limit: 128), at: 127)) { try scanner.readElements(text.span, into: &elements) }
    var full = JSONScanner(depth: 128)
    #expect(throws: JSONError(.tooDeep(limit: 128), at: 0)) { try full.enterObject(text.span) }
  }
}
