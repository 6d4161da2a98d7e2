import Database
import SHA256

/// Whether the audit trail is what was written, as far as it can tell by itself and by a head that was noted elsewhere.
package struct AuditCheck: Sendable, Equatable {
  /// What has become of a head that was noted earlier.
  package enum Expected: String, CaseIterable, Sendable {
    /// the ring goes on from there
    case extended
    /// what was there has left the ring at its end, or the chain began later: nobody can tell
    case evicted
    case broken
  }

  package struct Chain: Sendable, Equatable {
    package let ring: String
    /// the number up to which events are evicted or older than the chain; 0: it goes back to the first
    package let beginsAfter: Int64
    /// those of the chain that are as they were written, up to the first break
    package fileprivate(set) var events: Int64 = 0
    /// of these, those that were erased with somebody's data
    package fileprivate(set) var erased: Int64 = 0
    /// those that are there and older than the chain
    package fileprivate(set) var older: Int64 = 0
    /// the number of the first event that is not what was written, or before which one is missing
    package fileprivate(set) var firstBreak: Int64?
    /// nil: no head was given
    package fileprivate(set) var expected: Expected?
  }

  package fileprivate(set) var chains: [Chain] = []
  package fileprivate(set) var head: AuditHead
  /// one sentence for each
  package fileprivate(set) var problems: [String] = []
}

extension AuditCheck {
  /// events between two looks at whether somebody wants it to end
  private static let stretch: Int64 = 1_000

  /// By how much a dump's numbers were moved when its rows were loaded.
  struct Moved {
    var events: Int64 = 0
    var sessions: Int64 = 0
  }

  /// Reads the whole trail.
  /// - Parameter look: called again and again; what it throws ends the reading
  static func run(
    in tables: Tables, expecting expected: AuditHead? = nil, look: () throws -> Void = {}
  ) throws -> AuditCheck {
    var select = try tables.statement(.server, "SELECT audit_number FROM store WHERE id = 1")
    let number = try select.step() ? select.integer(0) : 0
    var check = AuditCheck(head: AuditHead(number: number, lifecycle: .zero, security: .zero))
    for ring in Store.AuditRing.allCases {
      let beginning = try AuditBeginning.of(ring, in: tables)
      try check.follow(ring, from: beginning, in: tables, Moved(), expecting: expected, look)
    }
    if let expected, expected.number > number {
      check.problems.append(
        "the audit trail ends at event \(number), and the expected head is of event \(expected.number)")
    }
    return check
  }

  /// What of a dump does not follow from where it says that its trail begins; its rows are in the store already.
  static func problem(
    of rows: Moved, from beginnings: [Store.AuditRing: AuditBeginning], in tables: Tables
  ) throws -> String? {
    var check = AuditCheck(head: AuditHead(number: 0, lifecycle: .zero, security: .zero))
    for ring in Store.AuditRing.allCases {
      try check.follow(ring, from: beginnings[ring] ?? AuditBeginning(), in: tables, rows, expecting: nil) {}
    }
    return check.problems.first
  }

  private mutating func follow(
    _ ring: Store.AuditRing, from beginning: AuditBeginning, in tables: Tables, _ moved: Moved,
    expecting expected: AuditHead?, _ look: () throws -> Void
  ) throws {
    var chain = Chain(ring: ring.rawValue, beginsAfter: beginning.number)
    var hash = beginning.hash
    /// the hash of the last event up to the expected head
    var hashThen = hash
    var select = try tables.statement(
      .server,
      composed: """
        SELECT \(AuditEvent.columns), session, seal FROM audit_events
        WHERE ring = $1 AND number > $2 ORDER BY number
        """)
    select.bind(1, ring.rawValue)
    select.bind(2, moved.events)
    while try select.step() {
      if (chain.events + chain.older) % Self.stretch == 0 { try look() }
      var event = AuditEvent(select)
      event.number -= moved.events
      let seal = AuditChain.Seal(select, 14)
      if event.number <= beginning.number, select.isNull(14) {
        chain.older += 1
        continue
      }
      var next: Digest?
      if (event.type == AuditEvent.erased) == (seal?.kind == .erased) {
        let session = select.optionalInteger(13).map { $0 - moved.sessions }
        next = seal?.digest(of: event, session: session).map { AuditChain.hash(behind: hash, $0) }
      }
      guard event.number > beginning.number, let next, seal?.hash == next else {
        chain.firstBreak = event.number
        problems.append(
          "the audit trail of the ring '\(ring.rawValue)' is broken at event \(event.number): it is not what was "
            + "written, or one before it is missing")
        break
      }
      hash = next
      if let expected, event.number <= expected.number { hashThen = hash }
      chain.events += 1
      if event.type == AuditEvent.erased { chain.erased += 1 }
    }
    head[ring] = hash
    if let expected {
      if expected.number < beginning.number {
        chain.expected = .evicted
      } else if hashThen == expected[ring] {
        chain.expected = .extended
      } else {
        chain.expected = .broken
        if chain.firstBreak == nil {
          problems.append(
            "the audit trail of the ring '\(ring.rawValue)' does not go on from the expected head at event "
              + "\(expected.number)")
        }
      }
    }
    chains.append(chain)
  }
}
