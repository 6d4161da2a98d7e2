import JSON
import JSONRPC
import SessionStore

/// Events and their streams: section 5 of the contract.
enum EventMethods {
  static let all: [Method] = [
    store, storeMany, after, recent, deleteBefore, count, broadcast, subscribe, Subscriptions.unsubscribe,
  ]

  private static let content: [Parameter] = [
    .required(.data, .json, "The payload; kept as it is."),
    .optional(.eventType, .name, "\"message\" when absent."),
    .optional(.streamID, .name, "The stream that it belongs to."),
    .optional(.retry, .integer(0...4_294_967_295), "Milliseconds that a client should wait before it reconnects."),
    .optional(.timestamp, .integer(.safe), "Unix milliseconds; now when absent."),
  ]
  private static let stream = Parameter.optional(.streamID, .name, "Only events of this stream.")
  private static let format = Parameter.optional(
    .format, .choice(EventFormat.allCases.map(\.rawValue)),
    "json when absent; sse: frames to write to an SSE response, all named message; sse_typed: named by event type.")
  private static let readErrors: [ErrorKind] = [.sessionNotFound, .sessionExpired, .invalidSessionStatus]
  private static let writeErrors = readErrors + [.maxSessionWritesReached, .maxEventsReached, .payloadTooLarge]

  private static func event(_ call: Call) -> NewEvent {
    NewEvent(
      data: call.json(.data), eventType: call.optionalString(.eventType), streamID: call.optionalString(.streamID),
      retry: call.optionalInteger(.retry), timestamp: call.optionalInteger(.timestamp))
  }

  private static let store = Method(
    name: "store_event", summary: "Appends one event to a session.", access: .write,
    parameters: [.sessionID] + content + Parameter.owners,
    result: .described(
      .members([
        ("id", .integer), ("stream_id", .nullable(.string)), ("timestamp", RecordSchema.time), ("event_type", .string),
        ("retry", .nullable(.integer)),
      ]), "The event without its data."),
    errors: writeErrors,
    example: (
      #"{"session_id":"session-1","stream_id":"s1","data":{"jsonrpc":"2.0","method":"notifications/progress"}}"#,
      #"{"id":1,"stream_id":"s1","timestamp":1795210000000,"event_type":"message","retry":null}"#
    )
  ) { sidecar, call, writer in
    let event = event(call)
    let stored = try sidecar.store.storeEvent(call.string(.sessionID), event, owner: call.owner)
    writer.beginObject()
    writer.member("id", stored.id)
    writer.member("stream_id", event.streamID)
    writer.member("timestamp", stored.timestamp)
    writer.member("event_type", event.eventType ?? NewEvent.defaultType)
    writer.member("retry", event.retry)
    writer.endObject()
  }

