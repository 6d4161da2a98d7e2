import SessionStore
import Sidecar

/// The report as one HTML page that loads nothing and runs nothing.
struct Page {
  let summary: Summary
  let statistics: Statistics
  let backlog: Backlog
  let path: String
  /// Unix milliseconds
  let now: Int64
  /// whether what callers stored is shown, and names in full
  let showsPayloads: Bool

  // MARK: - What may be shown

  /// An id or a name: whoever knows the id of a session may be able to use it.
  ///
  /// The beginning alone would not tell ids apart: those that are made here begin alike for a minute. At most half is
  /// shown of what is not short.
  private func name(_ name: String?) -> String {
    guard let name, !name.isEmpty else { return Self.nothing }
    if showsPayloads || name.count <= 8 { return name }
    let shown = min(14, name.count / 2)
    let tail = min(6, shown / 2)
    return name.prefix(shown - tail) + "…" + name.suffix(tail)
  }

  /// An address of the net: the part that says where it is, not whose it is.
  private func address(_ address: String?) -> String {
    guard let address, !address.isEmpty else { return Self.nothing }
    if showsPayloads { return address }
    for separator in [".", ":"] as [Character] {
      let parts = address.split(separator: separator, omittingEmptySubsequences: false)
      let isAddress = parts.allSatisfy { $0.count <= 4 && $0.allSatisfy(\.isHexDigit) }
      if parts.count > 2, isAddress { return parts.prefix(2).joined(separator: "\(separator)") + "…" }
    }
    return address.prefix(min(4, address.count / 2)) + "…"
  }

  /// in the place of what is not there
  private static let nothing = "–"

  private func words(_ text: String?) -> String {
    guard let text, !text.isEmpty else { return Self.nothing }
    return showsPayloads ? text : "(hidden)"
  }

  // MARK: - The page

  func html() -> String {
    var html = HTML()
    html.markup(
      """
      <!DOCTYPE html>
      <html lang="en"><head><meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
      <meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">
      <title>mcp-session-store report</title><style>
      """)
    html.markup(Self.style)
    html.markup("</style></head><body><header><h1>mcp-session-store</h1><p>")
    html.element("strong", String(path.split(separator: "/").last ?? ""))
    html.escaped(", \(Timestamp.minute(now)) UTC, version \(Sidecar.version), schema \(summary.schema)")
    html.markup("</p></header><main>")
    addTiles(&html)
    addTimes(&html)
    addStatuses(&html)
    addLists(&html)
    addWork(&html)
    addAudit(&html)
    html.markup("</main><footer><p>")
    html.escaped(
      showsPayloads
        ? "Names and texts are shown in full: keep this page as safe as the store."
        : "Of ids and names longer than 8 characters only the ends are shown, of addresses the beginning, and texts "
          + "are hidden; --payloads shows all. All times are UTC.")
    html.markup("</p></footer></body></html>\n")
    return html.text
  }

  private func addTiles(_ html: inout HTML) {
    html.markup("<section class=\"tiles\" aria-label=\"Totals\">")
    for (label, value) in [
      ("sessions", summary.sessionCount.grouped), ("events", summary.events.grouped),
      ("tasks", summary.taskCount.grouped), ("values", summary.values.grouped),
      ("log entries", summary.logEntries.grouped), ("work", summary.workCount.grouped),
      ("event subscriptions", summary.eventSubscriptions.grouped), ("database", summary.databaseBytes.bytes),
      ("write-ahead log", summary.walBytes.bytes), ("free in the file", summary.freeBytes.bytes),
    ] + policies {
      html.markup("<div class=\"tile\">")
      html.element("b", value)
      html.element("span", label)
      html.markup("</div>")
    }
    html.markup("</section>")
  }

  /// What is due, held and kept by rules of its own, where anything is.
  private var policies: [(String, String)] {
    let due = summary.waiting?.due.reduce(0) { $0 + $1.count } ?? 0
    let held = summary.waiting?.held.reduce(0) { $0 + $1.count } ?? 0
    return [
      ("due for a sweep", due), ("legal holds", summary.legalHolds), ("kept by holds alone", held),
      ("tenants with own retention", summary.retentions),
    ].filter { $0.1 > 0 }.map { ($0.0, $0.1.grouped) }
  }

