import Database
import JSON
import SHA256

/// What makes tampering with the audit trail show: each ring is a chain of hashes.
///
/// An event's content is what it says as bytes: integers, and the texts that it has, each between its place in the
/// order of the columns and a byte that is in no text. It is a third as long as the JSON would be, and so is the
/// hashing. Its digest is `SHA-256(0x00 ‖ content)`, its hash `SHA-256(0x01 ‖ hash of the event before it in the ring ‖
/// digest)`: the two prefixes are those of RFC 9162, section 2.1.1. The content has 128 random bits, the salt, so that
/// nobody can find out from a digest what it was made of. So content and salt can be erased with somebody's data: the
/// digest stays in their place, and the chain holds.
enum AuditChain {
  /// what the first event of a ring follows
  static let start = Digest.zero

  /// - Parameter session: its number
  static func digest(of event: AuditEvent, session: Int64?, _ salt: Salt) -> Digest {
    var hashing = Digest.Hashing()
    hashing.append(0x00 as UInt8)
    hashing.append(salt.high)
    hashing.append(salt.low)
    hashing.append(event.number)
    hashing.append(event.timestamp)
    hashing.append(session ?? 0)
    hashing.append(0, event.type.utf8.span, textEnd)
    append(1, event.severity, to: &hashing)
    append(2, event.sessionID, to: &hashing)
    append(3, event.userID, to: &hashing)
    append(4, event.tenantID, to: &hashing)
    append(5, event.principal, to: &hashing)
    append(6, event.statusBefore, to: &hashing)
    append(7, event.statusAfter, to: &hashing)
    append(8, event.message, to: &hashing)
    append(9, event.ipAddress, to: &hashing)
    append(10, event.action, to: &hashing)
    return hashing.finish()
  }

  /// does not occur in UTF-8
  private static let textEnd: UInt8 = 0xFF

  @inline(__always)
  private static func append(_ place: UInt8, _ text: String?, to hashing: inout Digest.Hashing) {
    if let text { hashing.append(place, text.utf8.span, textEnd) }
  }

  static func hash(behind previous: Digest, _ digest: Digest) -> Digest {
    var hashing = Digest.Hashing()
    hashing.append(0x01 as UInt8)
    hashing.append(previous)
    hashing.append(digest)
    return hashing.finish()
  }

  /// 128 random bits
  struct Salt {
    let high: Int64
    let low: Int64
  }

  /// What an event has besides what it says, as digits: its salt, or the digest of what was erased, and its hash.
  struct Seal {
    enum Kind: Int { case salted = 32, erased = 64 }

    let digits: [UInt8]
    let kind: Kind
    let hash: Digest

    /// - Returns: nil when it is none
    init?(_ text: String) {
      digits = Array(text.utf8)
      guard let kind = Kind(rawValue: digits.count - 64), let hash = Digest(String(text.suffix(64))) else { return nil }
      self.kind = kind
      self.hash = hash
    }

    /// of an event that has one
    init?(_ row: borrowing Statement, _ column: Int32) {
      guard let text = row.optionalString(column) else { return nil }
      self.init(text)
    }

    /// What is chained of an event that is sealed like this.
    func digest(of event: AuditEvent, session: Int64?) -> Digest? {
      switch kind {
      case .salted:
        UInt64(String(decoding: digits[..<16], as: UTF8.self), radix: 16).flatMap { high in
          UInt64(String(decoding: digits[16..<32], as: UTF8.self), radix: 16).map { low in
            let salt = Salt(high: Int64(truncatingIfNeeded: high), low: Int64(truncatingIfNeeded: low))
            return AuditChain.digest(of: event, session: session, salt)
          }
        }
      case .erased: Digest(String(decoding: digits.prefix(64), as: UTF8.self))
      }
    }

    /// What stands in the place of an event once it is erased.
    static func text(erased digest: Digest, _ hash: Digest) -> String { digest.text + hash.text }
  }
}

/// Makes salts out of few random bits: to ask the system for each would cost as much as the hash.
struct AuditSalts {
  /// 256 random bits, and how many digests are still made of them
  private var seed = InlineArray<33, UInt8>(repeating: 0)
  private var made: Digest?

  /// - Parameter digits: gets those of the salt
  mutating func next(_ digits: inout [UInt8], _ environment: Environment) -> AuditChain.Salt {
    if let made {
      self.made = nil
      made.append(4..<8, to: &digits)
      return AuditChain.Salt(high: made.integer(2), low: made.integer(3))
    }
    if seed[32] == 0 {
      for word in 0..<4 {
        var bits = environment.random()
        for index in 0..<8 {
          seed[word * 8 + index] = UInt8(truncatingIfNeeded: bits)
          bits >>= 8
        }
      }
    }
    seed[32] &-= 1
    var hashing = Digest.Hashing()
    hashing.append(seed.span)
    let made = hashing.finish()
    self.made = made
    made.append(0..<4, to: &digits)
    return AuditChain.Salt(high: made.integer(0), low: made.integer(1))
  }
}

