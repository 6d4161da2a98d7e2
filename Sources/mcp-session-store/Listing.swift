import JSON
import SessionStore

/// One page of a list that is printed: the records of one snapshot, as lines of JSON or rows of a table.
struct Listing {
  /// bytes after which a page ends, so that records with large payloads do not pile up
  private static let pageBytes = 1 << 20
  static let pageRows = 500

  let isJSON: Bool
  /// the number of the last row of the page before
  private(set) var after: Int64
  let limit: Int
  fileprivate var writer = JSONWriter()
  fileprivate private(set) var rows: [[TextTable.Cell]] = []
  fileprivate private(set) var count = 0

  fileprivate init(isJSON: Bool, after: Int64, limit: Int) {
    self.isJSON = isJSON
    self.after = after
    self.limit = limit
  }

  /// - Returns: false when the page is full and the record not in it
  mutating func add(
    _ number: Int64, _ write: (inout JSONWriter) throws -> Void, row: () -> [TextTable.Cell]
  ) rethrows -> Bool {
    if writer.count >= Self.pageBytes { return false }
    if isJSON {
      try write(&writer)
      writer.raw("\n")
    } else {
      rows.append(row())
    }
    count += 1
    after = number
    return true
  }
}

extension Arguments {
  /// Prints a list page by page. Nothing of the file is held while the reader of our output takes its time.
  /// - Parameter fill: adds records to the page; returns whether there are more
  func list(_ table: inout TextTable, fill: (Store, inout Listing) throws -> Bool) throws(Failure) -> ExitCode {
    var (shown, after, hasMore) = (0, Int64(0), true)
    while hasMore, limit == 0 || shown < limit {
      let room = limit == 0 ? Listing.pageRows : min(Listing.pageRows, limit - shown)
      var page: Listing
      (page, hasMore) = try reading { store in
        try store.read {
          var page = Listing(isJSON: json, after: after, limit: room)
          let hasMore = try fill(store, &page)
          return (page, hasMore)
        }
      }
      (shown, after) = (shown + page.count, page.after)
      try Output.write(json: page.writer.take())
      for row in page.rows { table.add(row) }
    }
    if !json, shown > 0 { try Output.write(table.text(.output)) }
    if hasMore { System.report("there are more: --limit 0 lists all") }
    return .success
  }
}

extension TextTable.Cell {
  /// Unix milliseconds, to the second
  init(time: Int64) { self.init(Timestamp.text(time).prefix(19) + "Z") }
}
