import Database
import SHA256

/// The tables, as a list of forward migrations: the file's `user_version` says how many of them it has had.
///
/// Rules that the statements keep, so that another engine can run them: plain types, no triggers, no views, a `number`
/// that the store assigns from its own counter instead of an engine's auto-increment.
package struct Schema {
  /// "MCPs" in ASCII: marks a file as ours (https://www.sqlite.org/pragma.html#pragma_application_id)
  package static let applicationID: Int64 = 0x4D43_5073

  /// SQL by version: the first element makes version 1 of an empty file
  package let migrations: [String]
  /// what makes the last version of an empty file at once; nil: the migrations do, one after the other
  package let whole: String?

  package init(migrations: [String], whole: String? = nil) {
    self.migrations = migrations
    self.whole = whole
  }

  package var version: Int64 { Int64(migrations.count) }

  package static let current = Schema(migrations: [first, second, third], whole: newest)

  /// What a version moves that SQL alone cannot, in the same transaction: by the version that it makes.
  static let moves: [Int64: @Sendable (Connection) throws -> Void] = [3: { try TaskSplit.run(in: $0) }]

  /// By the version that brought them: each must be there and readable, or the file is damaged.
  private static let tables = [
    [
      "store", "sessions", "session_state", "events", "stream_losses", "tasks", "task_messages", "nonces",
      "named_values",
    ],
    ["log_entries", "log_message_ids", "audit_events", "rate_limits"],
    [
      "task_payloads", "task_input_keys", "log_participants", "audit_chains", "work", "work_groups",
      "event_subscriptions", "retention", "legal_holds", "archive_claims",
    ],
  ]

  /// The tables of a file of this version.
  static func tables(of version: Int64) -> [String] { tables.prefix(Int(version)).flatMap { $0 } }

  private static let first = """
    -- One row: the counters that every writing group takes along.
    CREATE TABLE store (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      revision INTEGER NOT NULL,       -- the last revision that was given out; also the last insertion number
      sessions INTEGER NOT NULL,       -- rows, expired ones included
      events INTEGER NOT NULL,         -- events above their session's floor
      tasks INTEGER NOT NULL,
      named_values INTEGER NOT NULL
    ) STRICT;
    INSERT INTO store VALUES (1, 0, 0, 0, 0, 0);

    CREATE TABLE sessions (
      number INTEGER PRIMARY KEY,      -- the order of creation; never reused
      session_id TEXT NOT NULL UNIQUE,
      tenant_id TEXT,
      principal TEXT,
      status TEXT NOT NULL,
      last_activity INTEGER NOT NULL,  -- all times: Unix milliseconds
      expires_at INTEGER,
      inactivity_timeout INTEGER,
      suspended_at INTEGER,
      last_event_id INTEGER NOT NULL,
      event_floor INTEGER NOT NULL,    -- events up to this id are gone for every reader
      event_trimmed INTEGER NOT NULL,  -- and up to this id their rows are deleted
      state_bytes INTEGER NOT NULL,    -- size of the state, keys and values
      revision INTEGER NOT NULL,
      check_at INTEGER,                -- not after the earliest deadline: when a sweep has to look at the row
      user_id TEXT,
      client_capabilities TEXT,
      server_capabilities TEXT,
      metadata TEXT NOT NULL,
      is_initialized INTEGER NOT NULL,
      created_at INTEGER NOT NULL,
      ip_address TEXT,                 -- the first ones that validate_session saw
      user_agent TEXT
    ) STRICT;
    CREATE INDEX sessions_by_check ON sessions (check_at) WHERE check_at IS NOT NULL;
    CREATE INDEX sessions_by_user ON sessions (user_id, number) WHERE user_id IS NOT NULL;

    CREATE TABLE session_state (
      number INTEGER PRIMARY KEY,      -- the order in which keys were first set
      session INTEGER NOT NULL,
      key TEXT NOT NULL,
      value TEXT NOT NULL,
      UNIQUE (session, key)
    ) STRICT;

    -- A rowid table, so that appends stay at the end of the file whatever the session.
    CREATE TABLE events (
      session INTEGER NOT NULL,
      id INTEGER NOT NULL,             -- from 1 in each session, contiguous as stored, never reused
      stream_id TEXT,
      event_type TEXT,                 -- NULL: "message"
      timestamp INTEGER NOT NULL,
      retry INTEGER,
      data TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX events_by_session ON events (session, id);

    -- What a stream lost when event rows were deleted: it tells a reader of one stream whether it missed something.
    CREATE TABLE stream_losses (
      session INTEGER NOT NULL,
      stream_id TEXT NOT NULL,
      lost INTEGER NOT NULL,           -- events
      first_id INTEGER NOT NULL,
      last_id INTEGER NOT NULL,
      PRIMARY KEY (session, stream_id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE tasks (
      number INTEGER PRIMARY KEY,
      task_id TEXT NOT NULL UNIQUE,
      session_id TEXT,
      tenant_id TEXT,
      principal TEXT,
      status TEXT NOT NULL,
      status_message TEXT,
      created_at INTEGER NOT NULL,
      last_updated_at INTEGER NOT NULL,
      ttl INTEGER,
      expires_at INTEGER,              -- created_at + ttl; the task has lapsed when now is later
      poll_interval INTEGER,
      original_method TEXT,
      original_params TEXT,
      result TEXT,                     -- {"success": …} or {"error": …}
      input_requests TEXT,             -- what is still asked for
      input_responses TEXT,            -- all that was ever answered
      input_keys TEXT,                 -- an array of all keys that were ever asked for: none is used twice
      cancel_requested INTEGER NOT NULL,
      meta TEXT,
      revision INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX tasks_by_session ON tasks (session_id, number) WHERE session_id IS NOT NULL;
    CREATE INDEX tasks_by_expiry ON tasks (expires_at) WHERE expires_at IS NOT NULL;

    CREATE TABLE task_messages (
      number INTEGER PRIMARY KEY,
      task INTEGER NOT NULL,
      message TEXT NOT NULL
    ) STRICT;
    CREATE INDEX task_messages_by_task ON task_messages (task, number);

    CREATE TABLE nonces (
      nonce TEXT NOT NULL,
      principal TEXT NOT NULL,         -- '' without an owner: names are never empty
      expires_at INTEGER NOT NULL,
      PRIMARY KEY (nonce, principal)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX nonces_by_expiry ON nonces (expires_at);

    CREATE TABLE named_values (
      number INTEGER PRIMARY KEY,
      tenant_id TEXT NOT NULL,         -- '' without one, as above
      principal TEXT NOT NULL,
      collection TEXT NOT NULL,
      key TEXT NOT NULL,
      value TEXT NOT NULL,
      expires_at INTEGER,
      revision INTEGER NOT NULL,
      UNIQUE (tenant_id, principal, collection, key)
    ) STRICT;
    CREATE INDEX named_values_in_order ON named_values (tenant_id, principal, collection, number);
    CREATE INDEX named_values_by_expiry ON named_values (expires_at) WHERE expires_at IS NOT NULL;
    """

  private static let second = """
    ALTER TABLE store ADD COLUMN log_entries INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE store ADD COLUMN audit_number INTEGER NOT NULL DEFAULT 0;     -- the last that was given out
    ALTER TABLE store ADD COLUMN lifecycle_events INTEGER NOT NULL DEFAULT 0; -- rows of the audit trail, by ring
    ALTER TABLE store ADD COLUMN security_events INTEGER NOT NULL DEFAULT 0;

    ALTER TABLE sessions ADD COLUMN last_log_seq INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN log_floor INTEGER NOT NULL DEFAULT 0;      -- entries up to this seq are gone
    ALTER TABLE sessions ADD COLUMN log_checkpoint INTEGER NOT NULL DEFAULT 0; -- seq of the newest checkpoint; 0: none
    ALTER TABLE sessions ADD COLUMN log_ids INTEGER NOT NULL DEFAULT 0;        -- message ids that were ever noted
    ALTER TABLE sessions ADD COLUMN log_ids_seq INTEGER NOT NULL DEFAULT 0;    -- up to this seq they are in blocks
    ALTER TABLE sessions ADD COLUMN violations INTEGER NOT NULL DEFAULT 0;

    CREATE TABLE log_entries (
      session INTEGER NOT NULL,
      seq INTEGER NOT NULL,            -- from 1 in each session, contiguous, never reused
      kind TEXT,
      entry TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX log_entries_by_session ON log_entries (session, seq);

    -- What tells a repeated message from a new one outlives the entries: blocks of message ids, written once an entry's
    -- ids are many or it goes.
    CREATE TABLE log_message_ids (
      session INTEGER NOT NULL,
      ordinal INTEGER NOT NULL,        -- of the last id in it: they are counted by session, and the last so many known
      ids TEXT NOT NULL,               -- [seq, id, seq, id, …]: where each was first appended
      PRIMARY KEY (session, ordinal)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE audit_events (
      number INTEGER PRIMARY KEY,
      ring TEXT NOT NULL,              -- lifecycle or security: each is trimmed by itself
      type TEXT NOT NULL,
      severity TEXT,
      timestamp INTEGER NOT NULL,
      session_id TEXT,                 -- copied, because the trail outlives the session
      user_id TEXT,
      tenant_id TEXT,
      principal TEXT,
      status_before TEXT,
      status_after TEXT,
      message TEXT,
      ip_address TEXT,
      action TEXT
    ) STRICT;
    CREATE INDEX audit_events_by_ring ON audit_events (ring, number);

    CREATE TABLE rate_limits (
      key TEXT PRIMARY KEY,
      arrival INTEGER NOT NULL,        -- the theoretical arrival time: Unix nanoseconds
      check_at INTEGER NOT NULL        -- Unix milliseconds, not after it: when a sweep has to look at the row
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX rate_limits_by_check ON rate_limits (check_at);
    """

  private static let third = [
    rowsOfSessions, ownerIndexes, endsOfSessions, orderOfState, splitTasks, lastUUID, logParticipants, suspensions,
    lineage, writeAllowances, rowsOfEvents, rowsOfLogEntries, endedSessions, auditChains, work, policies,
  ].joined(separator: "\n")

  /// Tasks and the audit trail name the row of their session beside its id, which may be used again. What was there
  /// before belongs to the session that has its id now only where it cannot have belonged to a former one: numbers
  /// ascend, and a session was created behind whatever was removed last under its id. In doubt it belongs to none.
  private static let rowsOfSessions = """
    ALTER TABLE tasks ADD COLUMN session INTEGER;        -- number of the session, which may be gone by now
    ALTER TABLE audit_events ADD COLUMN session INTEGER; -- as above; NULL where there was none

    UPDATE tasks SET session = sessions.number FROM sessions
    WHERE sessions.session_id = tasks.session_id AND tasks.number > sessions.number
      AND tasks.created_at >= sessions.created_at
      AND coalesce(sessions.tenant_id = tasks.tenant_id, 1)
      AND coalesce(sessions.principal = tasks.principal, 1);

    UPDATE audit_events SET session = lives.number FROM (
      SELECT sessions.number, sessions.session_id, changes.begun FROM sessions JOIN (
        SELECT session_id, max(CASE WHEN type = 'created' THEN number END) AS begun,
          max(CASE WHEN type IN ('expired', 'deleted') THEN number END) AS ended
        FROM audit_events WHERE ring = 'lifecycle' GROUP BY session_id
      ) AS changes ON changes.session_id = sessions.session_id
      WHERE changes.begun > coalesce(changes.ended, 0)
    ) AS lives
    WHERE lives.session_id = audit_events.session_id AND audit_events.number >= lives.begun;

    DROP INDEX tasks_by_session;
    CREATE INDEX tasks_by_session ON tasks (session_id, session, number) WHERE session_id IS NOT NULL;
    """

  /// What an owner sees is found without what others have, in the order of lists. What is bound to nobody at all stands
  /// in one of the three alone, because a server without owners pays for each: see ``Filter``.
  private static let ownerIndexes = """
    CREATE INDEX sessions_by_owners ON sessions (tenant_id, principal, number);
    CREATE INDEX sessions_by_principal ON sessions (principal, number)
      WHERE principal IS NOT NULL OR tenant_id IS NOT NULL;
    CREATE INDEX sessions_by_tenant ON sessions (tenant_id, number)
      WHERE principal IS NOT NULL OR tenant_id IS NOT NULL;
    CREATE INDEX tasks_by_owners ON tasks (tenant_id, principal, number);
    CREATE INDEX tasks_by_principal ON tasks (principal, number)
      WHERE principal IS NOT NULL OR tenant_id IS NOT NULL;
    CREATE INDEX tasks_by_tenant ON tasks (tenant_id, number)
      WHERE principal IS NOT NULL OR tenant_id IS NOT NULL;
    """

  /// What is expired or cannot be read any more is found without the rest, and so is how a session ended.
  private static let endsOfSessions = """
    CREATE INDEX sessions_invalidated ON sessions (number) WHERE status = 'invalidated';
    -- Not IN: of three texts SQLite makes a table of its own with each new row.
    CREATE INDEX audit_events_of_ends ON audit_events (session)
      WHERE type = 'expired' OR type = 'resolved' OR type = 'deleted';
    """

  /// Keys of a state are listed in the order in which they were first set.
  private static let orderOfState = "CREATE INDEX session_state_in_order ON session_state (session, number);"

  /// Rows of tasks become narrow: what is large stands beside them, and its columns there are NULL then. So is
  /// input_keys for ever.
  private static let splitTasks = """
    ALTER TABLE tasks ADD COLUMN queue_size INTEGER NOT NULL DEFAULT 0; -- rows of task_messages
    ALTER TABLE tasks ADD COLUMN input_keys_used INTEGER NOT NULL DEFAULT 0; -- rows of task_input_keys
    ALTER TABLE tasks ADD COLUMN payloads_apart INTEGER NOT NULL DEFAULT 0; -- rows of task_payloads
    ALTER TABLE store ADD COLUMN tasks_removed INTEGER NOT NULL DEFAULT 0; -- ever: tells a reader to look for ends
    CREATE INDEX tasks_by_revision ON tasks (session, revision) WHERE session IS NOT NULL;
    CREATE INDEX tasks_by_status ON tasks (status, number);

    -- Those of more than 512 bytes; others stand in the task's row.
    CREATE TABLE task_payloads (
      number INTEGER PRIMARY KEY,
      task INTEGER NOT NULL,
      field TEXT NOT NULL,             -- original_params, result, input_requests, input_responses or meta
      payload TEXT NOT NULL,
      UNIQUE (task, field)
    ) STRICT;

    -- All keys that a task ever asked for: none is used twice.
    CREATE TABLE task_input_keys (
      number INTEGER PRIMARY KEY,
      task INTEGER NOT NULL,
      key TEXT NOT NULL,
      UNIQUE (task, key)
    ) STRICT;
    """

  /// The UUID that was given last, so that they ascend over restarts, processes and clocks that go back.
  private static let lastUUID = """
    ALTER TABLE store ADD COLUMN last_uuid_high INTEGER NOT NULL DEFAULT 0; -- 48 bits of time, 12 of rand_a
    ALTER TABLE store ADD COLUMN last_uuid_low INTEGER NOT NULL DEFAULT 0;  -- 62 bits of rand_b
    """

  /// Who wrote to a log, and when last: it outlives the entries, as a log may be compacted.
  private static let logParticipants = """
    CREATE TABLE log_participants (
      number INTEGER PRIMARY KEY,      -- the order in which they were first seen
      session INTEGER NOT NULL,
      sender TEXT NOT NULL,            -- '': all that there was no room for
      entries INTEGER NOT NULL,
      first_seen INTEGER NOT NULL,
      last_seen INTEGER NOT NULL,
      last_seq INTEGER NOT NULL,
      UNIQUE (session, sender)
    ) STRICT;
    """

  /// What tells whether a log that a dead process left belongs to the file that it stands beside: ``LogLineage``.
  private static let lineage = """
    ALTER TABLE store ADD COLUMN lineage INTEGER NOT NULL DEFAULT 0;  -- random, the same in copies; 0: not chosen yet
    ALTER TABLE store ADD COLUMN log_base INTEGER NOT NULL DEFAULT 0; -- the file's revision when its log was begun
    """

  /// NULL until the first suspension is over.
  private static let suspensions = """
    ALTER TABLE sessions ADD COLUMN suspended_ms INTEGER; -- by all suspensions that are over
    ALTER TABLE sessions ADD COLUMN suspensions INTEGER;  -- how many those were
    """

  /// Where the writes of sessions are limited; else NULL.
  private static let writeAllowances = """
    ALTER TABLE sessions ADD COLUMN write_arrival INTEGER; -- of its last write, as in rate_limits
    """

  /// A row may hold several events: see ``EventChunk``. What was there before are rows of one.
  private static let rowsOfEvents = """
    ALTER TABLE events ADD COLUMN first_id INTEGER; -- of several events in the row, whose last is id; else NULL
    ALTER TABLE events ADD COLUMN times TEXT; -- of several: what each is behind timestamp; NULL: nothing
    """

  /// The same of log entries: see ``LogChunk``.
  private static let rowsOfLogEntries = """
    ALTER TABLE log_entries ADD COLUMN first_seq INTEGER; -- of several entries in the row, whose last is seq; else NULL
    """

  /// A session may outlive its end. What an older program has ended is not kept: half of it may be gone.
  private static let endedSessions = """
    ALTER TABLE sessions ADD COLUMN ended_at INTEGER; -- NULL while it lives; 0: it is being removed
    ALTER TABLE store ADD COLUMN ended_sessions INTEGER NOT NULL DEFAULT 0; -- sessions that have ended_at
    UPDATE sessions SET ended_at = 0, check_at = NULL WHERE status = 'expired';
    UPDATE store SET ended_sessions = (SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL);
    CREATE INDEX sessions_by_end ON sessions (ended_at, number) WHERE ended_at IS NOT NULL;
    CREATE INDEX sessions_by_suspension ON sessions (suspended_at) WHERE suspended_at IS NOT NULL AND ended_at IS NULL;
    """

  /// Each ring of the audit trail becomes a chain, behind what is there.
  private static let auditChains = """
    -- 128 random bits, or the digest of what was erased, and the hash; NULL: older than the chain
    ALTER TABLE audit_events ADD COLUMN seal TEXT;

    CREATE TABLE audit_chains (
      ring TEXT PRIMARY KEY,
      begins_after INTEGER NOT NULL,   -- events up to this number are evicted or older
      hash TEXT NOT NULL               -- what the first one behind it follows
    ) STRICT, WITHOUT ROWID;
    INSERT INTO audit_chains SELECT 'lifecycle', audit_number, '\(AuditChain.start.text)' FROM store;
    INSERT INTO audit_chains SELECT 'security', audit_number, '\(AuditChain.start.text)' FROM store;
    """

  /// What a tenant's data is kept by, and what must stay.
  private static let policies = """
    ALTER TABLE store ADD COLUMN policy_changes INTEGER NOT NULL DEFAULT 0;

    CREATE TABLE retention (
      number INTEGER PRIMARY KEY,
      tenant_id TEXT NOT NULL UNIQUE,
      retain_ended INTEGER,
      max_events_per_session INTEGER,
      max_task_ttl INTEGER,
      max_log_entries_per_session INTEGER,
      audit_retention INTEGER
    ) STRICT;

    CREATE TABLE legal_holds (
      number INTEGER PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      tenant_id TEXT,
      principal TEXT,
      reason TEXT,
      placed_at INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE archive_claims (
      id INTEGER PRIMARY KEY,
      file TEXT NOT NULL,
      path TEXT NOT NULL,
      lapses_at INTEGER NOT NULL
    ) STRICT;
    """

  /// Leased work: `NewestSchema.swift` says what each column is.
  private static let work = """
    ALTER TABLE store ADD COLUMN work INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE store ADD COLUMN work_done INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE store ADD COLUMN work_dead INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE store ADD COLUMN event_subscriptions INTEGER NOT NULL DEFAULT 0;

    CREATE TABLE work (
      number INTEGER PRIMARY KEY,
      queue TEXT NOT NULL,
      work_id TEXT NOT NULL,
      tenant_id TEXT,
      principal TEXT,
      work_group INTEGER,
      subscription INTEGER,
      seq INTEGER NOT NULL,
      position INTEGER,
      status TEXT NOT NULL,
      line INTEGER,
      wakes_at INTEGER,
      attempt INTEGER NOT NULL,
      max_attempts INTEGER,
      give_up_after INTEGER,
      give_up_at INTEGER,
      fence INTEGER,
      held INTEGER NOT NULL,
      worker TEXT,
      error TEXT,
      enqueued_at INTEGER NOT NULL,
      finished_at INTEGER,
      payload TEXT NOT NULL,           -- null of what is done
      UNIQUE (queue, work_id)
    ) STRICT;
    CREATE INDEX work_of_queue ON work (queue, number);
    CREATE INDEX work_in_line ON work (queue, line) WHERE line IS NOT NULL AND work_group IS NULL;
    CREATE INDEX work_in_line_of_group ON work (work_group, line) WHERE line IS NOT NULL AND work_group IS NOT NULL;
    CREATE INDEX work_of_group ON work (work_group, finished_at, seq) WHERE work_group IS NOT NULL;
    CREATE INDEX work_by_group ON work (work_group, number) WHERE work_group IS NOT NULL;
    CREATE INDEX work_by_position ON work (work_group, position) WHERE position IS NOT NULL AND finished_at IS NULL;
    CREATE INDEX work_by_waking ON work (queue, wakes_at) WHERE wakes_at IS NOT NULL;
    CREATE INDEX work_finished ON work (status, finished_at) WHERE finished_at IS NOT NULL;
    CREATE INDEX work_by_principal ON work (principal, number) WHERE principal IS NOT NULL;
    CREATE INDEX work_by_tenant ON work (tenant_id, number) WHERE tenant_id IS NOT NULL;
    CREATE INDEX work_open_of_principal ON work (principal, tenant_id)
      WHERE principal IS NOT NULL AND finished_at IS NULL;

    CREATE TABLE work_groups (
      number INTEGER PRIMARY KEY,
      queue TEXT NOT NULL,
      name TEXT,
      subscription INTEGER,
      is_ordered INTEGER NOT NULL,
      in_flight INTEGER NOT NULL,
      items INTEGER NOT NULL,
      last_seq INTEGER NOT NULL,
      last_position INTEGER,
      line INTEGER,
      stopped INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX work_groups_by_name ON work_groups (queue, name);
    CREATE UNIQUE INDEX work_groups_of_subscription ON work_groups (subscription, queue) WHERE subscription IS NOT NULL;
    CREATE INDEX work_groups_in_line ON work_groups (queue, in_flight, line) WHERE line IS NOT NULL;

    CREATE TABLE event_subscriptions (
      number INTEGER PRIMARY KEY,
      subscription_id TEXT NOT NULL,
      tenant_id TEXT,
      principal TEXT,
      topic TEXT NOT NULL,
      data TEXT,
      secret TEXT,
      previous_secret TEXT,
      previous_secret_until INTEGER,
      active INTEGER NOT NULL,
      start_after INTEGER,
      watermark INTEGER,
      created_at INTEGER NOT NULL,
      expires_at INTEGER,
      inactive_since INTEGER,
      inactive_ms INTEGER NOT NULL,
      last_success_at INTEGER,
      last_failure_at INTEGER,
      failed_since INTEGER,
      last_error TEXT,
      window_start INTEGER NOT NULL,
      window_attempts INTEGER NOT NULL,
      window_failures INTEGER NOT NULL,
      attempts_before INTEGER NOT NULL,
      failures_before INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      ended_at INTEGER,
      end_reason TEXT,
      ended_queue TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX event_subscriptions_by_id ON event_subscriptions (subscription_id) WHERE ended_at IS NULL;
    CREATE INDEX event_subscriptions_by_topic ON event_subscriptions (topic, number) WHERE ended_at IS NULL;
    CREATE INDEX event_subscriptions_by_principal ON event_subscriptions (principal, number)
      WHERE principal IS NOT NULL;
    CREATE INDEX event_subscriptions_by_tenant ON event_subscriptions (tenant_id, number) WHERE tenant_id IS NOT NULL;
    CREATE INDEX event_subscriptions_by_expiry ON event_subscriptions (expires_at)
      WHERE expires_at IS NOT NULL AND ended_at IS NULL;
    CREATE INDEX event_subscriptions_by_end ON event_subscriptions (ended_queue, expires_at)
      WHERE expires_at IS NOT NULL AND ended_at IS NULL;
    CREATE INDEX event_subscriptions_inactive ON event_subscriptions (inactive_since)
      WHERE inactive_since IS NOT NULL AND ended_at IS NULL;
    """
}
