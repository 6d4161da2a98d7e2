import Database

/// What is left to workers and what they could not do, for whoever looks after them.
package struct Backlog {
  package struct Queue {
    package var name: String
    package var waiting: Int64
    package var leased: Int64
    /// of those that are leased: that their workers were not heard of in time
    package var lapsed: Int64
    package var done: Int64
    package var dead: Int64
    /// Unix milliseconds: since when something could be claimed that was not; nil: all was
    package var readySince: Int64?
  }

  package struct DeadItem {
    package var queue: String
    package var workID: String
    package var subscriptionID: String?
    package var principal: String?
    package var attempt: Int64
    package var error: String?
    package var finishedAt: Int64
  }

  /// An event subscription that is not active, or whose last attempt failed.
  package struct Subscription {
    package var subscriptionID: String
    package var topic: String
    package var principal: String?
    package var inactiveSince: Int64?
    package var failedSince: Int64?
    package var lastError: String?
    package var watermark: Int64?
  }

  /// those of which the most is left or dead
  package var queues: [Queue] = []
  package var newestDead: [DeadItem] = []
  /// those first that are longest in trouble
  package var subscriptions: [Subscription] = []
}

extension Store {
  /// rows of each list
  private static let backlogRows = 10

  /// It reads each item of work once.
  package func backlog() throws -> Backlog {
    var backlog = Backlog()
    backlog.queues = try busiestQueues()
    backlog.newestDead = try newestDeadWork()
    backlog.subscriptions = try troubledSubscriptions()
    return backlog
  }

  private func busiestQueues() throws -> [Backlog.Queue] {
    var queues: [Backlog.Queue] = []
    do {
      var select = try tables.statement(
        .server,
        composed: """
          SELECT queue, CAST(sum(CASE status WHEN 'waiting' THEN 1 ELSE 0 END) AS BIGINT),
            CAST(sum(CASE status WHEN 'leased' THEN 1 ELSE 0 END) AS BIGINT),
            CAST(sum(CASE WHEN status = 'leased' AND wakes_at <= $1 THEN 1 ELSE 0 END) AS BIGINT),
            CAST(sum(CASE status WHEN 'done' THEN 1 ELSE 0 END) AS BIGINT),
            CAST(sum(CASE status WHEN 'dead' THEN 1 ELSE 0 END) AS BIGINT)
          FROM work GROUP BY queue
          ORDER BY sum(CASE status WHEN 'done' THEN 0 ELSE 1 END) DESC, queue LIMIT \(Self.backlogRows)
          """)
      select.bind(1, now)
      while try select.step() {
        queues.append(
          Backlog.Queue(
            name: select.string(0), waiting: select.integer(1), leased: select.integer(2), lapsed: select.integer(3),
            done: select.integer(4), dead: select.integer(5)))
      }
    }
    for index in queues.indices { queues[index].readySince = try readySince(inQueue: queues[index].name) }
    return queues
  }

  private func readySince(inQueue queue: String) throws -> Int64? {
    var select = try tables.statement(
      .server,
      """
      SELECT (SELECT min(line) FROM work WHERE queue = $1 AND line IS NOT NULL AND work_group IS NULL),
        (SELECT min(line) FROM work_groups WHERE queue = $1 AND line IS NOT NULL),
        (SELECT min(wakes_at) FROM work WHERE queue = $1 AND wakes_at IS NOT NULL AND wakes_at <= $2)
      """)
    select.bind(1, queue)
    select.bind(2, now)
    guard try select.step() else { return nil }
    let times = [
      select.optionalInteger(0).map(time(ofLine:)), select.optionalInteger(1).map(time(ofLine:)),
      select.optionalInteger(2),
    ]
    return times.compactMap { $0 }.min()
  }

  private func newestDeadWork() throws -> [Backlog.DeadItem] {
    var select = try tables.statement(
      .server,
      composed: """
        SELECT w.queue, w.work_id,
          (SELECT s.subscription_id FROM event_subscriptions AS s WHERE s.number = w.subscription),
          w.principal, w.attempt, w.error, w.finished_at
        FROM work AS w WHERE w.status = 'dead' AND w.finished_at IS NOT NULL
        ORDER BY w.finished_at DESC, w.number DESC LIMIT \(Self.backlogRows)
        """)
    var items: [Backlog.DeadItem] = []
    while try select.step() {
      items.append(
        Backlog.DeadItem(
          queue: select.string(0), workID: select.string(1), subscriptionID: select.optionalString(2),
          principal: select.optionalString(3), attempt: select.integer(4), error: select.optionalString(5),
          finishedAt: select.integer(6)))
    }
    return items
  }

  private func troubledSubscriptions() throws -> [Backlog.Subscription] {
    var select = try tables.statement(
      .server,
      composed: """
        SELECT subscription_id, topic, principal, inactive_since, failed_since, last_error, watermark
        FROM event_subscriptions
        WHERE ended_at IS NULL AND coalesce(expires_at > $1, true)
          AND (inactive_since IS NOT NULL OR failed_since IS NOT NULL)
        ORDER BY coalesce(inactive_since, failed_since), number LIMIT \(Self.backlogRows)
        """)
    select.bind(1, now)
    var subscriptions: [Backlog.Subscription] = []
    while try select.step() {
      subscriptions.append(
        Backlog.Subscription(
          subscriptionID: select.string(0), topic: select.string(1), principal: select.optionalString(2),
          inactiveSince: select.optionalInteger(3), failedSince: select.optionalInteger(4),
          lastError: select.optionalString(5), watermark: select.optionalInteger(6)))
    }
    return subscriptions
  }

  // MARK: - At a glance

  /// The queue in which something could be claimed for the longest time, and since when; nil: nothing can be.
  package func slowestQueue() throws -> (name: String, readySince: Int64)? {
    var slowest: (name: String, readySince: Int64)?
    func compare(_ name: String, _ time: Int64) {
      if time <= now, slowest.map({ time < $0.readySince }) ?? true { slowest = (name, time) }
    }
    for rows in ["work WHERE line IS NOT NULL AND work_group IS NULL", "work_groups WHERE line IS NOT NULL"] {
      var select = try tables.statement(
        .server, composed: "SELECT queue, min(line) FROM \(rows) GROUP BY queue ORDER BY min(line), queue LIMIT 1")
      if try select.step() { compare(select.string(0), time(ofLine: select.integer(1))) }
    }
    var woken = try tables.statement(
      .server,
      """
      SELECT queue, min(wakes_at) FROM work WHERE wakes_at IS NOT NULL GROUP BY queue
      ORDER BY min(wakes_at), queue LIMIT 1
      """)
    if try woken.step() { compare(woken.string(0), woken.integer(1)) }
    return slowest
  }

  /// Event subscriptions that are not active since before a time.
  package func countEventSubscriptions(inactiveBefore time: Int64) throws -> Int64 {
    var select = try tables.statement(
      .server,
      """
      SELECT count(*) FROM event_subscriptions
      WHERE ended_at IS NULL AND inactive_since IS NOT NULL AND inactive_since <= $1
        AND coalesce(expires_at > $2, true)
      """)
    select.bind(1, time)
    select.bind(2, now)
    return try select.step() ? select.integer(0) : 0
  }
}
