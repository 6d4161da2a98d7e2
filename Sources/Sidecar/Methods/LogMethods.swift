import JSON
import JSONRPC
import SessionStore

/// The append-only log of a session: section 7 of the contract.
enum LogMethods {
  static let all: [Method] = [append, load, replace, compact, participants, noteIDs]

  private static let writeErrors: [ErrorKind] = [
    .sessionNotFound, .sessionExpired, .invalidSessionStatus, .payloadTooLarge, .maxSessionWritesReached,
  ]
  private static let kinds = NewLogEntry.Kind.allCases.map(\.rawValue)

  /// What is read of an entry that has it: under our names, and under those that the MACP runtime writes.
  private static let entryMembers: [Parameter] = members(kinds)
  private static let checkpointMembers: [Parameter] = members([NewLogEntry.Kind.checkpoint.rawValue])

  private static func members(_ kinds: [String]) -> [Parameter] {
    [
      .optional(.messageID, .text(1_024), "What makes the entry one and the same when it is sent again."),
      .optional(.kind, .anyCase(kinds), "What kind of entry it is."),
      .optional(.entryKind, .anyCase(kinds), "The same."),
      .optional(.receivedAt, .integer(.safe), "Unix milliseconds."),
      .optional(.receivedAtMS, .integer(.safe), "The same."),
      // Whatever else it may be is the caller's own.
      .optional(.sender, .json, "Who wrote it."),
    ]
  }

  private static func entry(_ record: Call, as kind: NewLogEntry.Kind? = nil) throws -> NewLogEntry {
    let (named, other) = (readKind(record, .kind), readKind(record, .entryKind))
    if let named, let other, named != other { throw record.refused(.entryKind, expected: "what kind says") }
    let (time, otherTime) = (record.optionalInteger(.receivedAt), record.optionalInteger(.receivedAtMS))
    if let time, let otherTime, time != otherTime {
      throw record.refused(.receivedAtMS, expected: "what received_at says")
    }
    let sender = record.has(.sender) ? record.json(.sender).decodedString : nil
    return NewLogEntry(
      record.object, messageID: record.optionalString(.messageID), kind: kind ?? named ?? other,
      sender: sender.flatMap { $0.utf8.count <= 1_024 ? $0 : nil }, receivedAt: time ?? otherTime)
  }

  private static func readKind(_ record: Call, _ name: ParameterName) -> NewLogEntry.Kind? {
    record.choiceInAnyCase(name, as: NewLogEntry.Kind.self)
  }

  private static let append = Method(
    name: "append_log_entry", summary: "Appends one entry to a session's log, once for each message id.",
    access: .write,
    parameters: [
      .sessionID,
      .required(
        .entry, .object,
        "Any object, kept as it is; message_id, kind (\(kinds.joined(separator: ", "))), received_at and sender "
          + "are read of it."),
      .optional(.deduplicate, .boolean, "Whether a known message_id is noticed; true when absent."),
    ] + Parameter.owners,
    result: .members([
      (
        "seq",
        .described(.integer, "Where it stands; of a duplicate, where it first was, 0 if its id was only noted.")
      ),
      ("duplicate", .described(.boolean, "Whether the message was known, and nothing was appended.")),
    ]),
    errors: writeErrors,
    example: (
      #"{"session_id":"session-1","entry":{"message_id":"m-1","kind":"incoming","payload":[222,173]}}"#,
      #"{"seq":1,"duplicate":false}"#
    )
  ) { sidecar, call, writer in
    let appended = try sidecar.store.appendLogEntry(
      call.string(.sessionID), entry(call.openRecord(.entry, entryMembers)),
      deduplicate: call.optionalBoolean(.deduplicate) ?? true, owner: call.owner)
    writer.beginObject()
    writer.member("seq", appended.seq)
    writer.member("duplicate", appended.isDuplicate)
    writer.endObject()
  }

  private static let load = Method(
    name: "load_log", summary: "The entries of a session's log after a seq.", access: .read,
    parameters: [
      .sessionID,
      .optional(.afterSeq, .integer(.safe), "next_after of the page before; 0, the beginning, when absent."),
      .optional(.kind, .choice(kinds), "Only entries of this kind."),
      .optional(
        .fromLastCheckpoint, .boolean, "Begins with the newest checkpoint, if there is one; false when absent."),
      .optional(.limit, .integer(1...1_000), "Entries at most; 1,000 when absent."),
    ] + Parameter.readers,
    result: .members([
      ("entries", .array(.members([("seq", .integer), ("entry", .payload(.object))]))),
      ("next_after", .described(.integer, "The cursor of the next page; pass it back as it is.")),
      ("newest_seq", .described(.integer, "The last that was given out; 0: none yet.")),
      ("oldest_seq", .described(.nullable(.integer), "The first that is still there; null when nothing is.")),
      ("has_more", .boolean),
    ]),
    errors: [.sessionNotFound, .sessionExpired, .invalidSessionStatus],
    example: (
      #"{"session_id":"session-1","from_last_checkpoint":true}"#,
      #"{"entries":[{"seq":3,"entry":{"kind":"checkpoint","turn":2}}],"next_after":3,"newest_seq":3,"#
        + #""oldest_seq":1,"has_more":false}"#
    )
  ) { sidecar, call, writer in
    writer.beginObject()
    writer.name("entries")
    writer.beginArray()
    let start = writer.count
    var count = 0
    let page = try sidecar.store.loadLog(
      call.string(.sessionID), after: call.integer(.afterSeq, default: 0),
      kind: call.choice(.kind, as: NewLogEntry.Kind.self), fromCheckpoint: call.boolean(.fromLastCheckpoint),
      limit: Int(call.integer(.limit, default: 1_000)), owner: call.owner
    ) { row in
      let mark = writer.mark
      writer.beginObject()
      writer.member("seq", row.seq)
      writer.name("entry")
      writer.validated { row.appendEntry(to: &$0) }
      writer.endObject()
      return Sidecar.fits(&writer, mark, start, sidecar.pageBudget, &count)
    }
    writer.endArray()
    if count == 1 { sidecar.running.behind = ("next_after", .integer(page.nextAfter)) }
    writer.member("next_after", page.nextAfter)
    writer.member("newest_seq", page.newestSeq)
    writer.member("oldest_seq", page.oldestSeq)
    writer.member("has_more", page.hasMore)
    writer.endObject()
  }