  private func addTimes(_ html: inout HTML) {
    html.markup("<section class=\"wide\"><h2>Over time</h2>")
    let axis = TimeAxis(
      start: statistics.bucketStart, bucketLength: statistics.bucketLength, buckets: statistics.sessionBuckets.count)
    for (what, buckets, none) in [
      ("Events", statistics.eventBuckets, "There are no events."),
      ("Sessions created", statistics.sessionBuckets, "There are no sessions."),
      ("Tasks created", statistics.taskBuckets, "There are no tasks."),
    ] {
      if buckets.contains(where: { $0 > 0 }) {
        html.columns(what, buckets, axis)
      } else {
        html.element("p", none, class: "none")
      }
    }
    html.markup("</section>")
  }

  private func addStatuses(_ html: inout HTML) {
    html.markup("<section><h2>Sessions</h2>")
    let styles: [SessionStatus: StaticString] = [.active: "good", .suspended: "warn", .invalidated: "bad"]
    html.bars(
      summary.endedSessions == nil
        ? "By status; expired ones wait for a sweep" : "By status; expired and resolved ones are kept for a while",
      summary.statuses.map {
        HTML.Bar(label: $0.status.rawValue, value: $0.count, style: styles[$0.status] ?? "dim")
      })
    html.markup("</section><section><h2>Tasks</h2>")
    let taskStyles: [TaskStatus: StaticString] = [
      .completed: "good", .inputRequired: "warn", .failed: "bad", .working: "a",
    ]
    html.bars(
      "By status",
      TaskStatus.allCases.map {
        HTML.Bar(label: $0.rawValue.spaced, value: summary.tasks[$0] ?? 0, style: taskStyles[$0] ?? "dim")
      })
    html.markup("</section><section><h2>How long tasks took</h2>")
    let labels = ["under 1 s", "under 10 s", "under 1 min", "under 10 min", "under 1 h", "under 1 day", "longer"]
    html.bars(
      "Those that have ended, from creation to the end",
      zip(labels, statistics.durations).map { HTML.Bar(label: $0, value: $1) })
    html.markup("</section>")
  }

  private func addLists(_ html: inout HTML) {
    html.markup("<section class=\"wide\"><h2>Largest sessions</h2>")
    table(
      &html, "Largest sessions",
      ["session", "user", "principal", "events", "bytes", "state", "log", "last active"], numbers: 3...6,
      statistics.largestSessions.map { session in
        [
          name(session.sessionID), name(session.userID), name(session.principal), session.events.grouped,
          session.eventBytes.bytes, session.stateBytes.bytes, session.logEntries.grouped,
          Timestamp.minute(session.lastActivity),
        ]
      })
    html.markup("</section><section class=\"wide\"><h2>Oldest running tasks</h2>")
    table(
      &html, "Oldest running tasks",
      ["task", "status", "method", "principal", "running for", "last heard of", "message"], numbers: 4...4,
      statistics.oldestTasks.map { task in
        [
          name(task.taskID), task.status.rawValue.spaced, task.method ?? Self.nothing, name(task.principal),
          (Saturating(now) - task.createdAt).value.duration, Timestamp.minute(task.lastUpdatedAt),
          words(task.statusMessage),
        ]
      })
    html.markup("</section>")
  }

