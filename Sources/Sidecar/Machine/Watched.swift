import SessionStore

/// Which sessions and tasks the requests of the open group are about, while somebody has subscribed. Each change is to
/// be told, and none only after something later has covered it: so two changes of one task are not of one group, and
/// neither are events and the end of their session. Changes of different ones are.
struct Watched {
  private var sessions: Set<String> = []
  private var tasks: Set<String> = []
  /// those of them that a watched method is about
  private var changedSessions: Set<String> = []
  private var changedTasks: Set<String> = []

  /// What one request is about.
  struct Targets {
    fileprivate var sessions: Set<String> = []
    fileprivate var tasks: Set<String> = []
    /// whether subscribers may wait for what it changes
    fileprivate var isWatched = false
    /// whether it may change what it does not name
    fileprivate(set) var isWide = false
  }

  /// Whether a request can share the group with those that are in it.
  func admits(_ targets: Targets) -> Bool {
    if targets.isWide { return false }
    if targets.isWatched, !targets.sessions.isDisjoint(with: sessions) || !targets.tasks.isDisjoint(with: tasks) {
      return false
    }
    return targets.sessions.isDisjoint(with: changedSessions) && targets.tasks.isDisjoint(with: changedTasks)
  }

  mutating func add(_ targets: Targets) {
    sessions.formUnion(targets.sessions)
    tasks.formUnion(targets.tasks)
    if !targets.isWatched { return }
    changedSessions.formUnion(targets.sessions)
    changedTasks.formUnion(targets.tasks)
  }

  mutating func removeAll() { if !sessions.isEmpty || !tasks.isEmpty { self = Watched() } }
}

extension Sidecar {
  /// What a request is about; nil when that does not matter: it only reads, or nobody has subscribed.
  func targets(_ method: Method?) -> Watched.Targets? {
    guard let method, !group.answers.subscriptions.isEmpty else { return nil }
    var targets = Watched.Targets()
    // What is told at the end of a group ends subscriptions.
    targets.isWide = method.changesSubscriptions
    if targets.isWide { return targets }
    if method.access == .read || method.access == .none { return nil }
    add(method, call, to: &targets)
    return targets
  }

  private func add(_ method: Method, _ call: Call, to targets: inout Watched.Targets) {
    if let inner = OperationMethods.innerCalls(method, call) {
      for (method, call) in inner where method.access != .read { add(method, call, to: &targets) }
      return
    }
    var needs = Needs()
    method.need.add(call, to: &needs)
    let isOfTask = method.need.isOfTask
    // A task's session is not changed with it.
    if isOfTask { targets.tasks.formUnion(needs.tasks) } else { targets.sessions.formUnion(needs.sessions) }
    guard isWatched(method) else { return }
    targets.isWatched = true
    if !isOfTask, !method.need.isOfOneSession || call.boolean(.deleteTasks) { targets.isWide = true }
  }

  private func isWatched(_ method: Method) -> Bool {
    method.isWatched
      || (method.countsViolations && (store.limits.countsRefusedInput || store.limits.countsDeniedRates))
  }
}
