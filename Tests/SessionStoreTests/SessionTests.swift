import JSON
import SQLite
import Testing

@testable import SessionStore

@Suite struct SessionTests {
  // MARK: - Identifiers

  @Test func idsAreUUIDsOfVersion7() throws {
    let test = try TestStore()
    let id = try test.write { try $0.createSession(NewSession(), owner: .server) }.sessionID
    let characters = Array(id.utf8)
    #expect(characters.count == 36)
    for (index, character) in characters.enumerated() {
      switch index {
      case 8, 13, 18, 23: #expect(character == UInt8(ascii: "-"))
      case 14: #expect(character == UInt8(ascii: "7"))
      case 19: #expect("89ab".utf8.contains(character))
      default: #expect("0123456789abcdef".utf8.contains(character))
      }
    }
    let time = String(id.prefix(13)).filter { $0 != "-" }
    #expect(Int64(time, radix: 16) == test.now)
  }

  @Test func randomIdsHave256BitsInBase64URL() {
    var words: [UInt64] = [0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908, .max, 0xFB]
    let environment = Environment(now: { 0 }, random: { words.removeFirst() })
    let id = Identifier.random(environment)
    #expect(id == "AAECAwQFBgcICQoLDA0OD___________-wAAAAAAAAA")
    #expect(id.count == 43)
    #expect(words.isEmpty)
  }

  @Test func madeIdsDiffer() throws {
    let test = try TestStore()
    var ids: Set<String> = []
    for format in IDFormat.allCases {
      for _ in 0..<200 {
        var new = NewSession()
        new.idFormat = format
        ids.insert(try test.write { try $0.createSession(new, owner: .server) }.sessionID)
      }
    }
    #expect(ids.count == 400)
  }

  @Test func theFormatComesFromTheLimitsUnlessTheCallNamesOne() throws {
    let test = try TestStore { $0.idFormat = .random }
    var new = NewSession()
    #expect(try test.write { try $0.createSession(new, owner: .server) }.sessionID.count == 43)
    new.idFormat = .uuid
    #expect(try test.write { try $0.createSession(new, owner: .server) }.sessionID.count == 36)
  }

  // MARK: - The record

