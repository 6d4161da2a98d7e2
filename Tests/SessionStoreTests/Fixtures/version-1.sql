-- A file as version 1 made it, with a little of everything in it. It stays as it is, whatever comes after version 1.
PRAGMA application_id = 1296257139;
PRAGMA user_version = 1;
BEGIN;
-- One row: the counters that every writing group takes along.
CREATE TABLE store (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revision INTEGER NOT NULL,       -- the last revision that was given out; also the last insertion number
  sessions INTEGER NOT NULL,       -- rows, expired ones included
  events INTEGER NOT NULL,         -- events above their session's floor
  tasks INTEGER NOT NULL,
  named_values INTEGER NOT NULL
) STRICT;
INSERT INTO store VALUES (1, 8, 1, 2, 1, 1);

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

INSERT INTO sessions (number, session_id, tenant_id, principal, status, last_activity, expires_at, inactivity_timeout,
  last_event_id, event_floor, event_trimmed, state_bytes, revision, check_at, user_id, client_capabilities, metadata,
  is_initialized, created_at)
VALUES (1, 'session-1', NULL, 'p', 'active', 1795210000000, 1795296400000, 1800000, 4, 2, 2, 22, 3, 1795211800000, 'u',
  '{"roots":{}}', '{}', 1, 1795210000000);
INSERT INTO session_state VALUES (1, 1, 'cart', '["book",1.50]');
INSERT INTO events VALUES (1, 3, NULL, NULL, 1795210000000, NULL, '"three"'),
  (1, 4, 'x', 'progress', 1795210000000, 5, '"four"');
INSERT INTO stream_losses VALUES (1, 'x', 1, 2, 2);
INSERT INTO tasks (number, task_id, session_id, status, created_at, last_updated_at, ttl, expires_at, input_requests,
  input_responses, input_keys, cancel_requested, revision)
VALUES (5, 'task-1', 'session-1', 'input_required', 1795210000000, 1795210000000, 60000, 1795210060000, '{"name":{}}',
  '{"age":7}', '["age","name"]', 0, 7);
INSERT INTO task_messages VALUES (1, 5, '1'), (2, 5, '2');
INSERT INTO nonces VALUES ('n', '', 1795210060000);
INSERT INTO named_values VALUES (8, '', 'p', 'c', 'k', '{"n":1.0}', NULL, 8);
COMMIT;
