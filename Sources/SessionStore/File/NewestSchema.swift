import SHA256

/// The newest version in one go, for a file that is made: the migrations, one after the other, take a new store half as
/// long again to start. A test proves that both make the same.
extension Schema {
  static let newest = """
    -- One row: the counters that every writing group takes along.
    CREATE TABLE store (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      revision INTEGER NOT NULL,       -- the last revision that was given out; also the last insertion number
      sessions INTEGER NOT NULL,       -- rows, expired ones included
      events INTEGER NOT NULL,         -- events above their session's floor
      tasks INTEGER NOT NULL,
      named_values INTEGER NOT NULL,
      log_entries INTEGER NOT NULL DEFAULT 0,
      audit_number INTEGER NOT NULL DEFAULT 0,  -- the last that was given out
      lifecycle_events INTEGER NOT NULL DEFAULT 0,  -- rows of the audit trail, by ring
      security_events INTEGER NOT NULL DEFAULT 0,
      tasks_removed INTEGER NOT NULL DEFAULT 0,  -- ever: tells a reader to look for ends
      last_uuid_high INTEGER NOT NULL DEFAULT 0,  -- 48 bits of time, 12 of rand_a
      last_uuid_low INTEGER NOT NULL DEFAULT 0,  -- 62 bits of rand_b
      lineage INTEGER NOT NULL DEFAULT 0,  -- random, the same in copies; 0: not chosen yet
      log_base INTEGER NOT NULL DEFAULT 0,  -- the file's revision when its write-ahead log was begun, or an earlier one
      ended_sessions INTEGER NOT NULL DEFAULT 0,  -- sessions that have ended_at
      work INTEGER NOT NULL DEFAULT 0,  -- rows of work that are open, and tombstones
      work_done INTEGER NOT NULL DEFAULT 0,
      work_dead INTEGER NOT NULL DEFAULT 0,
      event_subscriptions INTEGER NOT NULL DEFAULT 0,  -- that have not ended
      policy_changes INTEGER NOT NULL DEFAULT 0  -- ever, of the rows of retention and legal_holds
    ) STRICT;
    INSERT INTO store VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

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
      user_agent TEXT,
      last_log_seq INTEGER NOT NULL DEFAULT 0,
      log_floor INTEGER NOT NULL DEFAULT 0,  -- entries up to this seq are gone
      log_checkpoint INTEGER NOT NULL DEFAULT 0,  -- seq of the newest checkpoint; 0: none
      log_ids INTEGER NOT NULL DEFAULT 0,  -- message ids that were ever noted
      log_ids_seq INTEGER NOT NULL DEFAULT 0,  -- up to this seq they are in blocks
      violations INTEGER NOT NULL DEFAULT 0,
      suspended_ms INTEGER,            -- by all suspensions that are over; NULL until one is
      suspensions INTEGER,             -- how many those were
      write_arrival INTEGER,           -- of its last write, as in rate_limits
      ended_at INTEGER                 -- NULL while it lives; 0: it is being removed
    ) STRICT;
    CREATE INDEX sessions_by_check ON sessions (check_at) WHERE check_at IS NOT NULL;
    CREATE INDEX sessions_by_user ON sessions (user_id, number) WHERE user_id IS NOT NULL;
    CREATE INDEX sessions_by_owners ON sessions (tenant_id, principal, number);
    CREATE INDEX sessions_by_principal ON sessions (principal, number)
      WHERE principal IS NOT NULL OR tenant_id IS NOT NULL;
    CREATE INDEX sessions_by_tenant ON sessions (tenant_id, number)
      WHERE principal IS NOT NULL OR tenant_id IS NOT NULL;
    CREATE INDEX sessions_by_suspension ON sessions (suspended_at) WHERE suspended_at IS NOT NULL AND ended_at IS NULL;
    CREATE INDEX sessions_invalidated ON sessions (number) WHERE status = 'invalidated';
    CREATE INDEX sessions_by_end ON sessions (ended_at, number) WHERE ended_at IS NOT NULL;

    CREATE TABLE session_state (
      number INTEGER PRIMARY KEY,      -- the order in which keys were first set
      session INTEGER NOT NULL,
      key TEXT NOT NULL,
      value TEXT NOT NULL,
      UNIQUE (session, key)
    ) STRICT;
    CREATE INDEX session_state_in_order ON session_state (session, number);

    -- A rowid table, so that appends stay at the end of the file whatever the session. A row may hold several events
    -- that follow each other: they have the same stream, type and retry, and in data each has a line.
    CREATE TABLE events (
      session INTEGER NOT NULL,
      id INTEGER NOT NULL,             -- from 1 in each session, contiguous, never reused; of several the last
      stream_id TEXT,
      event_type TEXT,                 -- NULL: "message"
      timestamp INTEGER NOT NULL,      -- of several the first one's
      retry INTEGER,
      data TEXT NOT NULL,
      first_id INTEGER,                -- of several; else NULL
      times TEXT                       -- of several: what each is behind timestamp, in ms; NULL: nothing
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
      original_params TEXT,            -- this and the next three, and meta: NULL where it stands in task_payloads
      result TEXT,                     -- {"success": …} or {"error": …}
      input_requests TEXT,             -- what is still asked for
      input_responses TEXT,            -- all that was ever answered
      input_keys TEXT,                 -- NULL: task_input_keys has them
      cancel_requested INTEGER NOT NULL,
      meta TEXT,
      revision INTEGER NOT NULL,
      session INTEGER,  -- number of the session, which may be gone by now
      queue_size INTEGER NOT NULL DEFAULT 0,  -- rows of task_messages
      input_keys_used INTEGER NOT NULL DEFAULT 0,  -- rows of task_input_keys
      payloads_apart INTEGER NOT NULL DEFAULT 0  -- rows of task_payloads
    ) STRICT;
    CREATE INDEX tasks_by_expiry ON tasks (expires_at) WHERE expires_at IS NOT NULL;
    CREATE INDEX tasks_by_session ON tasks (session_id, session, number) WHERE session_id IS NOT NULL;
    CREATE INDEX tasks_by_owners ON tasks (tenant_id, principal, number);
    CREATE INDEX tasks_by_principal ON tasks (principal, number)
      WHERE principal IS NOT NULL OR tenant_id IS NOT NULL;
    CREATE INDEX tasks_by_tenant ON tasks (tenant_id, number)
      WHERE principal IS NOT NULL OR tenant_id IS NOT NULL;
    CREATE INDEX tasks_by_revision ON tasks (session, revision) WHERE session IS NOT NULL;
    CREATE INDEX tasks_by_status ON tasks (status, number);

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

    -- A row may hold several entries that follow each other: they have the same kind, and in entry each has a line.
    CREATE TABLE log_entries (
      session INTEGER NOT NULL,
      seq INTEGER NOT NULL,            -- from 1 in each session, contiguous, never reused; of several the last
      kind TEXT,
      entry TEXT NOT NULL,
      first_seq INTEGER                -- of several; else NULL
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
      action TEXT,
      session INTEGER,                 -- number of the session, which may be gone by now; NULL where there was none
      -- 128 random bits, or the digest of what was erased, and the hash; NULL: older than the chain
      seal TEXT
    ) STRICT;
    CREATE INDEX audit_events_by_ring ON audit_events (ring, number);
    -- Not IN: of three texts SQLite makes a table of its own with each new row.
    CREATE INDEX audit_events_of_ends ON audit_events (session)
      WHERE type = 'expired' OR type = 'resolved' OR type = 'deleted';

    CREATE TABLE rate_limits (
      key TEXT PRIMARY KEY,
      arrival INTEGER NOT NULL,        -- the theoretical arrival time: Unix nanoseconds
      check_at INTEGER NOT NULL        -- Unix milliseconds, not after it: when a sweep has to look at the row
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX rate_limits_by_check ON rate_limits (check_at);

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

    CREATE TABLE audit_chains (
      ring TEXT PRIMARY KEY,
      begins_after INTEGER NOT NULL,   -- events up to this number are evicted or older
      hash TEXT NOT NULL               -- what the first one behind it follows
    ) STRICT, WITHOUT ROWID;
    INSERT INTO audit_chains VALUES ('lifecycle', 0, '\(AuditChain.start.text)');
    INSERT INTO audit_chains VALUES ('security', 0, '\(AuditChain.start.text)');

    -- Work that is leased to whoever does it. An item that is open is either in the line of its queue or group, or it
    -- wakes at a time.
    CREATE TABLE work (
      number INTEGER PRIMARY KEY,      -- the order of enqueueing
      queue TEXT NOT NULL,
      work_id TEXT NOT NULL,
      tenant_id TEXT,
      principal TEXT,
      work_group INTEGER,              -- number of its group, where it has one
      subscription INTEGER,            -- number of the event subscription that it is for
      seq INTEGER NOT NULL,            -- the order in the group
      position INTEGER,                -- what the watermark of the group counts
      status TEXT NOT NULL,            -- waiting, leased, done or dead
      line INTEGER,                    -- its place among what is ready
      wakes_at INTEGER,                -- when it gets one: its time has come, or its lease has lapsed
      attempt INTEGER NOT NULL,
      max_attempts INTEGER,
      give_up_after INTEGER,
      give_up_at INTEGER,
      fence INTEGER,                   -- of the last claim
      held INTEGER NOT NULL,           -- whether that was not settled yet
      worker TEXT,
      error TEXT,
      enqueued_at INTEGER NOT NULL,
      finished_at INTEGER,             -- of a tombstone
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

    -- Items that take turns with others as one; it is there as long as any of them is.
    CREATE TABLE work_groups (
      number INTEGER PRIMARY KEY,
      queue TEXT NOT NULL,
      name TEXT,                       -- NULL: it is that of an event subscription
      subscription INTEGER,
      is_ordered INTEGER NOT NULL,
      in_flight INTEGER NOT NULL,      -- items that are leased
      items INTEGER NOT NULL,          -- rows of work
      last_seq INTEGER NOT NULL,
      last_position INTEGER,
      line INTEGER,                    -- its place in the line of the queue, when something of it can be claimed
      stopped INTEGER NOT NULL         -- whether nothing of it is to be claimed for now
    ) STRICT;
    CREATE UNIQUE INDEX work_groups_by_name ON work_groups (queue, name);
    CREATE UNIQUE INDEX work_groups_of_subscription ON work_groups (subscription, queue) WHERE subscription IS NOT NULL;
    CREATE INDEX work_groups_in_line ON work_groups (queue, in_flight, line) WHERE line IS NOT NULL;

    -- Whom to tell of what happens. Those that have ended stay until somebody has told of it.
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
      watermark INTEGER,               -- all positions up to it are settled
      created_at INTEGER NOT NULL,
      expires_at INTEGER,
      inactive_since INTEGER,
      inactive_ms INTEGER NOT NULL,    -- of all times in which it was not active and that are over
      last_success_at INTEGER,
      last_failure_at INTEGER,
      failed_since INTEGER,
      last_error TEXT,
      window_start INTEGER NOT NULL,   -- of the half hour that the next two count, and of the one before it the others
      window_attempts INTEGER NOT NULL,
      window_failures INTEGER NOT NULL,
      attempts_before INTEGER NOT NULL,
      failures_before INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      ended_at INTEGER,
      end_reason TEXT,
      ended_queue TEXT NOT NULL        -- in which its end is told
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

    -- What of a tenant is not kept as the options say; NULL: it is.
    CREATE TABLE retention (
      number INTEGER PRIMARY KEY,      -- the order in which it was first set
      tenant_id TEXT NOT NULL UNIQUE,
      retain_ended INTEGER,
      max_events_per_session INTEGER,
      max_task_ttl INTEGER,
      max_log_entries_per_session INTEGER,
      audit_retention INTEGER
    ) STRICT;

    -- What is bound to the owners that one names does not go.
    CREATE TABLE legal_holds (
      number INTEGER PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      tenant_id TEXT,
      principal TEXT,
      reason TEXT,
      placed_at INTEGER NOT NULL
    ) STRICT;

    -- The archive that sessions are leaving for, or that whoever was killed has not finished: one row at most.
    CREATE TABLE archive_claims (
      id INTEGER PRIMARY KEY,          -- 1
      file TEXT NOT NULL,              -- which file that is: machine, device, inode
      path TEXT NOT NULL,
      lapses_at INTEGER NOT NULL
    ) STRICT;
    """
}