  /// What is left to workers. Neither payloads nor addresses nor secrets of subscriptions are told, whoever asks.
  private func addWork(_ html: inout HTML) {
    if summary.workCount == 0, summary.eventSubscriptions == 0 { return }
    let styles: [WorkStatus: StaticString] = [.waiting: "a", .leased: "warn", .done: "good", .dead: "bad"]
    html.markup("<section><h2>Work</h2>")
    html.bars(
      "By status; done and dead items are kept for a while",
      WorkStatus.allCases.map {
        HTML.Bar(label: $0.rawValue, value: summary.work[$0] ?? 0, style: styles[$0] ?? "dim")
      })
    html.markup("</section><section><h2>Event subscriptions</h2>")
    let inactive = summary.inactiveEventSubscriptions
    html.bars(
      "Of others, to what happens here",
      [
        HTML.Bar(label: "active", value: summary.eventSubscriptions - inactive, style: "good"),
        HTML.Bar(label: "inactive", value: inactive, style: "warn"),
      ])
    html.markup("</section><section class=\"wide\"><h2>Queues</h2>")
    table(
      &html, "Queues", ["queue", "waiting", "leased", "lapsed", "done", "dead", "ready for"], numbers: 1...6,
      backlog.queues.map { queue in
        [
          name(queue.name), queue.waiting.grouped, queue.leased.grouped, queue.lapsed.grouped, queue.done.grouped,
          queue.dead.grouped, queue.readySince.map { (Saturating(now) - $0).value.duration } ?? Self.nothing,
        ]
      })
    html.markup("</section><section class=\"wide\"><h2>Newest dead letters</h2>")
    table(
      &html, "Newest dead letters",
      ["time", "queue", "item", "subscription", "principal", "attempts", "error"], numbers: 5...5,
      backlog.newestDead.map { item in
        [
          Timestamp.minute(item.finishedAt), name(item.queue), name(item.workID), name(item.subscriptionID),
          name(item.principal), item.attempt.grouped, words(item.error),
        ]
      })
    html.markup("</section><section class=\"wide\"><h2>Event subscriptions in trouble</h2>")
    table(
      &html, "Event subscriptions in trouble",
      ["subscription", "topic", "principal", "inactive since", "failing since", "settled up to", "last error"],
      numbers: 5...5,
      backlog.subscriptions.map { subscription in
        [
          name(subscription.subscriptionID), name(subscription.topic), name(subscription.principal),
          subscription.inactiveSince.map(Timestamp.minute) ?? Self.nothing,
          subscription.failedSince.map(Timestamp.minute) ?? Self.nothing,
          subscription.watermark?.grouped ?? Self.nothing, words(subscription.lastError),
        ]
      })
    html.markup("</section>")
  }

  private func addAudit(_ html: inout HTML) {
    let styles: [String: StaticString] = ["critical": "bad", "high": "bad", "medium": "warn", "low": "a"]
    for (title, isSecurity) in [("Security events", true), ("Lifecycle changes", false)] {
      html.markup(isSecurity ? "<section>" : "<section class=\"rest\">")
      html.element("h2", title)
      let counts = statistics.auditCounts.filter { ($0.severity != nil) == isSecurity }
      if counts.isEmpty {
        html.element("p", "None in the last 24 hours.", class: "none")
      } else {
        html.bars(
          "In the last 24 hours",
          counts.map { count in
            let label = count.type.spaced + (count.severity.map { " (\($0))" } ?? "")
            return HTML.Bar(label: label, value: count.count, style: count.severity.flatMap { styles[$0] } ?? "dim")
          })
      }
      html.markup("</section>")
    }
    html.markup("<section class=\"wide\"><h2>Newest entries of the audit, last 24 hours</h2>")
    table(
      &html, "Newest entries of the audit",
      ["time", "what", "severity", "session", "user", "status", "address", "message"], numbers: nil,
      statistics.newestAudit.map { event in
        let status = [event.statusBefore, event.statusAfter].compactMap { $0 }.joined(separator: " → ")
        return [
          Timestamp.minute(event.timestamp), event.type.spaced, event.severity ?? Self.nothing, name(event.sessionID),
          name(event.userID), status.isEmpty ? event.action ?? Self.nothing : status, address(event.ipAddress),
          words(event.message),
        ]
      })
    html.markup("</section>")
  }

