import Database

/// A reader that waits for something of a queue to be claimed.
package struct WorkReader {
  package let queue: String
  /// leases that a group may have at the same time
  let perGroup: Int64
  /// when something wakes if nothing happens meanwhile; nil: never
  package fileprivate(set) var deadline: Int64?
  /// what was ready when it was last told so: while that is all there is, whoever was told of it will come
  fileprivate var told: [Int64] = []

  package init(queue: String, perGroup: Int64) {
    self.queue = queue
    self.perGroup = perGroup
  }

  /// Something wakes at a time.
  package mutating func note(wakingAt time: Int64) {
    deadline = min(deadline ?? time, time)
  }
}

extension Store {
  /// When to look again, as a claim tells it.
  package func nextDue(_ reader: WorkReader) throws -> Int64? {
    try nextWork(in: reader.queue, perGroup: reader.perGroup)
  }

  /// Looks whether there is something to claim that was not told of yet, and notes when to look again.
  package func look(_ reader: inout WorkReader) throws -> Bool {
    reader.deadline = try nextWaking(in: reader.queue, after: now)
    let ready = try marksOfReady(reader)
    defer { reader.told = ready }
    return !ready.isEmpty && ready != reader.told
  }

  /// What tells whether something has become ready: the last in each line, and what woke first. Empty when nothing can
  /// be claimed.
  private func marksOfReady(_ reader: WorkReader) throws -> [Int64] {
    var marks: [Int64] = []
    do {
      var last = try tables.statement(
        .server,
        """
        SELECT line, number FROM work WHERE queue = $1 AND line IS NOT NULL AND work_group IS NULL
        ORDER BY line DESC LIMIT 1
        """)
      last.bind(1, reader.queue)
      if try last.step() { marks += [last.integer(0), last.integer(1)] }
    }
    var level = try nextLevel(in: reader.queue, from: 0)
    while let inFlight = level, inFlight < reader.perGroup {
      var last = try tables.statement(
        .server,
        """
        SELECT line, number FROM work_groups WHERE queue = $1 AND in_flight = $2 AND line IS NOT NULL
        ORDER BY line DESC LIMIT 1
        """)
      last.bind(1, reader.queue)
      last.bind(2, inFlight)
      if try last.step() { marks += [inFlight, last.integer(0), last.integer(1)] }
      level = try nextLevel(in: reader.queue, from: inFlight + 1)
    }
    if let woken = try nextWaking(in: reader.queue, after: .min), woken <= now { marks.append(woken) }
    return marks
  }
}