  private static let storeMany = Method(
    name: "store_events", summary: "Appends several events to a session, all or none.", access: .write,
    parameters: [
      .sessionID, .required(.events, .list(of: .record(content), count: 1...10_000), "The events in their order."),
    ] + Parameter.owners,
    result: .members([("first_id", .integer), ("last_id", .integer)]),
    errors: writeErrors,
    example: (#"{"session_id":"session-1","events":[{"data":1},{"data":2}]}"#, #"{"first_id":2,"last_id":3}"#)
  ) { sidecar, call, writer in
    let events = try call.records(.events, content).map(event)
    let ids = try sidecar.store.storeEvents(call.string(.sessionID), events, owner: call.owner)
    writer.beginObject()
    writer.member("first_id", ids.firstID)
    writer.member("last_id", ids.lastID)
    writer.endObject()
  }

  private static let after = Method(
    name: "get_events_after", summary: "The events after a cursor, oldest first, and whether any were lost.",
    access: .read,
    parameters: [
      .sessionID,
      .optional(.afterEventID, .integer(.safe), "The last id that was seen; 0 (from the beginning) when absent."),
      stream, .optional(.limit, .integer(1...10_000), "Events at most; 1,000 when absent."), format,
    ] + Parameter.readers,
    result: .reference("EventPage"), errors: readErrors,
    example: (
      #"{"session_id":"session-1","after_event_id":2}"#,
      #"{"events":[{"id":3,"stream_id":null,"timestamp":1795210000000,"event_type":"message","data":2,"retry":null}],"#
        + #""next_after":3,"newest_id":3,"has_more":false,"gap":null,"cursor_ahead":false}"#
    )
  ) { sidecar, call, writer in
    try sidecar.eventPage(call, &writer) { visit in
      try sidecar.store.readEvents(
        call.string(.sessionID), after: call.integer(.afterEventID, default: 0),
        streamID: call.optionalString(.streamID), limit: Int(call.integer(.limit, default: 1_000)), owner: call.owner,
        visit: visit)
    }
  }

  private static let recent = Method(
    name: "get_recent_events", summary: "The newest events, returned oldest first.", access: .read,
    parameters: [
      .sessionID, .optional(.limit, .integer(1...10_000), "Events at most; 100 when absent."), stream, format,
    ] + Parameter.readers,
    result: .reference("EventPage"), errors: readErrors,
    example: (
      #"{"session_id":"session-1","limit":1,"format":"sse"}"#,
      #"{"frames":"id: 3\nevent: message\ndata: 2\n\n","next_after":3,"newest_id":3,"has_more":false,"gap":null,"#
        + #""cursor_ahead":false}"#
    )
  ) { sidecar, call, writer in
    try sidecar.eventPage(call, &writer) { visit in
      try sidecar.store.readRecentEvents(
        call.string(.sessionID), streamID: call.optionalString(.streamID),
        limit: Int(call.integer(.limit, default: 100)), owner: call.owner, visit: visit)
    }
  }

  private static let deleteBefore = Method(
    name: "delete_events_before", summary: "Deletes the events with ids strictly below one.", access: .write,
    parameters: [.sessionID, .required(.beforeEventID, .integer(.safe), "The first id that stays.")]
      + Parameter.owners,
    result: .members([("deleted", .integer)]), errors: readErrors + [.maxSessionWritesReached, .heldByLegalHold],
    example: (#"{"session_id":"session-1","before_event_id":3}"#, #"{"deleted":2}"#)
  ) { sidecar, call, writer in
    writer.beginObject()
    writer.member(
      "deleted",
      try sidecar.store.deleteEvents(
        call.string(.sessionID), before: call.integer(.beforeEventID, default: 0), owner: call.owner))
    writer.endObject()
  }

  private static let count = Method(
    name: "event_count", summary: "How many events a session holds, or without one the whole store.", access: .read,
    parameters: [.optional(.sessionID, .identifier, "The session.")] + Parameter.readers,
    result: .members([("count", .integer)]), errors: readErrors,
    example: (#"{"session_id":"session-1"}"#, #"{"count":1}"#)
  ) { sidecar, call, writer in
    writer.beginObject()
    writer.member("count", try sidecar.store.countEvents(call.optionalString(.sessionID), owner: call.owner))
    writer.endObject()
  }

  private static let broadcast = Method(
    name: "broadcast_event",
    summary: "Appends one event to each session that matches, all or none; owners match exactly.", access: .write,
    parameters: content.filter { $0.name != .streamID } + [
      .optional(.userID, .name, "Only this user's sessions.")
    ] + Parameter.owners + [
      .optional(.status, .choice(["pending", "active"]), "Only sessions of this status; active when absent.")
    ],
    result: .members([("sessions", .integer)]), errors: [.maxEventsReached, .payloadTooLarge],
    example: (#"{"data":{"notice":"restart at noon"},"user_id":"user-1"}"#, #"{"sessions":2}"#)
  ) { sidecar, call, writer in
    let count = try sidecar.store.broadcastEvent(event(call), SessionMethods.filter(call))
    writer.beginObject()
    writer.member("sessions", count)
    writer.endObject()
  }

  private static let subscribe = Method(
    name: "subscribe_events",
    summary: "Sends the session's events as notifications, the backlog after the cursor first, then live.",
    access: .read, isTransactional: false, isRepeatable: false,
    parameters: [
      .sessionID, .optional(.afterEventID, .integer(.safe), "The last id that was seen; from now on when absent."),
      stream, format,
    ] + Subscriptions.manners + Parameter.owners,
    result: .members([
      ("subscription_id", .string), ("newest_id", .integer), ("gap", .nullable(.reference("Gap"))),
      ("cursor_ahead", .boolean),
    ]),
    errors: readErrors + [.maxSubscriptionsReached],
    example: (
      #"{"session_id":"session-1","after_event_id":0}"#,
      #"{"subscription_id":"events-1","newest_id":3,"gap":{"dropped":2,"oldest_available":3},"cursor_ahead":false}"#
    )
  ) { sidecar, call, writer in
    let start = try sidecar.store.startReading(
      call.string(.sessionID), after: call.optionalInteger(.afterEventID), streamID: call.optionalString(.streamID),
      owner: call.owner)
    let id = try sidecar.subscribe(
      .events(start.reader), call,
      greeting: Subscriptions.Greeting(
        taskID: nil, sessionID: start.reader.sessionID, owners: start.reader.owners))
    writer.beginObject()
    writer.member("subscription_id", id)
    writer.member("newest_id", start.newestID)
    writer.gap(start.gap)
    writer.member("cursor_ahead", start.cursorAhead)
    writer.endObject()
  }
}

/// How events are handed out.
enum EventFormat: String, CaseIterable {
  case json, sse
  case sseTyped = "sse_typed"
}

extension Sidecar {
  /// Writes a page of events in the format that was asked for. The page ends early at the limit of an answer.
  fileprivate func eventPage(
    _ call: Call, _ writer: inout JSONWriter,
    read: (_ visit: (borrowing EventRow) throws -> Bool) throws -> EventPage
  ) throws {
    let format = call.choice(.format, as: EventFormat.self) ?? .json
    let budget = pageBudget
    let start = writer.count
    var count = 0
    let page: EventPage
    writer.beginObject()
    if format == .json {
      writer.name("events")
      writer.beginArray()
      var records = EventRecords()
      page = try read { event in
        let mark = writer.mark
        records.write(event, to: &writer)
        return Self.fits(&writer, mark, start, budget, &count)
      }
      writer.endArray()
    } else {
      writer.name("frames")
      page = try writer.string { pieces in
        try read { event in
          let before = pieces.count
          pieces.appendFrame(event, typed: format == .sseTyped)
          if count > 0, pieces.count - start > budget {
            pieces.rewind(to: before)
            return false
          }
          count += 1
          return true
        }
      }
    }
    if count == 1 { running.behind = ("next_after", .integer(page.nextAfter)) }
    writer.member("next_after", page.nextAfter)
    writer.member("newest_id", page.newestID)
    writer.member("has_more", page.hasMore)
    writer.gap(page.gap)
    writer.member("cursor_ahead", page.cursorAhead)
    writer.endObject()
  }

  /// Whether an entry that was just written still fits its page; takes it back when not. A page always has room for
  /// one.
  static func fits(
    _ writer: inout JSONWriter, _ mark: JSONWriter.Mark, _ start: Int, _ budget: Int, _ count: inout Int
  ) -> Bool {
    if count > 0, writer.count - start > budget {
      writer.rewind(to: mark)
      return false
    }
    count += 1
    return true
  }
}

extension JSONWriter {
  mutating func gap(_ gap: EventGap?) {
    name("gap")
    guard let gap else { return null() }
    beginObject()
    member("dropped", gap.dropped)
    member("oldest_available", gap.oldestAvailable)
    endObject()
  }
}

extension JSONWriter.StringPieces {
  /// One event as text/event-stream (https://html.spec.whatwg.org/multipage/server-sent-events.html).
  ///
  /// `ping` and `keepalive` become comments and carry no id: an id of a heartbeat would replace the client's
  /// Last-Event-ID.
  ///
  /// A line break in a payload stands between two values of it, where an empty line means nothing: it is left out, so
  /// that no payload becomes more than five times as long.
  mutating func appendFrame(_ event: borrowing EventRow, typed: Bool) {
    let type = event.eventType
    if type == "ping" || type == "keepalive" { return appendComment() }
    append("id: \(event.id)\nevent: ")
    // A line break in a type would begin a field of its own.
    append(typed ? String(type.map { $0.isNewline ? " " : $0 }) : NewEvent.defaultType)
    append("\n")
    event.withData { appendDataLines($0) }
    if let retry = event.retry { append("retry: \(retry)\n") }
    append("\n")
  }

  /// What keeps a connection open and means nothing.
  mutating func appendComment() { append(": keepalive\n\n") }

  /// A frame that is no event of the session, and so has no id: the client's Last-Event-ID stays.
  mutating func appendFrame(named name: String, data: Span<UInt8>) {
    append("event: \(name)\n")
    appendDataLines(data)
    append("\n")
  }

  private mutating func appendDataLines(_ data: Span<UInt8>) {
    var start = 0
    while start < data.count {
      var end = start
      while end < data.count, data[end] != UInt8(ascii: "\r"), data[end] != UInt8(ascii: "\n") { end += 1 }
      if end > start {
        append("data: ")
        append(data.extracting(start..<end))
        append("\n")
      }
      start = end + 1
    }
  }
}