/// Where the trail stood at some time: the last number that was given out, and the hash of the last event of each ring.
/// Whoever has noted it elsewhere, and signed it maybe, can be told later whether what was there then is there still.
package struct AuditHead: Sendable, Equatable {
  package var number: Int64
  var lifecycle: Digest
  var security: Digest

  init(number: Int64, lifecycle: Digest, security: Digest) {
    self.number = number
    self.lifecycle = lifecycle
    self.security = security
  }

  /// what ``text`` looks like
  package static let expected = "a head of the audit trail: NUMBER:HASH:HASH, as get_audit_head answers it"

  package init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 3, let number = Int64(parts[0]), number >= 0, String(number) == parts[0],
      let lifecycle = Digest(String(parts[1])), let security = Digest(String(parts[2]))
    else { return nil }
    self.init(number: number, lifecycle: lifecycle, security: security)
  }

  package var text: String { "\(number):\(lifecycle.text):\(security.text)" }

  subscript(_ ring: Store.AuditRing) -> Digest {
    get {
      switch ring {
      case .lifecycle: lifecycle
      case .security: security
      }
    }
    set {
      switch ring {
      case .lifecycle: lifecycle = newValue
      case .security: security = newValue
      }
    }
  }
}

/// The hash of each ring's last event, as far as it was asked for since other processes may have written.
struct AuditHeads {
  private var lifecycle: Digest?
  private var security: Digest?

  subscript(_ ring: Store.AuditRing) -> Digest? {
    get {
      switch ring {
      case .lifecycle: lifecycle
      case .security: security
      }
    }
    set {
      switch ring {
      case .lifecycle: lifecycle = newValue
      case .security: security = newValue
      }
    }
  }
}

/// From where on a ring is a chain: everything up to this number is evicted, or older than the chain.
struct AuditBeginning: Equatable {
  var number: Int64 = 0
  /// of the last event that was evicted
  var hash = AuditChain.start

  static func of(_ ring: Store.AuditRing, in tables: Tables) throws -> AuditBeginning {
    var select = try tables.statement(.server, "SELECT begins_after, hash FROM audit_chains WHERE ring = $1")
    select.bind(1, ring.rawValue)
    guard try select.step(), let hash = Digest(select.string(1)) else {
      throw DatabaseError.corrupt("the row '\(ring.rawValue)' of table 'audit_chains' is missing")
    }
    return AuditBeginning(number: select.integer(0), hash: hash)
  }

  func write(_ ring: Store.AuditRing, to tables: Tables) throws {
    var update = try tables.statement(
      .server, "UPDATE audit_chains SET begins_after = $1, hash = $2 WHERE ring = $3")
    update.bind(1, number)
    update.bind(2, hash.text)
    update.bind(3, ring.rawValue)
    try update.run()
  }
}

extension Store {
  /// Puts the event behind the last one of its ring's chain.
  /// - Parameter seal: empty, and gets the digits of its seal
  func chain(_ event: AuditEvent, session: Int64?, in ring: AuditRing, seal: inout [UInt8]) throws {
    let head = try auditHead(of: ring)
    let salt = auditSalts.next(&seal, environment)
    let hash = AuditChain.hash(behind: head, AuditChain.digest(of: event, session: session, salt))
    hash.append(to: &seal)
    auditHeads[ring] = hash
  }

  /// The hash of the last event of a ring.
  func auditHead(of ring: AuditRing) throws -> Digest {
    if let head = auditHeads[ring] { return head }
    var select = try tables.statement(
      .server, "SELECT seal FROM audit_events WHERE ring = $1 ORDER BY number DESC LIMIT 1")
    select.bind(1, ring.rawValue)
    let last = try select.step() ? AuditChain.Seal(select, 0) : nil
    let head = try last?.hash ?? AuditBeginning.of(ring, in: tables).hash
    auditHeads[ring] = head
    return head
  }

  /// Where the trail stands; nil on a server, where it is no chain: its processes write at the same time.
  package func auditHead() throws -> AuditHead? {
    if isShared { return nil }
    return AuditHead(
      number: counters.auditNumber, lifecycle: try auditHead(of: .lifecycle), security: try auditHead(of: .security))
  }