  /// - Parameter numbers: columns that are set flush right
  private func table(
    _ html: inout HTML, _ label: String, _ titles: [String], numbers: ClosedRange<Int>?, _ rows: [[String]]
  ) {
    if rows.isEmpty { return html.element("p", "There are none.", class: "none") }
    // A column in which nothing stands only takes room.
    let used = titles.indices.filter { column in rows.contains { $0[column] != Self.nothing } }
    html.markup("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"")
    html.escaped(label)
    html.markup("\"><table class=\"list\"><thead><tr>")
    for column in used {
      html.element("th", titles[column], class: numbers?.contains(column) == true ? "n" : "t")
    }
    html.markup("</tr></thead><tbody>")
    for row in rows {
      html.markup("<tr>")
      for column in used {
        html.element("td", row[column], class: numbers?.contains(column) == true ? "n" : "t")
      }
      html.markup("</tr>")
    }
    html.markup("</tbody></table></div>")
  }

  // MARK: - How it looks

  private static let style: StaticString = """
    :root{color-scheme:light dark;--bg:#f5f6f8;--card:#fff;--fg:#1b1f24;--dim:#57606a;--line:#d8dee4;--a:#2f6fd0;
    --good:#1a7f4b;--warn:#9a6700;--bad:#c4302b;--rest:#8c959f;--axis:#8c959f;--shade:rgba(31,35,40,.28)}
    @media (prefers-color-scheme:dark){:root{--bg:#0f1318;--card:#181d24;--fg:#e6e9ee;--dim:#9aa4b0;--line:#2c333c;
    --a:#5b9bf5;--good:#3fb871;--warn:#d9a433;--bad:#f0665f;--rest:#6b7480;
    --axis:#6b7480;--shade:rgba(0,0,0,.75)}}
    *{box-sizing:border-box}
    body{margin:0;background:var(--bg);color:var(--fg);
    font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
    header,main,footer{max-width:1240px;margin:0 auto;padding:0 20px}
    header{padding-top:28px}h1{font-size:22px;margin:0}header p,footer p{margin:4px 0 0;color:var(--dim)}
    footer{padding-bottom:36px}
    main{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(340px,100%),1fr));gap:16px;padding-top:20px;
    padding-bottom:16px}
    section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;min-width:0}
    .wide,.tiles{grid-column:1/-1}
    .tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:4px 16px}
    .tile b{display:block;font-size:22px;line-height:1.3;font-variant-numeric:tabular-nums;white-space:nowrap}
    .tile span{color:var(--dim);font-size:13px}
    h2{font-size:15px;margin:0 0 8px}
    caption,figcaption{text-align:left;color:var(--dim);font-size:13px;padding-bottom:6px}
    table{border-collapse:collapse;width:100%}
    .bars th{font-weight:400;text-align:left;padding:3px 10px 3px 0;white-space:nowrap;width:1%}
    @media (min-width:1100px){.rest{grid-column:span 2}}
    @media (max-width:500px){.bars th{white-space:normal;min-width:130px}}
    .bar{width:100%}.bar span{display:block;height:12px;border-radius:3px}
    .n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;padding-left:10px}
    .a{background:var(--a);fill:var(--a)}.good{background:var(--good)}.warn{background:var(--warn)}
    .bad{background:var(--bad)}.dim{background:var(--rest)}
    figure{margin:0}.none+.plot,.plot+.plot,.plot+.none{margin-top:14px}
    figcaption b{color:var(--fg);font-weight:600}
    .area{position:relative;margin:8px 28px 0 52px;height:110px}
    svg{display:block;width:100%;height:100%;border:solid var(--axis);border-width:0 0 1px 1px;overflow:visible}
    .grid{stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke}
    .x,.y{color:var(--dim);font-size:12px;font-variant-numeric:tabular-nums}
    .y span{position:absolute;right:100%;padding-right:7px;line-height:1;transform:translateY(50%);white-space:nowrap}
    .x{position:relative;height:20px;margin:4px 28px 0 52px}
    .x span{position:absolute;transform:translateX(-50%);white-space:nowrap}
    @media (max-width:600px){.x span:nth-child(even){display:none}}
    .scroll{overflow-x:auto;margin:0 -18px;padding:0 18px 2px;scrollbar-width:thin;
    background:linear-gradient(to right,var(--card) 40%,transparent) 0 0/48px 100%,
    linear-gradient(to left,var(--card) 40%,transparent) 100% 0/48px 100%,
    linear-gradient(to right,var(--shade),transparent) 0 0/16px 100%,
    linear-gradient(to left,var(--shade),transparent) 100% 0/16px 100%;
    background-repeat:no-repeat;background-attachment:local,local,scroll,scroll}
    .list th{text-align:left;font-weight:600;font-size:13px;color:var(--dim)}.list th.n{text-align:right}
    .list th,.list td{padding:5px 14px 5px 0;border-bottom:1px solid var(--line);white-space:nowrap}
    .list td.t{max-width:260px;overflow:hidden;text-overflow:ellipsis}
    .list tbody tr:last-child td{border-bottom:0}
    .list .n+.t{padding-left:16px}
    .none{color:var(--dim);margin:0}
    """
}

extension String {
  /// a name of the contract as words
  var spaced: String { String(map { $0 == "_" ? " " : $0 }) }
}
