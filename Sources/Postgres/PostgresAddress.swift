internal import Glibc

/// Where a database is, as libpq understands it: a URI or `key=value` pairs, with several hosts, TLS, services and
/// password files. All of it is libpq's business but one thing: nothing of a password may show, whatever is said about
/// the address.
package struct PostgresAddress: Sendable {
  /// with the password, if it holds one: only for libpq
  let text: String

  package init(_ text: String) {
    self.text = text
  }

  /// Whether a text names a server and not a file. A file whose name looks like it can be written with `./` in front.
  package static func isAddress(_ text: String) -> Bool {
    if isURI(text) { return true }
    let key = text.drop { $0 == " " }.prefix { $0 != "=" && $0 != " " }
    let behind = text.drop { $0 == " " }.dropFirst(key.count).drop { $0 == " " }
    return behind.first == "=" && keywords.contains(String(key))
  }

  private static func isURI(_ text: String) -> Bool {
    text.hasPrefix("postgresql://") || text.hasPrefix("postgres://")
  }

  /// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
  private static let keywords: Set<String> = shown.union([
    "password", "passfile", "require_auth", "channel_binding", "options", "fallback_application_name", "keepalives",
    "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "gssencmode", "sslcompression",
    "sslcert", "sslkey", "sslkeylogfile", "sslpassword", "sslcertmode", "sslrootcert", "sslcrl", "sslcrldir", "sslsni",
    "sslnegotiation", "requirepeer", "ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib",
    "gssdelegation", "min_protocol_version", "max_protocol_version", "load_balance_hosts", "client_encoding",
    "replication",
  ])

  /// What may be shown of an address.
  private static let shown: Set<String> = [
    "host", "hostaddr", "port", "dbname", "user", "service", "sslmode", "target_session_attrs", "application_name",
    "connect_timeout",
  ]

  // MARK: - What may be seen

  /// The address for people: who, where and which, and nothing else of it.
  package var redacted: String {
    Self.isURI(text) ? redactedURI : Self.pairs(text).map { "\($0.key)=\($0.value)" }.joined(separator: " ")
  }

  private var redactedURI: String {
    let scheme = String(text.prefix { $0 != ":" }) + "://"
    var rest = text.dropFirst(scheme.count)
    var user = ""
    // The last one: a password that holds another was not encoded as it should be, and must not show for that.
    if let at = rest.lastIndex(of: "@") {
      user = rest[..<at].prefix { $0 != ":" && $0 != "/" && $0 != "?" } + "@"
      rest = rest[rest.index(after: at)...]
    }
    let place = rest.prefix { $0 != "?" }
    let pairs = rest.dropFirst(place.count + 1).split(separator: "&").filter { pair in
      Self.shown.contains(String(pair.prefix { $0 != "=" }))
    }
    return scheme + user + place + (pairs.isEmpty ? "" : "?" + pairs.joined(separator: "&"))
  }

  /// The pairs of a `key=value` text that may be shown.
  private static func pairs(_ text: String) -> [(key: Substring, value: String)] {
    var pairs: [(Substring, String)] = []
    var rest = text.drop { $0 == " " }
    while !rest.isEmpty {
      let key = rest.prefix { $0 != "=" && $0 != " " }
      rest = rest.dropFirst(key.count).drop { $0 == " " }
      // What is not a pair may be the rest of a password with a blank in it.
      guard rest.first == "=" else { return pairs }
      rest = rest.dropFirst().drop { $0 == " " }
      let value = value(&rest)
      if shown.contains(String(key)) { pairs.append((key, value)) }
      rest = rest.drop { $0 == " " }
    }
    return pairs
  }

  private static func value(_ rest: inout Substring) -> String {
    let isQuoted = rest.first == "'"
    if isQuoted { rest = rest.dropFirst() }
    var value = ""
    while let next = rest.first, isQuoted ? next != "'" : next != " " {
      if next == "\\" { rest = rest.dropFirst() }
      if let kept = rest.first { value.append(kept) }
      rest = rest.dropFirst()
    }
    if isQuoted { rest = rest.dropFirst() }
    return value
  }

  /// A message of libpq or of a server without what comes from the part of the address where a password is, or would be
  /// if it were written as it should. They quote what they could not read.
  func scrubbed(_ message: String) -> String {
    let plain = Array(text.utf8)
    let secret = secretRange(plain)
    if secret.isEmpty { return message }
    let decoded = Self.decoded(plain, secret)
    func isSecret(_ piece: some StringProtocol) -> Bool {
      let piece = Array(piece.utf8)
      // The sign that is missing between a key and its value is none.
      if piece == [UInt8(ascii: "=")] { return false }
      return Self.isOnly(piece, plain, secret) || Self.isOnly(piece, decoded.bytes, decoded.secret)
    }
    let quoted = QuotedText.blanked(message, where: isSecret)
    // A port is named without quotation marks.
    var words = quoted.split(separator: " ", omittingEmptySubsequences: false)
    for index in words.indices.dropFirst() where words[index - 1] == "port" {
      let number = words[index].prefix { $0.isNumber }
      if !number.isEmpty, isSecret(number) { words[index] = "…" + words[index].dropFirst(number.count) }
    }
    return words.joined(separator: " ")
  }

  /// From the first colon behind the scheme to the last `@`, and all behind "password=".
  private func secretRange(_ bytes: [UInt8]) -> Range<Int> {
    if Self.isURI(text) {
      let start = (text.prefix { $0 != ":" }).utf8.count + 3
      let colon = bytes[start...].firstIndex(of: UInt8(ascii: ":"))
      let at = bytes.lastIndex(of: UInt8(ascii: "@"))
      if let colon, let at, colon < at {
        // One that is named behind the place as well makes everything a secret.
        return colon + 1..<(Self.find("password", in: bytes, from: at) == nil ? at : bytes.count)
      }
    }
    guard let word = Self.find("password", in: bytes, from: 0) else { return 0..<0 }
    return word..<bytes.count
  }

  private static func find(_ word: String, in bytes: [UInt8], from start: Int) -> Int? {
    let word = Array(word.utf8)
    guard bytes.count - start >= word.count else { return nil }
    return (start...bytes.count - word.count).first { bytes[$0..<$0 + word.count].elementsEqual(word) }
  }

  /// Whether `piece` stands in `bytes` so that some of it is of `range`, and nowhere else: a host is no secret because
  /// its name is a part of a password.
  private static func isOnly(_ piece: [UInt8], _ bytes: [UInt8], _ range: Range<Int>) -> Bool {
    guard !piece.isEmpty, bytes.count >= piece.count else { return false }
    let places = (0...bytes.count - piece.count).filter { bytes[$0..<$0 + piece.count].elementsEqual(piece) }
    return !places.isEmpty && places.allSatisfy { $0 < range.upperBound && $0 + piece.count > range.lowerBound }
  }

  /// The bytes without percent-encoding, and where the range is in them.
  private static func decoded(_ bytes: [UInt8], _ range: Range<Int>) -> (bytes: [UInt8], secret: Range<Int>) {
    var decoded: [UInt8] = []
    var start = 0
    var end = 0
    var index = 0
    while index < bytes.count {
      if index <= range.lowerBound { start = decoded.count }
      if index < range.upperBound { end = decoded.count + 1 }
      if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count,
        let byte = UInt8(String(decoding: bytes[index + 1...index + 2], as: UTF8.self), radix: 16)
      {
        decoded.append(byte)
        index += 3
      } else {
        decoded.append(bytes[index])
        index += 1
      }
    }
    return (decoded, start..<max(start, end))
  }

  // MARK: - What is added

  /// How many hosts it names, as far as can be seen without libpq; they are tried one after the other.
  var hostCount: Int {
    var hosts = ""
    if Self.isURI(text) {
      let place = redactedURI.drop { $0 != "/" }.dropFirst(2)
      hosts += place.drop { $0 != "@" }.dropFirst().prefix { $0 != "/" && $0 != "?" }
      if hosts.isEmpty { hosts += place.prefix { $0 != "/" && $0 != "?" } }
      hosts += place.split(whereSeparator: { $0 == "?" || $0 == "&" }).first { $0.hasPrefix("host=") } ?? ""
    } else {
      hosts += Self.pairs(text).first { $0.key == "host" || $0.key == "hostaddr" }?.value ?? ""
    }
    return hosts.replacing("%2C", with: ",").count { $0 == "," } + 1
  }

  /// Whether somebody has said how long to wait for one host.
  var hasTimeout: Bool {
    // A service file, which only libpq reads, may say so.
    unsafe text.contains("connect_timeout") || text.contains("service")
      || getenv("PGCONNECT_TIMEOUT") != nil || getenv("PGSERVICE") != nil
  }
}