  /// Chains the events after a number anew, behind where the trail stood before them.
  func chainAnew(after number: Int64, behind head: AuditHead) throws {
    for ring in AuditRing.allCases {
      auditHeads[ring] = head[ring]
      var last = number
      while true {
        var seals: [(number: Int64, seal: String)] = []
        do {
          var select = try tables.statement(
            .server,
            composed: """
              SELECT \(AuditEvent.columns), session, seal FROM audit_events
              WHERE ring = $1 AND number > $2 ORDER BY number LIMIT $3
              """)
          select.bind(1, ring.rawValue)
          select.bind(2, last)
          select.bind(3, Int64(Self.changedAtOnce))
          while try select.step() {
            let event = AuditEvent(select)
            if event.type == AuditEvent.erased, let seal = AuditChain.Seal(select, 14),
              let digest = seal.digest(of: event, session: nil)
            {
              let hash = AuditChain.hash(behind: try auditHead(of: ring), digest)
              auditHeads[ring] = hash
              seals.append((event.number, AuditChain.Seal.text(erased: digest, hash)))
            } else {
              var seal: [UInt8] = []
              try chain(event, session: select.optionalInteger(13), in: ring, seal: &seal)
              seals.append((event.number, String(decoding: seal, as: UTF8.self)))
            }
          }
        }
        for (number, seal) in seals { try writeSeal(seal, number) }
        guard let final = seals.last, seals.count == Self.changedAtOnce else { break }
        last = final.number
      }
    }
  }

  private func writeSeal(_ seal: String, _ number: Int64) throws {
    var update = try tables.statement(.server, "UPDATE audit_events SET seal = $1 WHERE number = $2")
    update.bind(1, seal)
    update.bind(2, number)
    try update.run()
  }

  /// Takes the events after a number out of every chain.
  func unchain(after number: Int64) throws {
    for ring in AuditRing.allCases {
      var delete = try tables.statement(
        .server, "DELETE FROM audit_events WHERE ring = $1 AND number > $2 AND type = 'erased'")
      delete.bind(1, ring.rawValue)
      delete.bind(2, number)
      try delete.run()
      counters[ring] -= tables.changes
    }
    var update = try tables.statement(
      .server, "UPDATE audit_events SET seal = NULL WHERE number > $1 AND seal IS NOT NULL")
    update.bind(1, number)
    try update.run()
  }

  // MARK: - Erasing

  /// events that are read before they are changed
  private static let changedAtOnce = 1_000

  /// Takes away all that events say, and leaves their places in the chain. Those that are older than the chain go
  /// altogether.
  /// - Returns: how many there were
  func eraseAuditEvents(_ condition: UserSelector.Condition) throws -> Int64 {
    var (erased, last): (Int64, Int64) = (0, 0)
    while true {
      var seals: [(number: Int64, ring: AuditRing, seal: String?)] = []
      do {
        var conditions = Filter(condition)
        conditions.add("number > ?", last)
        var select = try tables.statement(
          conditions, "SELECT \(AuditEvent.columns), session, seal FROM audit_events", limit: Self.changedAtOnce)
        while try select.step() { seals.append(Self.erased(select)) }
      }
      for (number, ring, seal) in seals { try eraseAuditEvent(number, ring, seal) }
      erased += Int64(seals.count)
      guard let final = seals.last, seals.count == Self.changedAtOnce else { return erased }
      last = final.number
    }
  }

  /// The same of one event, unless another process is writing it.
  func eraseAuditEvent(_ number: Int64) throws {
    var erased: (number: Int64, ring: AuditRing, seal: String?)?
    do {
      var select = try tables.statement(
        .server,
        composed: "SELECT \(AuditEvent.columns), session, seal FROM audit_events WHERE number = $1"
          + tables.dialect.lockingWhatIsFree)
      select.bind(1, number)
      if try select.step() { erased = Self.erased(select) }
    }
    if let (number, ring, seal) = erased { try eraseAuditEvent(number, ring, seal) }
  }

  /// - Returns: what stands in the place of an event; no seal: nothing does
  private static func erased(_ row: borrowing Statement) -> (number: Int64, ring: AuditRing, seal: String?) {
    let event = AuditEvent(row)
    let seal = AuditChain.Seal(row, 14)
    let digest = seal?.digest(of: event, session: row.optionalInteger(13))
    return (
      event.number, AuditRing(ofType: event.type),
      digest.flatMap { digest in seal.map { AuditChain.Seal.text(erased: digest, $0.hash) } }
    )
  }

  private func eraseAuditEvent(_ number: Int64, _ ring: AuditRing, _ seal: String?) throws {
    guard let seal else {
      var delete = try tables.statement(.server, "DELETE FROM audit_events WHERE number = $1")
      delete.bind(1, number)
      try delete.run()
      counters[ring] -= tables.changes
      return
    }
    var update = try tables.statement(
      .server,
      """
      UPDATE audit_events SET type = 'erased', severity = NULL, timestamp = 0, session_id = NULL, user_id = NULL,
        tenant_id = NULL, principal = NULL, status_before = NULL, status_after = NULL, message = NULL,
        ip_address = NULL, action = NULL, session = NULL, seal = $1
      WHERE number = $2
      """)
    update.bind(1, seal)
    update.bind(2, number)
    try update.run()
  }
}
