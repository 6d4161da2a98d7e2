/// What the compiler cannot hold of the store: its statements are text, and its times are numbers.
enum StoreRules {
  // MARK: - Owners

  /// Folders of housekeeping, where the server speaks for itself.
  static let housekeeping = ["Store", "File", "Server", "Figures", "Records"]

  /// Files of nouns that speak for the server, and about what. Everybody else asks for somebody.
  static let servers: [String: String] = [
    "Audit/Audit.swift": "the trail belongs to the server",
    "Audit/AuditChain.swift": "so does its chain",
    "Audit/AuditSearch.swift": "what is too old is erased whoever's it is, unless it is held",
    "Audit/AuditCheck.swift": "and whoever checks it",
    "Audit/RateLimits.swift": "so do the keys of rate limits",
    "Events/EventReader.swift": "a reader has the number of its session, and compares it",
    "Events/Events.swift": "a broadcast writes to sessions that it was given for an owner",
    "Sessions/EndedSessions.swift": "what has ended is swept whoever owns it",
    "Sessions/Sessions.swift": "the look-up by id, which compares the owners, and the ids that are taken",
    "Sessions/SessionList.swift": "what has expired, and rows whose ids were found for an owner",
    "Tasks/Tasks.swift": "the look-up by id, which compares the owners, and what has lapsed",
    "EventSubscriptions/EventSubscriptions.swift": "the look-up by id, which compares the owners, and what has lapsed",
    "Work/WorkGroup.swift": "groups belong to the queues, which are the server's",
    "Work/WorkLine.swift": "what is ready is for whichever worker asks first",
    "Work/WorkList.swift": "what is settled goes whoever's it was, and rows that were found for an owner",
    "Work/WorkReader.swift": "whoever waits for work is a worker",
    "Work/WorkQueue.swift": "workers are the server's own, and a fence is a key",
    "Policies/CountSearch.swift": "what a tenant's sessions hold too much of goes whoever's it is, unless it is held",
    "Policies/LegalHolds.swift": "holds are the operator's",
    "Policies/Policies.swift": "what is due goes whoever's it is, unless it is held",
    "Policies/Retention.swift": "retention is the operator's",
    "Values/Nonces.swift": "what has lapsed",
    "Values/Values.swift": "what has lapsed",
  ]

  private static func place(_ file: SourceFile) -> (folder: String, path: String)? {
    let parts = file.path.split(separator: "/").map(String.init)
    guard file.room == "SessionStore", parts.count > 3 else { return nil }
    return (parts[2], parts[2...].joined(separator: "/"))
  }

  static func serverSpeaks(_ file: SourceFile) -> [Finding] {
    guard let place = place(file), !housekeeping.contains(place.folder), servers[place.path] == nil else { return [] }
    return file.code.words.compactMap { word in
      guard word.text == "server", word.before == UInt8(ascii: ".") else { return nil }
      return Finding(
        file.path, word.line,
        "'.server' sees what belongs to everybody: ask for an owner, a session or a task, or say in this test why not")
    }
  }

  /// The files of `servers` that speak for it no more.
  static func unusedServers(_ files: [SourceFile]) -> [Finding] {
    servers.keys.sorted().compactMap { path in
      let file = files.first { place($0)?.path == path }
      let isUsed = file?.code.words.contains { $0.text == "server" && $0.before == UInt8(ascii: ".") }
      return isUsed == true
        ? nil : Finding("Sources/SessionStore/" + path, 0, "it says '.server' no more: take it out of this test")
    }
  }

  /// A statement that is made for a session or a task has to ask for its rows.
  static func scopeIsBound(_ file: SourceFile) -> [Finding] {
    guard file.room == "SessionStore" else { return [] }
    let code = file.code
    return code.words.compactMap { word in
      guard ["statement", "cursor"].contains(word.text), word.behind == UInt8(ascii: "(") else { return nil }
      let end = code.end(ofBracketFrom: word.range.upperBound, "(", ")")
      let call = String(decoding: file.bytes[word.range.upperBound..<end], as: UTF8.self)
      let words = call.dropFirst().split { $0.isWhitespace || $0 == "," }
      guard words.first == "of:" else { return nil }
      let index = words.firstIndex(of: "as:").map { String(words[$0 + 1]) } ?? "1"
      let isAsked = ["session", "number", "task"].contains { name in
        call.contains("\(name) = $\(index)") || call.contains("INSERT INTO") && call.contains("\(name),")
      }
      return isAsked
        ? nil
        : Finding(file.path, word.line, "the statement is made for a session or a task and does not ask for its rows")
    }
  }

