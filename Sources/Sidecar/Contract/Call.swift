import JSON
import JSONRPC
import SessionStore

/// The parameters of one request (or of one record in it), checked against their declarations: a handler only converts.
///
/// A class only so that handing one around costs a reference count; nobody keeps one beyond its request.
final class Call {
  private var text: ArraySlice<UInt8> = []
  /// which of `given` is each parameter, by the raw value of its name, and one more; 0: none. Of bytes, since each
  /// record of a list gets a table of its own.
  private var places = [UInt8](repeating: 0, count: ParameterName.allCases.count)
  private var given: [Given] = []
  private var path = ""
  private var payloadLimit = 0
  /// for ``openRecord(_:_:)``: every append to a log reads one
  private lazy var inner = Call()
  private var members: [JSONMember] = []

  /// A parameter, and where its value stands.
  struct Given {
    let name: ParameterName
    let range: Range<Int>
  }

  init() {}

  /// Takes the members of a request's `params`. What the last request had is forgotten.
  /// - Parameters:
  ///   - path: in front of a parameter's name in errors: "" or such as "events[3]."
  ///   - isOpen: whether there may be members besides; they are passed over, and nothing is required
  ///   - payloadLimit: bytes that one opaque payload may have; 0: no limit
  /// - Throws: ``StoreError`` that names the parameter
  func load(
    _ members: [JSONMember], of text: ArraySlice<UInt8>, _ parameters: [Parameter], path: String = "",
    isOpen: Bool = false, payloadLimit: Int
  ) throws {
    begin(text, path, payloadLimit)
    let span = text.span
    for member in members {
      guard let parameter = Self.find(member.name, span, in: parameters) else {
        if isOpen { continue }
        throw unknown(member, parameters)
      }
      guard !mentions(parameter.name) else {
        throw StoreError.invalidParameter(name: path + parameter.name.wire, expected: "each parameter once")
      }
      try check(parameter, member.value, span)
      take(Given(name: parameter.name, range: member.value))
    }
    for parameter in parameters where parameter.isRequired && !isOpen && isMissing(parameter) {
      throw StoreError.invalidParameter(
        name: path + parameter.name.wire, expected: parameter.type.expectation + "; it is required")
    }
  }

  /// Takes parameters that were taken and checked before: see ``append(to:)``.
  func load(_ given: ArraySlice<Given>, of text: ArraySlice<UInt8>, payloadLimit: Int) {
    begin(text, "", payloadLimit)
    for parameter in given { take(parameter) }
  }

  /// Appends the parameters to others that are kept.
  /// - Returns: which of them they are
  func append(to kept: inout [Given]) -> Range<Int> {
    let start = kept.count
    for parameter in given { kept.append(parameter) }
    return start..<kept.count
  }

  private func begin(_ text: ArraySlice<UInt8>, _ path: String, _ payloadLimit: Int) {
    while let last = given.popLast() { places[last.name.rawValue] = 0 }
    self.text = text
    self.path = path
    self.payloadLimit = payloadLimit
  }

  private func take(_ parameter: Given) {
    given.append(parameter)
    places[parameter.name.rawValue] = UInt8(given.count)
  }

  /// The parameter that a member names, however it is spelled.
  private static func find(_ name: Range<Int>, _ span: Span<UInt8>, in parameters: [Parameter]) -> Parameter? {
    let bytes = span.extracting(name)
    for parameter in parameters where parameter.isSpelled(bytes) { return parameter }
    guard JSONString.holdsEscape(span, name), let decoded = JSONString.decode(span, name) else { return nil }
    return parameters.first { $0.name.wire.isSame(as: decoded) }
  }

  private func unknown(_ member: JSONMember, _ parameters: [Parameter]) -> StoreError {
    let text = text
    let name = JSONString.decode(text.span, member.name) ?? "?"
    let known = parameters.map(\.name.wire)
    let expected = known.isEmpty ? "no parameters" : "only " + known.joined(separator: ", ")
    return .invalidParameter(name: path + String(name.unicodeScalars.prefix(256)), expected: expected)
  }

  private func isMissing(_ parameter: Parameter) -> Bool {
    let range = position(of: parameter.name)
    if range.isEmpty { return true }
    if case .json = parameter.type { return false }
    return isNull(range)
  }

  private func isNull(_ range: Range<Int>) -> Bool {
    text[text.startIndex + range.lowerBound] == UInt8(ascii: "n")
  }

  // MARK: - Checking

  private func check(_ parameter: Parameter, _ value: Range<Int>, _ span: Span<UInt8>) throws {
    // Null means absent, for an opaque payload it is a value, and a required one is found missing later.
    if case .json = parameter.type {} else if span[value.lowerBound] == UInt8(ascii: "n") { return }
    try check(parameter.type, value, span, name: parameter.name.wire)
  }

