import JSON
import JSONRPC

/// Which list a cursor belongs to. A cursor carries the number of the last row that was shown, so it still works when
/// that row has been deleted.
enum ListKind: String {
  case sessions = "s"
  case tasks = "t"
  case values = "v"
  case auditEvents = "a"
  case taskMessages = "m"
  case logParticipants = "p"
  case stateKeys = "k"
  case work = "w"
  case eventSubscriptions = "e"
  case legalHolds = "h"
  case retention = "r"

  func cursor(after number: Int64) -> String {
    rawValue + "-" + String(number, radix: 36)
  }

  /// - Throws: `invalid_cursor` when it was not issued for this kind of list
  func number(_ cursor: String?) throws -> Int64 {
    guard let cursor else { return 0 }
    let parts = cursor.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0] == rawValue, let number = Int64(parts[1], radix: 36), number > 0,
      self.cursor(after: number) == cursor
    else {
      throw RPCError.invalidCursor
    }
    return number
  }
}

extension RPCError {
  static let invalidCursor = RPCError(
    code: -32602, kind: "invalid_cursor",
    message: "Invalid parameter 'cursor': it was not issued for this list; begin again without one.",
    details: [("parameter", .text("cursor")), ("expected", .text("next_cursor of a page of the same list"))])
}

/// One page of a list while it is being written: `{"<name>": […], "next_cursor": …}`.
struct ListPage {
  private var writer: JSONWriter
  private let start: Int
  private let budget: Int
  private var last: Int64 = 0
  private var count = 0
  /// the number of the last row of the page before
  let after: Int64
  let limit: Int

  fileprivate init(_ writer: consuming JSONWriter, after: Int64, limit: Int, budget: Int) {
    self.writer = writer
    self.after = after
    self.limit = limit
    self.budget = budget
    start = self.writer.count
  }

  /// Adds an entry, unless the page is full by entries or by bytes (a page always has room for one).
  /// - Returns: false when it was not added: there is more, on the next page
  mutating func add(_ number: Int64, _ write: (inout JSONWriter) throws -> Void) rethrows -> Bool {
    try add(number, canBeShort: false) { writer, _ in try write(&writer) }
  }

  /// The same for an entry that can do without what is large in it: so one that no page could hold does not bring the
  /// list to a stand.
  /// - Parameter write: is told whether to leave that out
  mutating func add(
    _ number: Int64, canBeShort: Bool, _ write: (inout JSONWriter, _ isShort: Bool) throws -> Void
  ) rethrows -> Bool {
    if count == limit { return false }
    let mark = writer.mark
    try write(&writer, false)
    if writer.count - start > budget, count > 0 || canBeShort {
      writer.rewind(to: mark)
      if count > 0 { return false }
      try write(&writer, true)
    }
    count += 1
    last = number
    return true
  }

  /// where to go on behind the only entry
  fileprivate func behind(_ list: ListKind, hasMore: Bool) -> (name: String, value: RPCError.Detail)? {
    count == 1 ? ("next_cursor", hasMore ? .text(list.cursor(after: last)) : .null) : nil
  }

  fileprivate mutating func finish(_ list: ListKind, hasMore: Bool) -> JSONWriter {
    writer.endArray()
    writer.member("next_cursor", hasMore ? list.cursor(after: last) : nil)
    writer.endObject()
    return writer
  }
}

extension Sidecar {
  /// Writes a page of a list.
  /// - Parameters:
  ///   - isBounded: false: all entries, or none where they are over the limit of an answer
  ///   - fill: adds entries until there are no more or one does not fit; returns whether there are more
  func page(
    _ call: Call, _ writer: inout JSONWriter, list: ListKind, name: String, isBounded: Bool = true,
    fill: (inout ListPage) throws -> Bool
  ) throws {
    let after = try list.number(call.optionalString(.cursor))
    writer.beginObject()
    writer.name(name)
    writer.beginArray()
    let taken = writer
    writer = JSONWriter()
    var page = ListPage(
      taken, after: after, limit: isBounded ? Int(call.integer(.limit, default: 50)) : .max,
      budget: isBounded ? pageBudget : .max)
    do {
      let hasMore = try fill(&page)
      running.behind = page.behind(list, hasMore: hasMore)
      writer = page.finish(list, hasMore: hasMore)
    } catch {
      writer = page.finish(list, hasMore: false)
      throw error
    }
  }
}