  /// What is stored as it came goes through ``Payload``, which has looked at its size: bytes are bound in its
  /// file alone.
  static func payloadsAreChecked(_ file: SourceFile) -> [Finding] {
    guard let place = place(file), place.path != "Store/Payload.swift" else { return [] }
    let code = file.code
    return code.words.compactMap { word in
      guard ["bind", "run"].contains(word.text), word.behind == UInt8(ascii: "(") else { return nil }
      let end = code.end(ofBracketFrom: word.range.upperBound, "(", ")")
      let call = String(decoding: code.bytes[word.range.upperBound..<end], as: UTF8.self)
      guard call.contains(", text:") else { return nil }
      return Finding(file.path, word.line, "bytes are bound without a look at their size: bind a Payload")
    }
  }

  // MARK: - Deletes

  /// Where rows of somebody go, by table: each place asks the question of `Policies.swift` first, or is behind one that
  /// does. A new one asks it too, and is said here.
  static let doors: [String: Set<String>] = [
    "sessions": ["Sessions/Sessions.swift"],
    "session_state": ["Sessions/SessionState.swift", "File/Maintenance.swift"],
    "events": ["Events/Events.swift", "Events/EventChunk.swift"],
    "log_entries": ["Log/Log.swift", "Log/LogChunk.swift"],
    "tasks": ["Tasks/Tasks.swift"],
    "named_values": ["Values/Values.swift"],
    "work": ["Work/WorkList.swift"],
    "event_subscriptions": ["EventSubscriptions/EventSubscriptions.swift"],
  ]

  static func deletesAsk(_ file: SourceFile) -> [Finding] {
    guard let place = place(file) else { return [] }
    let lines = file.bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
    return lines.enumerated().compactMap { index, bytes in
      let line = String(decoding: bytes, as: UTF8.self)
      guard let start = line.ranges(of: "DELETE FROM ").first?.upperBound else { return nil }
      let table = String(line[start...].prefix { $0.isLetter || $0 == "_" })
      guard let doors = doors[table], !doors.contains(place.path) else { return nil }
      return Finding(
        file.path, index + 1,
        "what goes from '\(table)' may have to stay: go through the noun's own removal, or ask and say so in this test")
    }
  }

  // MARK: - Numbers from outside

  /// Names of numbers that a client, an option, a dump or a file can give: times, durations, and what is made of them.
  /// The rule goes by these names, so a new one belongs in here.
  static let numbers: Set<String> = [
    "lastActivity", "createdAt", "expiresAt", "suspendedAt", "inactivityTimeout", "sessionTTL", "ttl", "lastUpdatedAt",
    "window", "maxAge", "olderThan", "since", "maxSuspension", "logDedupWindow", "timestamp",
    "deadline", "arrival", "retainEnded", "endedAt",
  ]

  /// Beside such a name stands no plain `+`, `-` or `*`, unless the line reckons with `Saturating`: a sum that is too
  /// large ends the process.
  static func numbersSaturate(_ file: SourceFile) -> [Finding] {
    guard ["SessionStore", "Sidecar", "mcp-session-store"].contains(file.room) else { return [] }
    let code = file.code
    let lines = file.code.bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
    return code.words.compactMap { word in
      guard numbers.contains(word.text), word.behind != UInt8(ascii: ":"), word.line <= lines.count else { return nil }
      if String(decoding: lines[word.line - 1], as: UTF8.self).contains("Saturating(") { return nil }
      guard isOperand(word, code.bytes) else { return nil }
      return Finding(
        file.path, word.line,
        "'\(word.text)' comes from outside, and reckoning with it may end the process: write Saturating(…) + …")
    }
  }

  private static func isOperand(_ word: SwiftCode.Word, _ bytes: [UInt8]) -> Bool {
    let operators: [UInt8] = [UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "*")]
    // `a.b + 1`, `a.b += 1`
    let behind = bytes[word.range.upperBound...].drop { $0 == 0x20 }
    let isArrow = behind.dropFirst().first == UInt8(ascii: ">")
    if let first = behind.first, operators.contains(first), !isArrow { return true }
    // `1 + a.b`: to the front past the names that it is a member of
    var start = word.range.lowerBound
    while start > 0, bytes[start - 1] == UInt8(ascii: ".") || isName(bytes[start - 1]) { start -= 1 }
    let before = bytes[..<start].reversed().drop { $0 == 0x20 }
    return before.first.map { operators.contains($0) } ?? false
  }

  private static func isName(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "_") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
      || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
      || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
  }
}
