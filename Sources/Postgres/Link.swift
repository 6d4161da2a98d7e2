internal import Glibc

/// One connection of libpq's, in pipeline mode: what is sent, and what comes back. It waits for nothing but in
/// ``init(_:_:)`` and where it is told how long.
///
/// The pointers that libpq is handed live until its calls return; it copies what it keeps.
@safe
final class Link {
  private let libpq: Libpq
  private let handle: OpaquePointer

  enum Answer {
    /// The end of what one statement answers, or nothing at all.
    case none
    /// A statement without rows ran.
    case done(Completion)
    case rows(Rows)
    case sync
    /// It was left out because one before it failed.
    case skipped
    /// - Parameter isFinal: whether the server ends the connection with it
    case failed(PostgresError, isFinal: Bool)
  }

  /// Connects to what the address says; the settings before it give way to it, and those behind it prevail.
  init(_ address: PostgresAddress, before: [(String, String)], behind: [(String, String)]) throws(PostgresError) {
    libpq = try Libpq.load()
    let pairs = before + [("dbname", address.text)] + behind
    guard let connected = unsafe Self.connect(libpq, pairs) else {
      throw PostgresError(state: "53200", message: "there is no memory for a connection")
    }
    unsafe handle = unsafe connected
    // What servers remark goes nowhere: libpq would print it.
    _ = unsafe libpq.setNoticeReceiver(connected, { _, _ in }, nil)
    if unsafe libpq.status(connected) != 0 { throw connectingFailed(address) }
    if unsafe libpq.setnonblocking(connected, 1) != 0 || libpq.enterPipelineMode(connected) != 1 {
      throw PostgresError.lost(text)
    }
  }

  private static func connect(_ libpq: Libpq, _ pairs: [(String, String)]) -> OpaquePointer? {
    // libpq copies them before it returns.
    let keys = unsafe pairs.map { unsafe strdup($0.0) }
    let values = unsafe pairs.map { unsafe strdup($0.1) }
    defer { for unsafe copy in unsafe keys + values { unsafe free(copy) } }
    let keywords = unsafe keys.map { unsafe UnsafePointer($0) } + [nil]
    let settings = unsafe values.map { unsafe UnsafePointer($0) } + [nil]
    // 1: the value of dbname may be an address
    return unsafe libpq.connectdbParams(keywords, settings, 1)
  }

  deinit { unsafe libpq.finish(handle) }

  /// libpq's last message in one line
  private var text: String {
    let message = unsafe libpq.errorMessage(handle).map { unsafe String(cString: $0) } ?? ""
    let lines = message.split(whereSeparator: \.isNewline).map { $0.drop { $0 == " " || $0 == "\t" } }
    return lines.isEmpty ? "the connection is closed" : lines.joined(separator: "; ")
  }

  /// Only the message tells apart why connecting failed: servers' SQLSTATE does not come through.
  private func connectingFailed(_ address: PostgresAddress) -> PostgresError {
    let said = text
    let message = address.scrubbed(said)
    if let found = Self.failures.first(where: { said.contains($0.words) }) {
      return PostgresError(state: "08001", message: message, kind: found.kind)
    }
    // Nothing was tried yet: the address itself is wrong.
    let wasTried = unsafe libpq.socket(handle) >= 0 || said.contains("connection to server")
    if wasTried || said.contains("could not translate host name") {
      return PostgresError(state: "08001", message: message)
    }
    return PostgresError(
      state: "08001", message: "The address of the database cannot be used: \(message).", kind: .badAddress)
  }

  /// What servers and libpq say in English, the language of those words that matter here at servers that are not told
  /// another one for messages of this kind.
  private static let failures: [(words: String, kind: PostgresError.Kind)] = [
    ("valid client certificate", .unauthenticated),
    ("certificate authentication failed", .unauthenticated),
    ("certificate", .untrusted),
    ("does not support SSL", .untrusted),
    ("password authentication failed", .unauthenticated),
    ("no password supplied", .unauthenticated),
    ("no pg_hba.conf entry", .unauthenticated),
    ("authentication failed for user", .unauthenticated),
    ("pg_hba.conf rejects", .unauthenticated),
    ("authentication method", .unauthenticated),
    ("is not permitted to log in", .unauthenticated),
    ("too many clients", .overloaded),
    ("too many connections", .overloaded),
    ("remaining connection slots", .overloaded),
    ("no more connections allowed", .overloaded),
    ("the database system is", .unreachable),
    ("session is read-only", .readOnly),
    ("session is not read-only", .readOnly),
    ("server is in hot standby mode", .readOnly),
    ("server is not in hot standby mode", .readOnly),
    ("permission denied for database", .forbidden),
    ("is not currently accepting connections", .noDatabase),
    ("FATAL:  role", .unauthenticated),
    ("FATAL:  database", .noDatabase),
  ]

