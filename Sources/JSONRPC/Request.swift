package import JSON

/// One JSON-RPC 2.0 request: ranges into the line that it came in.
package struct Request {
  /// the id as it was written, to be echoed byte for byte; nil for a notification
  package let id: Range<Int>?
  /// the method's name between its quotes, escapes still in it
  package let method: Range<Int>
  package let params: Params

  package enum Params {
    case absent
    /// the members are in ``RequestReader/members``
    case byName
    /// an array or a scalar, which this service does not take
    case unusable
  }
}

/// A line that is no request, with the id to answer under when one could be read.
package struct InvalidRequest: Error {
  package let error: RPCError
  package let id: Range<Int>?
}

/// Reads requests, one after another, into a buffer of members that it reuses.
package struct RequestReader {
  /// the members of `params` of the last request read, at most ``keptMembers`` of them
  package private(set) var members: [JSONMember] = []

  /// Members of `params` that are kept. No method has so many parameters, so where there are more, one that is unknown
  /// or given twice is among these. All would take seven times the memory of the line.
  package static let keptMembers = 64

  package init() {}

  /// Reads and validates the whole of `line` in one pass.
  package mutating func read(_ line: Span<UInt8>) throws(InvalidRequest) -> Request {
    let fields: Fields
    do throws(JSONError) {
      fields = try readFields(line)
    } catch {
      throw InvalidRequest(error: .parseError(error), id: nil)
    }
    return try Self.judge(fields, line)
  }

  /// What stood in the object, before it is judged: a text is valid JSON or not before it is a request or not.
  private struct Fields {
    var isObject = false
    var version: Range<Int>?
    var method: Range<Int>?
    var id: Range<Int>?
    var params = Request.Params.absent
    var hasParams = false
    var duplicate: String?
    /// then nobody can say which one to answer under
    var hasTwoIDs = false
  }

  private enum Member: String, CaseIterable {
    case version = "jsonrpc"
    case id, method, params
  }

  /// Which member of a request a name is, however it is spelled; nil for one that means nothing here.
  private static func member(_ line: Span<UInt8>, _ name: Range<Int>) -> Member? {
    switch name.count {
    case 2 where line.holds("id", at: name): return .id
    case 6 where line.holds("params", at: name): return .params
    case 6 where line.holds("method", at: name): return .method
    case 7 where line.holds("jsonrpc", at: name): return .version
    default: break
    }
    for index in name where line[index] == UInt8(ascii: "\\") {
      return JSONString.decode(line, name).flatMap { name in Member.allCases.first { $0.rawValue.isSame(as: name) } }
    }
    return nil
  }

  private mutating func readFields(_ line: Span<UInt8>) throws(JSONError) -> Fields {
    members.removeAll(keepingCapacity: true)
    var fields = Fields()
    var scanner = JSONScanner()
    guard try scanner.peek(line) == UInt8(ascii: "{") else {
      try scanner.skipValue(line)
      try scanner.finish(line)
      return fields
    }
    fields.isObject = true
    try scanner.enterObject(line)
    var isFirst = true
    while let name = try scanner.nextMember(line, isFirst: isFirst) {
      isFirst = false
      let member = Self.member(line, name)
      if member == .params {
        if fields.hasParams { fields.duplicate = "params" }
        fields.hasParams = true
        if try scanner.peek(line) == UInt8(ascii: "{") {
          fields.params = .byName
          try scanner.readMembers(line, into: &members, limit: Self.keptMembers)
        } else {
          fields.params = line[scanner.position] == UInt8(ascii: "n") ? .absent : .unusable
          try scanner.skipValue(line)
        }
        continue
      }
      let value = try scanner.skipValue(line)
      switch member {
      case .method:
        if fields.method != nil { fields.duplicate = "method" }
        fields.method = value
      case .id:
        if fields.id != nil {
          fields.duplicate = "id"
          fields.hasTwoIDs = true
        }
        fields.id = value
      case .version:
        if fields.version != nil { fields.duplicate = "jsonrpc" }
        fields.version = value
      case .params, nil: break
      }
    }
    try scanner.finish(line)
    return fields
  }

  private static func judge(_ fields: Fields, _ line: Span<UInt8>) throws(InvalidRequest) -> Request {
    guard fields.isObject else {
      throw InvalidRequest(error: .invalidRequest("a request is an object, or an array of objects"), id: nil)
    }
    if let name = fields.duplicate {
      let id = fields.hasTwoIDs ? nil : usableID(fields.id, line)
      throw InvalidRequest(
        error: .invalidRequest("the member '\(name)' is given twice", details: [("member", .text(name))]), id: id)
    }
    let id = usableID(fields.id, line)
    if fields.id != nil, id == nil {
      throw InvalidRequest(error: .invalidRequest("'id' must be a string, a number or null"), id: nil)
    }
    guard let version = fields.version, line.holds("\"2.0\"", at: version) else {
      throw InvalidRequest(error: .invalidRequest("'jsonrpc' must be \"2.0\""), id: id)
    }
    guard let method = fields.method, line[method.lowerBound] == UInt8(ascii: "\"") else {
      throw InvalidRequest(error: .invalidRequest("'method' must be a string"), id: id)
    }
    return Request(id: id, method: method.lowerBound + 1..<method.upperBound - 1, params: fields.params)
  }

  /// nil when the id is not a string, a number or null, or is a string that no UTF-8 can express
  private static func usableID(_ id: Range<Int>?, _ line: Span<UInt8>) -> Range<Int>? {
    guard let id else { return nil }
    switch line[id.lowerBound] {
    case UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: "t"), UInt8(ascii: "f"): return nil
    case UInt8(ascii: "\""): return JSONString.decode(line, id.lowerBound + 1..<id.upperBound - 1) == nil ? nil : id
    default: return id
    }
  }

  /// The id of a request of which only a beginning was kept, if it stood in it.
  package static func id(inPrefix prefix: Span<UInt8>) -> Range<Int>? {
    var scanner = JSONScanner()
    do throws(JSONError) {
      guard try scanner.peek(prefix) == UInt8(ascii: "{") else { return nil }
      try scanner.enterObject(prefix)
      var isFirst = true
      while let name = try scanner.nextMember(prefix, isFirst: isFirst) {
        isFirst = false
        let value = try scanner.skipValue(prefix)
        // A number that ends where the prefix does may go on.
        if member(prefix, name) == .id { return value.upperBound < prefix.count ? usableID(value, prefix) : nil }
      }
    } catch {}
    return nil
  }
}

extension Span<UInt8> {
  /// whether the bytes at `range` are those of `text`
  @inline(__always)
  package func holds(_ text: String, at range: Range<Int>) -> Bool {
    let expected = text.utf8.span
    if range.count != expected.count { return false }
    let bytes = extracting(range)
    for index in expected.indices where bytes[index] != expected[index] { return false }
    return true
  }
}