  private func check(_ type: ParameterType, _ value: Range<Int>, _ span: Span<UInt8>, name: String) throws {
    let first = span[value.lowerBound]
    let isValid: Bool
    switch type {
    case .identifier:
      isValid = first == UInt8(ascii: "\"") && isIdentifier(value, span)
    case .name, .owner:
      isValid = first == UInt8(ascii: "\"") && (1...1_024).contains(Self.decodedLength(value, span))
    case .text(let limit), .words(let limit):
      isValid = first == UInt8(ascii: "\"") && (0...limit).contains(Self.decodedLength(value, span))
    case .integer(let range):
      isValid = JSONInteger.decode(span, value).map(range.contains) ?? false
    case .boolean:
      isValid = first == UInt8(ascii: "t") || first == UInt8(ascii: "f")
    case .choice(let names):
      isValid = first == UInt8(ascii: "\"") && names.contains { span.holds($0, at: value.insetByQuotes) }
    case .anyCase(let names):
      isValid = first == UInt8(ascii: "\"")
        && (names.contains { span.holds($0, at: value.insetByQuotes) } || holds(names, value, span))
    case .json:
      isValid = true
      try checkSize(value, name: name)
    case .object:
      isValid = first == UInt8(ascii: "{")
      if isValid { try checkSize(value, name: name) }
    case .record, .map:
      isValid = first == UInt8(ascii: "{")
    case .list(let element, let count):
      guard first == UInt8(ascii: "[") else {
        isValid = false
        break
      }
      let elements = Array(JSONText(validated: cut(value)).elements.prefix(count.upperBound + 1))
      isValid = count.contains(elements.count)
      if isValid {
        for (index, item) in elements.enumerated() {
          let start = item.bytes.startIndex - text.startIndex
          try check(element, start..<start + item.bytes.count, span, name: "\(name)[\(index)]")
        }
      }
    }
    if !isValid { throw StoreError.invalidParameter(name: path + name, expected: type.expectation) }
  }

  /// Whether a string is one of the names in other letters, or with escapes.
  private func holds(_ names: [String], _ value: Range<Int>, _ span: Span<UInt8>) -> Bool {
    JSONString.decode(span, value.insetByQuotes).map { names.contains(Self.lowercase($0)) } ?? false
  }

  private func checkSize(_ value: Range<Int>, name: String) throws {
    if payloadLimit > 0, value.count > payloadLimit {
      throw StoreError.payloadTooLarge(what: "'\(path + name)'", limit: payloadLimit)
    }
  }

  private func isIdentifier(_ value: Range<Int>, _ span: Span<UInt8>) -> Bool {
    let inside = value.insetByQuotes
    if (1...256).contains(inside.count), ByteWord.isVisible(span.extracting(inside)) { return true }
    guard let decoded = JSONString.decode(span, inside) else { return false }
    return (1...256).contains(decoded.utf8.count) && decoded.utf8.allSatisfy { (0x21...0x7E).contains($0) }
  }

  /// bytes of UTF-8; -1 when no UTF-8 can express the string
  private static func decodedLength(_ value: Range<Int>, _ span: Span<UInt8>) -> Int {
    let inside = value.insetByQuotes
    return JSONString.holdsEscape(span, inside) ? JSONString.decode(span, inside)?.utf8.count ?? -1 : inside.count
  }

  // MARK: - Converting

  /// Whether the parameter was given and is not null.
  func has(_ name: ParameterName) -> Bool {
    let range = position(of: name)
    return !range.isEmpty && !isNull(range)
  }

  /// Whether the parameter was given, be it as null.
  func mentions(_ name: ParameterName) -> Bool { places[name.rawValue] > 0 }

  /// Where its value stands; empty when it was not given.
  private func position(of name: ParameterName) -> Range<Int> {
    let place = Int(places[name.rawValue])
    return place == 0 ? 0..<0 : given[place - 1].range
  }

  private func cut(_ range: Range<Int>) -> ArraySlice<UInt8> {
    text[text.startIndex + range.lowerBound..<text.startIndex + range.upperBound]
  }

  func optionalString(_ name: ParameterName) -> String? {
    guard has(name) else { return nil }
    let text = text
    return JSONString.decode(text.span, position(of: name).insetByQuotes)
  }

  /// A required string.
  func string(_ name: ParameterName) -> String { optionalString(name) ?? "" }

  func optionalInteger(_ name: ParameterName) -> Int64? {
    guard has(name) else { return nil }
    let text = text
    return JSONInteger.decode(text.span, position(of: name))
  }

  func integer(_ name: ParameterName, default value: Int64) -> Int64 { optionalInteger(name) ?? value }

  func optionalBoolean(_ name: ParameterName) -> Bool? {
    guard has(name) else { return nil }
    return text[text.startIndex + position(of: name).lowerBound] == UInt8(ascii: "t")
  }

  func boolean(_ name: ParameterName) -> Bool { optionalBoolean(name) ?? false }

  /// An opaque payload; nil when it was not given.
  func optionalJSON(_ name: ParameterName) -> JSONText? {
    guard mentions(name) else { return nil }
    return JSONText(validated: cut(position(of: name)))
  }

  /// A required opaque payload.
  func json(_ name: ParameterName) -> JSONText { optionalJSON(name) ?? .null }

