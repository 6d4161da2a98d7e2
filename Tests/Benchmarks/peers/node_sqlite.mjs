// node:sqlite in the server's own process: what one writes by hand instead of using a sidecar.
//
//     node_sqlite.mjs store DATABASE EVENTS SESSIONS each|10ms DATA
//     node_sqlite.mjs make DATABASE SESSIONS EVENTS_PER_SESSION DATA
//     node_sqlite.mjs read DATABASE CALLS AFTER LIMIT
//
// Messages are objects in such a server, so it turns them into JSON text and back. Writes one JSON object about the
// time that it took.
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";

const schema = `
  CREATE TABLE IF NOT EXISTS sessions (
    session_id TEXT PRIMARY KEY, last_activity INTEGER NOT NULL, last_event_id INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS state (
    session_id TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (session_id, key)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS events (
    session_id TEXT NOT NULL, id INTEGER NOT NULL, timestamp INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (session_id, id)
  ) WITHOUT ROWID;
`;
/** as long as the sidecar's groups */
const groupMilliseconds = 10;

export const sessionID = (number) => `00000000-0000-7000-8000-${String(number).padStart(12, "0")}`;

/** Events, sessions and their state over one connection; the caller opens and ends transactions. */
export class SQLiteStore {
  constructor(path) {
    this.database = new DatabaseSync(path);
    this.database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    this.database.exec(schema);
    const prepare = (text) => this.database.prepare(text);
    this.insertSession = prepare("INSERT INTO sessions VALUES (?, ?, 0)");
    this.nextID = prepare(
      "UPDATE sessions SET last_activity = ?, last_event_id = last_event_id + 1 WHERE session_id = ?" +
        " RETURNING last_event_id",
    );
    this.insertEvent = prepare("INSERT INTO events VALUES (?, ?, ?, ?)");
    this.selectEvents = prepare(
      "SELECT id, timestamp, data FROM events WHERE session_id = ? AND id > ? ORDER BY id LIMIT ?",
    );
    this.selectSession = prepare("SELECT session_id, last_activity, last_event_id FROM sessions WHERE session_id = ?");
    this.upsertState = prepare("INSERT INTO state VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value");
  }

  begin() {
    this.database.exec("BEGIN IMMEDIATE");
  }

  commit() {
    this.database.exec("COMMIT");
  }

  makeSessions(count) {
    this.begin();
    for (let number = 0; number < count; number++) this.insertSession.run(sessionID(number), Date.now());
    this.commit();
  }

  append(session, message) {
    const time = Date.now();
    const id = this.nextID.get(time, session).last_event_id;
    this.insertEvent.run(session, id, time, JSON.stringify(message));
    return id;
  }

  eventsAfter(session, after, limit) {
    const rows = this.selectEvents.all(session, after, limit);
    return rows.map(({ id, timestamp, data }) => ({ id, timestamp, data: JSON.parse(data) }));
  }
}

export const medianMicroseconds = (samples) => samples.sort((a, b) => a - b)[Math.floor(samples.length / 2)] * 1e3;

const works = {
  store(path, events, sessions, commits, data) {
    const store = new SQLiteStore(path);
    store.makeSessions(Number(sessions));
    const names = Array.from({ length: Number(sessions) }, (_, number) => sessionID(number));
    const message = JSON.parse(data);
    const atMost = commits === "10ms" ? groupMilliseconds : 0;
    const samples = [];
    const begin = performance.now();
    for (let stored = 0; stored < Number(events); ) {
      const start = performance.now();
      store.begin();
      do {
        store.append(names[stored++ % names.length], message);
      } while (stored < Number(events) && performance.now() - start < atMost);
      store.commit();
      samples.push(performance.now() - start);
    }
    return { seconds: (performance.now() - begin) / 1e3, p50_us: medianMicroseconds(samples) };
  },

  make(path, sessions, events, data) {
    const store = new SQLiteStore(path);
    store.makeSessions(Number(sessions));
    const message = JSON.parse(data);
    store.begin();
    for (let number = 0; number < Number(sessions); number++) {
      for (let event = 0; event < Number(events); event++) store.append(sessionID(number), message);
    }
    store.commit();
    return { events: Number(sessions) * Number(events) };
  },

  read(path, calls, after, limit) {
    const store = new SQLiteStore(path);
    const names = store.database.prepare("SELECT session_id FROM sessions ORDER BY session_id").all();
    const warmUp = Math.floor(Number(calls) / 10) + 1;
    const samples = [];
    for (let call = 0; call < warmUp + Number(calls); call++) {
      const start = performance.now();
      const events = store.eventsAfter(names[call % names.length].session_id, Number(after), Number(limit));
      if (call >= warmUp) samples.push(performance.now() - start);
      if (events.length !== Number(limit)) throw new Error("a session has too few events");
    }
    const seconds = samples.reduce((sum, sample) => sum + sample, 0) / 1e3;
    return { seconds, p50_us: medianMicroseconds(samples) };
  },
};

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [work, ...words] = process.argv.slice(2);
  console.log(JSON.stringify(works[work](...words)));
}