  @Test func whatIsStoredComesBackByteForByte() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    let created = try test.create("s", owner: Owner(tenant: .named("t"), principal: .named("p"))) {
      $0.userID = "user\u{0}1"
      $0.clientCapabilities = #"{"b":1.0, "a":1e2,"b":12345678901234567890}"#
      $0.serverCapabilities = "null"
      $0.state = #"{"z":"\u00e9","a":[1.50]}"#
      $0.metadata = #"{"n":-0}"#
      $0.isInitialized = true
    }
    try test.reopen()
    let session = try #require(try test.get("s"))
    #expect(session.userID == "user\u{0}1")
    #expect(session.tenantID == "t")
    #expect(session.principal == "p")
    #expect(session.clientCapabilities?.string == #"{"b":1.0, "a":1e2,"b":12345678901234567890}"#)
    #expect(session.serverCapabilities?.string == "null")
    #expect(session.state?.string == #"{"z":"\u00e9","a":[1.50]}"#)
    #expect(session.metadata.string == #"{"n":-0}"#)
    #expect(session.isInitialized)
    #expect(session.lastEventID == 0)
    #expect(session.revision == created.revision)
  }

  @Test func anUpdateReplacesWhatItNamesAndKeepsTheRest() throws {
    let test = try TestStore()
    let created = try test.create("s", owner: .principal("p")) {
      $0.userID = "u"
      $0.clientCapabilities = "1"
      $0.state = #"{"a":1,"b":2}"#
      $0.metadata = #"{"m":1}"#
    }
    test.now += 5
    var update = SessionUpdate()
    update.metadata = .set("{}")
    update.clientCapabilities = .set(nil)
    update.state = .set(#"{"c":3}"#)
    var session = try test.write { try $0.updateSession("s", update, owner: .server) }
    #expect(session.metadata.string == "{}")
    #expect(session.clientCapabilities == nil)
    #expect(session.state?.string == #"{"c":3}"#)
    #expect(session.userID == "u")
    #expect(session.principal == "p")
    #expect(session.lastActivity == test.now)
    #expect(session.expiresAt == created.expiresAt)
    update = SessionUpdate()
    update.userID = .set(nil)
    update.lastActivity = .set(test.now + 1)
    session = try test.write { try $0.updateSession("s", update, owner: .server) }
    #expect(session.userID == nil)
    #expect(session.state?.string == #"{"c":3}"#)
    #expect(session.lastActivity == test.now + 1)
  }

  @Test func anUpdateMayDependOnTheRevision() throws {
    let test = try TestStore()
    let created = try test.create("s")
    let session = try test.write {
      try $0.updateSession("s", SessionUpdate(), owner: .server, ifRevision: created.revision)
    }
    #expect(session.revision > created.revision)
    test.refuses(.concurrentModification(revision: session.revision)) {
      _ = try $0.updateSession("s", SessionUpdate(), owner: .server, ifRevision: created.revision)
    }
  }

  // MARK: - Revisions

  @Test func revisionsBelongToTheWholeStoreAndNeverComeTwice() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    var seen: [Int64] = []
    seen.append(try test.create("a").revision)
    seen.append(try test.create("b").revision)
    seen.append(try test.write { try $0.setSessionState("a", "k", "1", owner: .server) })
    seen.append(try test.step("b", .suspend).revision)
    var task = NewTask()
    task.taskID = "t"
    seen.append(try test.write { try $0.createTask(task, owner: .server) }.revision)
    let place = ValuePlace(collection: "c", owner: .server)
    func put() throws -> Int64 {
      try test.write { try $0.putValue(place, "k", "1", ttl: nil, ifAbsent: false, ifRevision: nil) }.revision
    }
    seen.append(try put())
    seen.append(try put())
    try test.write {
      _ = try $0.deleteValue(place, "k", ifRevision: nil)
      _ = try $0.deleteTask("t", scope: TaskScope())
      _ = try $0.deleteSession("a", owner: .server, deleteTasks: false)
    }
    try test.reopen()
    seen.append(try test.create("a").revision)
    seen.append(try put())
    seen.append(try test.write { try $0.createTask(task, owner: .server) }.revision)
    #expect(seen == seen.sorted())
    #expect(Set(seen).count == seen.count)
  }

  @Test func activityRaisesNoRevision() throws {
    let test = try TestStore()
    let created = try test.create("s")
    try test.event("s")
    try test.write { _ = try $0.touchSession("s", owner: .server) }
    try test.write { _ = try $0.removeSessionState("s", "absent", owner: .server) }
    try test.write { _ = try $0.deleteEvents("s", before: 2, owner: .server) }
    try test.step("s", .activate)
    #expect(try test.get("s")?.revision == created.revision)
  }

  // MARK: - Caps

  @Test func theCapOnSessionsDoesNotCountExpiredOnes() throws {
    let test = try TestStore { $0.maxSessions = 3 }
    for id in ["a", "b", "c"] { try test.create(id) { $0.ttl = id == "b" ? 100 : 1_000 } }
    var new = NewSession()
    new.sessionID = "d"
    test.refuses(.maxSessionsReached(limit: 3)) { [new] in _ = try $0.createSession(new, owner: .server) }
    test.now += 100
    try test.create("d") { $0.ttl = 0 }
    #expect(try test.ids() == ["a", "c", "d"])
    #expect(try test.rows("sessions") == 3)
    test.refuses(.maxSessionsReached(limit: 3)) { _ = try $0.createSession(NewSession(), owner: .server) }
  }

  @Test func theCapFindsExpiredSessionsBehindManyThatWereUsed() throws {
    let test = try TestStore {
      $0.maxSessions = 60
      $0.sessionTTL = 0
    }
    // Due for a look long before the one that is really over.
    for index in 0..<59 { try test.create("used-\(index)") { $0.inactivityTimeout = 1_000 } }
    try test.create("over") { $0.inactivityTimeout = 1_500 }
    test.now += 900
    for index in 0..<59 { try test.write { _ = try $0.touchSession("used-\(index)", owner: .server) } }
    test.now += 600
    try test.create("new")
    #expect(try test.rows("sessions") == 60)
    #expect(try test.get("over") == nil)
  }

  @Test func aLoweredCapStaysACap() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    for index in 0..<40 { try test.create("s-\(index)") { $0.ttl = index < 20 ? 100 : 0 } }
    try test.reopen { $0.maxSessions = 10 }
    test.now += 100
    test.refuses(.maxSessionsReached(limit: 10)) { _ = try $0.createSession(NewSession(), owner: .server) }
    #expect(try test.count() == 20)
  }

  @Test func theCapPerUserIsPerTenant() throws {
    let test = try TestStore { $0.maxSessionsPerUser = 2 }
    func create(_ id: String, _ user: String?, _ owner: Owner = .server) throws {
      try test.create(id, owner: owner) {
        $0.userID = user
        $0.ttl = 1_000
      }
    }
    try create("1", "u")
    try create("2", "u")
    #expect(throws: StoreError.maxUserSessionsReached(limit: 2)) { try create("3", "u") }
    try create("4", "other")
    try create("5", nil)
    try create("6", nil)
    try create("7", nil)
    try create("8", "u", .tenant("t"))
    try create("9", "u", Owner(tenant: .named("t"), principal: .named("p")))
    #expect(throws: StoreError.maxUserSessionsReached(limit: 2)) { try create("10", "u", .tenant("t")) }
    try test.step("1", .invalidate)
    #expect(throws: StoreError.maxUserSessionsReached(limit: 2)) { try create("3", "u") }
    test.now += 1_000
    try create("3", "u")
  }

  @Test func anIdThatExpiredMayBeTakenAgain() throws {
    let test = try TestStore { $0.maxSessions = 1 }
    let old = try test.create("s") {
      $0.ttl = 100
      $0.state = #"{"a":1}"#
    }
    try test.event("s")
    test.refuses(.sessionExists("s")) {
      var new = NewSession()
      new.sessionID = "s"
      _ = try $0.createSession(new, owner: .server)
    }
    test.now += 100
    let new = try test.create("s")
    #expect(new.revision > old.revision)
    #expect(new.state?.string == "{}")
    #expect(new.lastEventID == 0)
    #expect(try test.events("s").ids == [])
    #expect(try test.read { try $0.countEvents(nil, owner: .server) } == 0)
  }

  // MARK: - Owners

  private static let claims: [OwnerClaim] = [.unspecified, .anonymous, .named("a"), .named("b")]
  private static let bindings: [String?] = [nil, "a", "b"]

  private static func admits(_ claim: OwnerClaim, _ binding: String?) -> Bool {
    switch (claim, binding) {
    case (.unspecified, _), (_, nil): true
    case (.anonymous, _): false
    case (.named(let name), let binding?): name == binding
    }
  }

  @Test func everyClaimAgainstEveryBinding() throws {
    let test = try TestStore()
    var sessions: [(id: String, tenant: String?, principal: String?)] = []
    for tenant in Self.bindings {
      for principal in Self.bindings {
        let id = "s-\(tenant ?? "-")-\(principal ?? "-")"
        sessions.append((id, tenant, principal))
        let owner = Owner(
          tenant: tenant.map { .named($0) } ?? .anonymous, principal: principal.map { .named($0) } ?? .unspecified)
        let session = try test.create(id, owner: owner)
        #expect(session.tenantID == tenant)
        #expect(session.principal == principal)
      }
    }
    for tenant in Self.claims {
      for principal in Self.claims {
        let owner = Owner(tenant: tenant, principal: principal)
        let visible = sessions.filter { Self.admits(tenant, $0.tenant) && Self.admits(principal, $0.principal) }
        #expect(try test.ids(SessionFilter(owner: owner)) == visible.map(\.id))
        #expect(try test.count(SessionFilter(owner: owner)) == Int64(visible.count))
        for session in sessions {
          let id = session.id
          let isVisible = visible.contains { $0.id == id }
          #expect((try test.get(id, owner: owner) != nil) == isVisible)
          let requests: [(Store) throws -> Void] = [
            { _ = try $0.touchSession(id, owner: owner) },
            { _ = try $0.storeEvent(id, NewEvent(data: .null), owner: owner) },
            { _ = try $0.setSessionState(id, "k", .null, owner: owner) },
            { _ = try $0.getSessionState(id, "k", owner: owner) },
            { _ = try $0.countEvents(id, owner: owner) },
            { _ = try $0.startReading(id, after: nil, streamID: nil, owner: owner) },
            { _ = try $0.changeStatus(id, .activate, owner: owner) },
          ]
          for request in requests {
            if isVisible { try test.write(request) } else { test.refuses(.sessionNotFound(id), request) }
          }
          if !isVisible {
            let deleted = try test.write { try $0.deleteSession(id, owner: owner, deleteTasks: true) }
            #expect(deleted == DeletedSession())
          }
        }
        // A broadcast goes to what is bound to exactly these.
        let bound = sessions.filter { session in
          func isBound(_ claim: OwnerClaim, _ binding: String?) -> Bool {
            switch claim {
            case .unspecified: true
            case .anonymous: binding == nil
            case .named(let name): binding == name
            }
          }
          return isBound(tenant, session.tenant) && isBound(principal, session.principal)
        }
        let reached = try test.write { try $0.broadcastEvent(NewEvent(data: .null), SessionFilter(owner: owner)) }
        #expect(reached == bound.count)
      }
    }
  }

  @Test func creatingUnderATakenIdIsTheOneExceptionToSilence() throws {
    let test = try TestStore()
    try test.create("s", owner: .principal("alice"))
    test.refuses(.sessionExists("s")) {
      var new = NewSession()
      new.sessionID = "s"
      _ = try $0.createSession(new, owner: .principal("bob"))
    }
  }

  // MARK: - Lists and cursors

  @Test func listsAreInTheOrderOfCreationPageByPage() throws {
    let test = try TestStore()
    let ids = ["m", "a", "z", "b", "y", "c"]
    for id in ids { try test.create(id) { $0.userID = id < "n" ? "low" : "high" } }
    var pages: [[String]] = []
    var after: Int64 = 0
    var hasMore = true
    while hasMore {
      var page: [String] = []
      hasMore = try test.read { store in
        try store.listSessions(SessionFilter(), after: after, limit: 2, includeState: false) { session, number in
          page.append(session.sessionID)
          #expect(session.state == nil)
          after = number
          return true
        }
      }
      pages.append(page)
    }
    #expect(pages == [["m", "a"], ["z", "b"], ["y", "c"]])
    // Filters come before paging.
    #expect(try test.ids(SessionFilter(userID: "high")) == ["z", "y"])
    #expect(try test.count(SessionFilter(userID: "low")) == 4)
    #expect(try test.count(SessionFilter(userID: "none")) == 0)
  }

  @Test func aCursorWhoseRowIsGoneStillWorks() throws {
    let test = try TestStore()
    var numbers: [Int64] = []
    for id in ["a", "b", "c"] { numbers.append(try test.create(id).revision) }
    try test.write { _ = try $0.deleteSession("b", owner: .server, deleteTasks: false) }
    let rest = try test.read { try $0.sessionIDs(SessionFilter(), after: numbers[1], limit: 10) }
    #expect(rest.map(\.sessionID) == ["c"])
    // Made again it stands at the end.
    try test.create("b")
    #expect(try test.ids() == ["a", "c", "b"])
  }

  @Test func aPageThatIsFullSaysSo() throws {
    let test = try TestStore()
    for id in ["a", "b"] { try test.create(id) }
    let hasMore = try test.read {
      try $0.listSessions(SessionFilter(), after: 0, limit: 5, includeState: false) { session, _ in
        session.sessionID == "a"
      }
    }
    #expect(hasMore)
  }

  // MARK: - State

  @Test func stateKeepsTheOrderInWhichKeysWereFirstSet() throws {
    let test = try TestStore()
    try test.create("s") { $0.state = #"{"z":1,"a":2}"# }
    try test.write { _ = try $0.setSessionState("s", "m", "3", owner: .server) }
    try test.write { _ = try $0.setSessionState("s", "z", "4", owner: .server) }
    #expect(try test.get("s")?.state?.string == #"{"z":4,"a":2,"m":3}"#)
    try test.write { _ = try $0.removeSessionState("s", "a", owner: .server) }
    try test.write { _ = try $0.setSessionState("s", "a", "5", owner: .server) }
    #expect(try test.read { try $0.sessionStateKeys("s", owner: .server) } == ["z", "m", "a"])
    #expect(try test.get("s")?.state?.string == #"{"z":4,"m":3,"a":5}"#)
  }

  @Test func keysOfStateAreEscapedOnlyOnTheWire() throws {
    let test = try TestStore()
    try test.create("s") { $0.state = #"{"a\"b":1,"\u0000":2,"\u00e9":3}"# }
    #expect(try test.read { try $0.sessionStateKeys("s", owner: .server) } == ["a\"b", "\u{0}", "é"])
    #expect(try test.read { try $0.getSessionState("s", "é", owner: .server) }?.string == "3")
    #expect(try test.get("s")?.state?.members.map(\.name) == ["a\"b", "\u{0}", "é"])
  }

  @Test func theSizeOfTheWholeStateIsBounded() throws {
    let test = try TestStore { $0.maxStateBytes = 30 }
    let error = StoreError.payloadTooLarge(what: "The session's whole state", limit: 30)
    // 1 + 10 + 4 bytes each
    try test.create("s") { $0.state = #"{"a":"12345678"}"# }
    try test.write { _ = try $0.setSessionState("s", "b", #""12345678""#, owner: .server) }
    test.refuses(error) { _ = try $0.setSessionState("s", "c", "1", owner: .server) }
    test.refuses(error) { _ = try $0.setSessionState("s", "b", #""123456789""#, owner: .server) }
    try test.write { _ = try $0.setSessionState("s", "b", #""1""#, owner: .server) }
    try test.write { _ = try $0.setSessionState("s", "c", "1", owner: .server) }
    test.refuses(error) {
      var update = SessionUpdate()
      update.state = .set(#"{"a":"123456789012345678901234"}"#)
      _ = try $0.updateSession("s", update, owner: .server)
    }
    #expect(try test.get("s")?.state?.string == #"{"a":"12345678","b":"1","c":1}"#)
    // What is removed no longer counts.
    for key in ["a", "b", "c"] { try test.write { _ = try $0.removeSessionState("s", key, owner: .server) } }
    try test.write { _ = try $0.setSessionState("s", "d", #""12345678901234567890123""#, owner: .server) }
    #expect(throws: error) {
      try test.create("t") { $0.state = #"{"a":"12345678901234567890123456"}"# }
    }
    #expect(try test.get("t") == nil)
  }

  @Test func aStateThatNamesAKeyTwiceIsRefused() throws {
    let test = try TestStore()
    #expect(throws: StoreError.invalidParameter(name: "state.a", expected: "each key once")) {
      try test.create("s") { $0.state = #"{"a":1,"\u0061":2}"# }
    }
    #expect(throws: StoreError.self) { try test.create("s") { $0.state = #"{"":1}"# } }
    #expect(throws: StoreError.self) { try test.create("s") { $0.state = #"{"\ud800":1}"# } }
    #expect(try test.rows("sessions") == 0)
  }
}