  var processID: Int32 { unsafe libpq.backendPID(handle) }

  /// Who is connected to what, for people.
  var place: (host: String, port: String, database: String, user: String) {
    func text(_ text: Libpq.Text?) -> String { unsafe text.map { unsafe String(cString: $0) } ?? "" }
    return unsafe (
      text(libpq.host(handle)), text(libpq.port(handle)), text(libpq.database(handle)), text(libpq.user(handle))
    )
  }

  /// What libpq says when it cannot go on with a connection.
  var failure: PostgresError { .lost(text) }

  // MARK: - Sending

  func prepare(_ name: String, _ sql: String, _ types: [UInt32]) throws(PostgresError) {
    try check(unsafe libpq.sendPrepare(handle, name, sql, Int32(types.count), types))
  }

  /// The answer tells the types of its parameters.
  func describe(_ name: String) throws(PostgresError) {
    try check(unsafe libpq.sendDescribePrepared(handle, name))
  }

  enum Target {
    case prepared(String)
    case unnamed(String, types: [UInt32])
  }

  func send(_ target: Target, _ parameters: Parameters) throws(PostgresError) {
    // One byte more, so that even an empty value has an address: the null pointer would be NULL.
    let sent = unsafe parameters.withBytes { bytes in
      let count = Int32(parameters.count)
      let values = unsafe parameters.map { slot in
        unsafe slot.isNull
          ? nil : UnsafeRawPointer(bytes.baseAddress! + slot.start).assumingMemoryBound(to: CChar.self)
      }
      let lengths = parameters.map { Int32(clamping: $0.count) }
      let formats = [Int32](repeating: 1, count: parameters.count)
      switch target {
      case .prepared(let name):
        return unsafe libpq.sendQueryPrepared(handle, name, count, values, lengths, formats, 1)
      case .unnamed(let sql, let types):
        return unsafe libpq.sendQueryParams(handle, sql, count, types, values, lengths, formats, 1)
      }
    }
    try check(sent)
  }

  func sync() throws(PostgresError) { try check(unsafe libpq.pipelineSync(handle)) }

  /// Hands to the system what it takes without waiting.
  /// - Returns: whether something is left
  func flush() throws(PostgresError) -> Bool {
    let left = unsafe libpq.flush(handle)
    if left < 0 { throw failure }
    return left > 0
  }

  private func check(_ succeeded: Int32) throws(PostgresError) {
    if succeeded != 1 { throw failure }
  }

  // MARK: - Receiving

  /// Waits until the next answer is complete, and sends meanwhile what is left to be sent.
  ///
  /// - Parameters:
  ///   - timeout: milliseconds without a byte from the server after which it counts as gone
  ///   - isCancelled: asked now and then; once it says so, the server is asked to stop
  func wait(timeout: Int64, isCancelled: () -> Bool) throws(PostgresError) {
    var hasCancelled = false
    var deadline = Deadline(in: timeout)
    while unsafe libpq.isBusy(handle) != 0 {
      let events = try flush() ? POLLIN | POLLOUT : POLLIN
      var descriptor = pollfd(fd: unsafe libpq.socket(handle), events: Int16(events), revents: 0)
      let remaining = deadline.remaining
      if remaining == 0 {
        throw PostgresError.lost("the server did not answer within \(timeout) ms")
      }
      let ready = unsafe poll(&descriptor, 1, Int32(clamping: min(remaining, 100)))
      if ready > 0 {
        if unsafe libpq.consumeInput(handle) != 1 { throw failure }
        if descriptor.revents & Int16(POLLIN) != 0 { deadline = Deadline(in: timeout) }
      } else if !hasCancelled, isCancelled() {
        hasCancelled = true
        cancel()
      }
    }
  }