  /// An opaque payload for which null means the same as leaving it out.
  func optionalNonNull(_ name: ParameterName) -> JSONText? { has(name) ? json(name) : nil }

  /// An opaque object; nil when it is absent or null.
  func optionalObject(_ name: ParameterName) -> JSONText? { has(name) ? json(name) : nil }

  func choice<Choice: RawRepresentable<String>>(_ name: ParameterName, as type: Choice.Type) -> Choice? {
    optionalString(name).flatMap { Choice(rawValue: $0) }
  }

  /// The same where the case of its letters means nothing.
  func choiceInAnyCase<Choice: RawRepresentable<String>>(_ name: ParameterName, as type: Choice.Type) -> Choice? {
    optionalString(name).flatMap { Choice(rawValue: $0) ?? Choice(rawValue: Self.lowercase($0)) }
  }

  /// In ASCII alone: no other letter becomes one of it.
  private static func lowercase(_ word: String) -> String {
    String(decoding: word.utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
  }

  /// What the handler itself finds wrong with a parameter.
  func refused(_ name: ParameterName, expected: String) -> StoreError {
    .invalidParameter(name: path + name.wire, expected: expected)
  }

  func elements(_ name: ParameterName) -> [JSONText] { has(name) ? Array(json(name).elements) : [] }

  func strings(_ name: ParameterName) -> [String] {
    elements(name).compactMap { JSONString.decode($0.bytes.span, 1..<$0.bytes.count - 1) }
  }

  /// The members of a record as a call of their own.
  func record(_ name: ParameterName, _ parameters: [Parameter]) throws -> Call {
    try record(json(name), parameters, path: path + name.wire + ".")
  }

  /// A record that is kept as it is, its members checked.
  func checkedRecord(_ name: ParameterName, _ parameters: [Parameter]) throws -> JSONText {
    _ = try record(name, parameters)
    try checkSize(position(of: name), name: name.wire)
    return json(name)
  }

  /// The records of an array.
  func records(_ name: ParameterName, _ parameters: [Parameter]) throws -> [Call] {
    try elements(name).enumerated().map { index, element in
      try record(element, parameters, path: "\(path)\(name.wire)[\(index)].")
    }
  }

  /// The members of an opaque object that mean something here, among others that are the caller's. Valid until the
  /// next one is asked for.
  func openRecord(_ name: ParameterName, _ parameters: [Parameter]) throws -> Call {
    try inner.load(json(name), parameters, path: path + name.wire + ".", isOpen: true, payloadLimit: payloadLimit)
    return inner
  }

  /// The same for each object of an array.
  func openRecords<Result>(
    _ name: ParameterName, _ parameters: [Parameter], _ convert: (Call) throws -> Result
  ) throws -> [Result] {
    try elements(name).enumerated().map { index, element in
      try inner.load(
        element, parameters, path: "\(path)\(name.wire)[\(index)].", isOpen: true, payloadLimit: payloadLimit)
      return try convert(inner)
    }
  }

  /// The object that this record is, as it came.
  var object: JSONText { JSONText(validated: text) }

  /// The members of an opaque object as the parameters of another method.
  func payload(_ name: ParameterName, _ parameters: [Parameter]) throws -> Call {
    try record(optionalObject(name) ?? .emptyObject, parameters, path: "")
  }

  private func record(_ object: JSONText, _ parameters: [Parameter], path: String) throws -> Call {
    let call = Call()
    try call.load(object, parameters, path: path, isOpen: false, payloadLimit: payloadLimit)
    return call
  }

  /// Takes the members of an object.
  private func load(
    _ object: JSONText, _ parameters: [Parameter], path: String, isOpen: Bool, payloadLimit: Int
  ) throws {
    var scanner = JSONScanner()
    members.removeAll(keepingCapacity: true)
    try scanner.readMembers(object.bytes.span, into: &members, limit: isOpen ? .max : RequestReader.keptMembers)
    try load(
      members, of: object.bytes, parameters, path: path, isOpen: isOpen, payloadLimit: payloadLimit)
  }

  /// On whose behalf the call is made.
  var owner: Owner {
    Owner(tenant: claim(.tenantID), principal: claim(.principal), seesEnded: boolean(.includeEnded))
  }

  private func claim(_ name: ParameterName) -> OwnerClaim {
    guard mentions(name) else { return .unspecified }
    return optionalString(name).map { .named($0) } ?? .anonymous
  }

  /// A replacement for a field of a record, where null leaves it as it is.
  func change<Value>(_ name: ParameterName, _ value: (Call) -> Value?) -> Change<Value> {
    has(name) ? value(self).map { .set($0) } ?? .keep : .keep
  }

  /// A replacement for a field of a record, where null is a value.
  func nullableChange<Value>(_ name: ParameterName, _ value: (Call) -> Value?) -> Change<Value?> {
    mentions(name) ? .set(has(name) ? value(self) : nil) : .keep
  }
}

extension Range<Int> {
  /// the inside of a string literal
  fileprivate var insetByQuotes: Range<Int> { lowerBound + 1..<upperBound - 1 }
}