  private static let replace = Method(
    name: "replace_log", summary: "Puts entries in the place of the whole log; the numbering goes on.",
    access: .write,
    parameters: [
      .sessionID,
      .required(.entries, .list(of: .object, count: 0...100_000), "The entries in order, as in append_log_entry."),
    ] + Parameter.owners,
    result: .members([
      ("first_seq", .described(.nullable(.integer), "null when there are no entries.")),
      ("last_seq", .nullable(.integer)),
    ]),
    errors: writeErrors + [.heldByLegalHold],
    example: (
      #"{"session_id":"session-1","entries":[{"message_id":"m-1"},{"message_id":"m-2"}]}"#,
      #"{"first_seq":4,"last_seq":5}"#
    )
  ) { sidecar, call, writer in
    let entries = try call.openRecords(.entries, entryMembers) { try entry($0) }
    let replaced = try sidecar.store.replaceLog(call.string(.sessionID), entries, owner: call.owner)
    writer.beginObject()
    writer.member("first_seq", replaced?.first)
    writer.member("last_seq", replaced?.last)
    writer.endObject()
  }

  private static let compact = Method(
    name: "compact_log", summary: "Puts one checkpoint in the place of the whole log; message ids stay known.",
    access: .write,
    parameters: [
      .sessionID,
      .required(.checkpoint, .object, "The entry that stands for all before it; its kind is checkpoint."),
    ] + Parameter.owners,
    result: .members([
      ("removed", .described(.integer, "Entries that are gone.")),
      ("seq", .described(.integer, "Where the checkpoint stands.")),
    ]),
    errors: writeErrors + [.heldByLegalHold],
    example: (#"{"session_id":"session-1","checkpoint":{"turn":9}}"#, #"{"removed":2,"seq":6}"#)
  ) { sidecar, call, writer in
    let record = try call.openRecord(.checkpoint, checkpointMembers)
    let compacted = try sidecar.store.compactLog(
      call.string(.sessionID), entry(record, as: .checkpoint), owner: call.owner)
    writer.beginObject()
    writer.member("removed", compacted.removed)
    writer.member("seq", compacted.seq)
    writer.endObject()
  }

  private static let participants = Method(
    name: "log_participants", summary: "Who wrote to a session's log: how many entries, and when the last.",
    access: .read, parameters: [.sessionID] + Parameter.page + Parameter.readers,
    result: .members([
      (
        "participants",
        .array(
          .members([
            (
              "sender",
              .described(.nullable(.string), "null: all beyond \(Store.maxParticipants) senders, counted together.")
            ),
            ("entries", .described(.integer, "Appended since the log began, compacted ones included.")),
            ("first_seen", RecordSchema.time), ("last_seen", RecordSchema.time),
            ("last_seq", .described(.integer, "Where the last entry was appended.")),
          ]))
      ),
      ("next_cursor", .nullable(.string)),
    ]),
    errors: [.sessionNotFound, .sessionExpired, .invalidSessionStatus],
    example: (
      #"{"session_id":"session-1"}"#,
      #"{"participants":[{"sender":"agent-a","entries":2,"first_seen":1795210000100,"last_seen":1795210000900,"#
        + #""last_seq":3}],"next_cursor":null}"#
    )
  ) { sidecar, call, writer in
    try sidecar.page(call, &writer, list: .logParticipants, name: "participants") { page in
      try sidecar.store.logParticipants(
        call.string(.sessionID), after: page.after, limit: page.limit, owner: call.owner
      ) { participant in
        page.add(participant.number) { writer in
          writer.beginObject()
          writer.member("sender", participant.sender)
          writer.member("entries", participant.entries)
          writer.member("first_seen", participant.firstSeen)
          writer.member("last_seen", participant.lastSeen)
          writer.member("last_seq", participant.lastSeq)
          writer.endObject()
        }
      }
    }
  }

  private static let noteIDs = Method(
    name: "note_log_message_ids",
    summary: "Makes message ids known that were seen elsewhere: what has one of them is a duplicate from then on.",
    access: .write, isRepeatable: true,
    parameters: [
      .sessionID,
      .required(.messageIDs, .list(of: .text(1_024), count: 1...10_000), "The ids, the oldest first."),
    ] + Parameter.owners,
    result: .members([
      ("noted", .described(.integer, "How many were not known.")),
      ("known", .described(.integer, "How many were, and stay as they are.")),
    ]),
    errors: [.sessionNotFound, .sessionExpired, .invalidSessionStatus, .maxSessionWritesReached],
    example: (#"{"session_id":"session-1","message_ids":["m-7","m-8"]}"#, #"{"noted":2,"known":0}"#)
  ) { sidecar, call, writer in
    let ids = call.strings(.messageIDs)
    let noted = try sidecar.store.noteLogMessageIDs(call.string(.sessionID), ids, owner: call.owner)
    writer.beginObject()
    writer.member("noted", noted)
    writer.member("known", Int64(ids.count) - noted)
    writer.endObject()
  }
}
