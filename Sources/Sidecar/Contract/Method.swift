import JSON
import JSONRPC

/// Everything that there is to know of one method: the only place that says it. Parameter checking, `rpc.discover` and
/// the documents under `protocol/` come from here.
///
/// A class only so that handing one around costs a reference count instead of a copy of everything in it.
final class Method: Sendable {
  /// What a method needs around it.
  enum Access: Sendable {
    /// nothing of the file, or only what it takes care of itself in the middle of other requests
    case none
    /// one snapshot
    case read
    /// the open group of writes
    case write
    /// a snapshot, and the group only when it finds something to write
    case readOrWrite
    /// no group around it: it opens its own
    case ownGroups
  }

  typealias Handler = @Sendable (Sidecar, Call, inout JSONWriter) throws -> Void

  let name: String
  /// one line of prose
  let summary: String
  let access: Access
  /// whether it may stand in a `transaction`
  let isTransactional: Bool
  /// Whether a client that got no answer may send it again, as twice does no more than once: reads, all of them
  let isRepeatable: Bool
  /// Whether subscribers may wait for what it changes. While there are any, it shares a group only with what is about
  /// other sessions and tasks: see ``Watched``.
  let isWatched: Bool
  /// whether it opens or ends a subscription: it is answered by what is open once all before it has been told
  let changesSubscriptions: Bool
  /// Whether it may end a session where what it finds counts as a violation: it is watched then.
  let countsViolations: Bool
  let parameters: [Parameter]
  let result: Schema
  /// beyond invalid_params and what the database may say
  let errors: [ErrorKind]
  /// parameters and result as JSON
  let example: (params: String, result: String)
  /// runs the method on checked parameters and writes exactly one JSON value
  let run: Handler
  /// Whether a call must say for whom it is made when `--require-owner` is on.
  let takesOwner: Bool
  /// what its parameters say of the rows that it is about
  let need: Need

  init(
    name: String, summary: String, access: Access, isTransactional: Bool = true, isRepeatable: Bool? = nil,
    isWatched: Bool = false, countsViolations: Bool = false, holdsOthersUp: Bool = false,
    takesMessage: Bool = false, parameters: [Parameter], result: Schema, errors: [ErrorKind] = [],
    example: (params: String, result: String),
    run: @escaping Handler
  ) {
    self.name = name
    self.summary = summary
    self.access = access
    self.isTransactional = isTransactional
    self.isRepeatable = isRepeatable ?? (access == .read)
    self.isWatched = isWatched
    changesSubscriptions = name == "unsubscribe" || name.hasPrefix("subscribe_")
    self.countsViolations = countsViolations
    self.parameters = parameters
    self.result = result
    self.errors = errors
    self.example = example
    self.run = run
    takesOwner = parameters.contains { parameter in
      if case .owner = parameter.type { parameter.name == .principal } else { false }
    }
    need = Need(parameters, result: result, holdsOthersUp: holdsOthersUp, takesMessage: takesMessage)
  }
}

extension Method {
  /// How to ask so that the answer is smaller; nil where there is no way.
  var remedyForLargeAnswer: String? {
    func takes(_ name: ParameterName) -> Bool { parameters.contains { $0.name == name } }
    if takes(.omit) { return "Leave large members out with 'omit'." }
    return takes(.limit) ? "Ask for less at once with 'limit'." : nil
  }

  /// All that it may answer with: what it says itself, and what follows from its declaration.
  var allErrors: [ErrorKind] {
    func takes(_ name: ParameterName) -> Bool { parameters.contains { $0.name == name } }
    var all = [ErrorKind.invalidParams]
    if takes(.cursor) { all.append(.invalidCursor) }
    all += errors
    // What it runs may answer for it.
    if takes(.calls) {
      all += [.methodNotFound] + MethodTable.all.methods.filter(\.isTransactional).flatMap(\.allErrors)
    }
    // Any payload, any answer, and the answer to the batch that it stands in may be too large.
    all.append(.payloadTooLarge)
    // A group that is lost for good takes along what needs nothing of the file.
    all += access == .none ? [.outcomeUnknown, .databaseReplaced] : ErrorKind.anyDatabase
    all.append(.shuttingDown)
    var seen: Set<String> = []
    return all.filter { seen.insert($0.kind).inserted }
  }
}

/// All methods by name.
struct MethodTable: Sendable {
  let methods: [Method]
  private var buckets: [Int]
  private let mask: Int

  init(_ methods: [Method]) {
    self.methods = methods
    var size = 16
    while size < methods.count * 4 { size *= 2 }
    mask = size - 1
    buckets = [Int](repeating: -1, count: size)
    for (index, method) in methods.enumerated() {
      let name = Array(method.name.utf8)
      var bucket = Self.hash(name.span, 0..<name.count) & mask
      while buckets[bucket] >= 0 { bucket = (bucket + 1) & mask }
      buckets[bucket] = index
    }
  }

  static let all = MethodTable(
    SessionMethods.all + StateMethods.all + EventMethods.all + TaskMethods.all + ValueMethods.all + WorkMethods.all
      + EventSubscriptionMethods.all
      + LogMethods.all + SecurityMethods.all + UserDataMethods.all + PolicyMethods.all + PayloadMethods.all
      + OperationMethods.all)

  /// The method whose name stands at `range`, found without making a string of it.
  func index(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int? {
    var bucket = Self.hash(bytes, range) & mask
    while buckets[bucket] >= 0 {
      if bytes.holds(methods[buckets[bucket]].name, at: range) { return buckets[bucket] }
      bucket = (bucket + 1) & mask
    }
    return nil
  }

  func index(named name: String) -> Int? {
    let bytes = name.utf8.span
    return index(bytes, 0..<bytes.count)
  }

  func method(named name: String) -> Method? { index(named: name).map { methods[$0] } }

  func nearest(to name: String) -> String? { NearestName.of(methods.map(\.name), to: name) }

  /// FNV-1a: names are short and the table is fixed.
  private static func hash(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int {
    var hash: UInt32 = 2_166_136_261
    for index in range { hash = (hash ^ UInt32(bytes[index])) &* 16_777_619 }
    return Int(hash)
  }
}