  /// Whether something has come that was not read yet, or the connection is closed.
  var hasInput: Bool {
    var descriptor = pollfd(fd: unsafe libpq.socket(handle), events: Int16(POLLIN), revents: 0)
    return unsafe poll(&descriptor, 1, 0) > 0
  }

  /// Asks the server by another connection to stop what runs.
  private func cancel() {
    guard let request = unsafe libpq.getCancel(handle) else { return }
    var message = [CChar](repeating: 0, count: 256)
    // Whether it succeeded shows in what the statement answers.
    _ = unsafe libpq.cancel(request, &message, Int32(message.count))
    unsafe libpq.freeCancel(request)
  }

  /// The next answer; it must be complete.
  func next() -> Answer {
    guard let result = unsafe libpq.getResult(handle) else { return .none }
    let status = unsafe libpq.resultStatus(result)
    if status == 2 { return .rows(unsafe Rows(libpq, result)) }
    defer { unsafe libpq.clear(result) }
    switch status {
    case 1: return .done(Completion(libpq, result))
    case 10: return .sync
    case 11: return .skipped
    default: return unsafe failed(result)
    }
  }

  private func failed(_ result: OpaquePointer) -> Answer {
    func field(_ code: UInt8) -> String? {
      unsafe libpq.resultErrorField(result, Int32(code)).map { unsafe String(cString: $0) }
    }
    // https://www.postgresql.org/docs/current/protocol-error-fields.html: V is never translated.
    guard let state = field(UInt8(ascii: "C")), let message = field(UInt8(ascii: "M")) else {
      return .failed(failure, isFinal: true)
    }
    let severity = field(UInt8(ascii: "V"))
    let isBroken = unsafe libpq.status(handle) != 0
    return .failed(
      PostgresError(state: state, message: message), isFinal: isBroken || severity == "FATAL" || severity == "PANIC")
  }
}

/// What is known of a statement that returned no rows.
struct Completion {
  /// such as "COMMIT"
  let tag: String
  let changes: Int64
  /// of the statement that was described
  let parameterTypes: [UInt32]

  /// libpq's result, which is read and not kept
  @safe
  fileprivate init(_ libpq: Libpq, _ result: OpaquePointer) {
    tag = unsafe libpq.cmdStatus(result).map { unsafe String(cString: $0) } ?? ""
    changes = unsafe libpq.cmdTuples(result).flatMap { unsafe Int64(String(cString: $0)) } ?? 0
    parameterTypes = unsafe (0..<libpq.nparams(result)).map { unsafe libpq.paramtype(result, $0) }
  }
}

/// The rows of one answer, as libpq keeps them.
@safe
final class Rows {
  private let libpq: Libpq
  private let result: OpaquePointer
  let count: Int32
  private let types: [UInt32]

  fileprivate init(_ libpq: Libpq, _ result: OpaquePointer) {
    self.libpq = libpq
    unsafe self.result = unsafe result
    count = unsafe libpq.ntuples(result)
    types = unsafe (0..<libpq.nfields(result)).map { unsafe libpq.ftype(result, $0) }
  }

  deinit { unsafe libpq.clear(result) }

  private func holds(_ row: Int32, _ column: Int32) -> Bool {
    row >= 0 && row < count && column >= 0 && Int(column) < types.count
  }

  func type(_ column: Int32) -> UInt32 { types.indices.contains(Int(column)) ? types[Int(column)] : 0 }

  func isNull(_ row: Int32, _ column: Int32) -> Bool {
    // libpq complains of what is not there, and calls it NULL.
    unsafe !holds(row, column) || libpq.getisnull(result, row, column) != 0
  }

  /// The bytes as the server sent them; valid inside `body` only.
  func withBytes<Value>(_ row: Int32, _ column: Int32, _ body: (Span<UInt8>) throws -> Value) rethrows -> Value {
    guard holds(row, column), let start = unsafe libpq.getvalue(result, row, column) else {
      return try body([UInt8]().span)
    }
    // They stay where they are as long as the result does, which is as long as this object lives.
    let count = Int(unsafe libpq.getlength(result, row, column))
    return try unsafe start.withMemoryRebound(to: UInt8.self, capacity: count) { bytes in
      try unsafe body(UnsafeBufferPointer(start: bytes, count: count).span)
    }
  }
}
