// One Node server with many requests under way at once, each flow doing one thing after the other:
//
//     flows.mjs client OPERATIONS FLOWS DATA CLIENT BINARY DATABASE
//     flows.mjs redis OPERATIONS FLOWS DATA SOCKET
//     flows.mjs sqlite OPERATIONS FLOWS DATA DATABASE
//
// Each flow has a session of its own. Of four operations two write (an event, a key of the state) and two read (the
// session, its last ten events). Messages are objects on this side. Writes one JSON object about the time that it took.
import { createRequire } from "node:module";
import { join } from "node:path";
import { SQLiteStore, medianMicroseconds, sessionID } from "./node_sqlite.mjs";

const newest = 10;

/** The client that ships, as a server's author uses it. */
class Client {
  async open([client, binary, database]) {
    const { SessionStore } = await import(join(client, "index.mjs"));
    // A session keeps all that a round stores, as the neighbours do.
    const options = { max_events_per_session: 0, max_sessions: 0 };
    this.store = await SessionStore.open({ binary, database, options });
  }

  create(session) {
    return this.store.createSession({ session_id: session });
  }

  async append(session, data) {
    return (await this.store.storeEvent({ session_id: session, data })).id;
  }

  session(session) {
    return this.store.getSession({ session_id: session });
  }

  setState(session, key, value) {
    return this.store.setSessionState({ session_id: session, key, value });
  }

  async eventsAfter(session, after) {
    return (await this.store.getEventsAfter({ session_id: session, after_event_id: after, limit: newest })).events;
  }

  async close() {
    await this.store.close();
  }
}

/** With the client that Redis recommends; what is called in one turn of the event loop goes in one write here too. */
class Redis {
  async open([path]) {
    // A module of Debian's, which is found by NODE_PATH.
    const { createClient } = createRequire(import.meta.url)("redis");
    this.client = createClient({ socket: { path } });
    await this.client.connect();
  }

  create(session) {
    return this.client.hSet(`session:${session}`, { status: "pending", last_activity: String(Date.now()) });
  }

  append(session, data) {
    return this.client.xAdd(`events:${session}`, "*", { data: JSON.stringify(data) });
  }

  session(session) {
    return this.client.hGetAll(`session:${session}`);
  }

  async setState(session, key, value) {
    await this.client.hSet(`state:${session}`, key, JSON.stringify(value));
  }

  async eventsAfter(session, after) {
    const rows = await this.client.xRange(`events:${session}`, after ? `(${after}` : "-", "+", { COUNT: newest });
    return rows.map(({ id, message }) => ({ id, data: JSON.parse(message.data) }));
  }

  async close() {
    await this.client.quit();
  }
}

/** In process, a commit for each write. Its calls do not wait for anything, so a flow never meets another one. */
class SQLite {
  async open([path]) {
    this.store = new SQLiteStore(path);
  }

  async create(session) {
    this.store.insertSession.run(session, Date.now());
  }

  async append(session, data) {
    this.store.begin();
    const id = this.store.append(session, data);
    this.store.commit();
    return id;
  }

  async session(session) {
    return this.store.selectSession.get(session);
  }

  async setState(session, key, value) {
    this.store.upsertState.run(session, key, JSON.stringify(value));
  }

  async eventsAfter(session, after) {
    return this.store.eventsAfter(session, after, newest);
  }

  async close() {
    this.store.database.close();
  }
}

const [backend, operations, flows, data, ...where] = process.argv.slice(2);
const store = new { client: Client, redis: Redis, sqlite: SQLite }[backend]();
const message = JSON.parse(data);
const rounds = Math.ceil(Number(operations) / Number(flows) / 4);
const samples = [];

async function timed(operation) {
  const start = performance.now();
  const result = await operation;
  samples.push(performance.now() - start);
  return result;
}

async function flow(number) {
  const session = sessionID(number);
  // The id behind which the newest events lie, for ids need not be numbers.
  const before = [];
  for (let round = 0; round < rounds; round++) {
    before.push(await timed(store.append(session, message)));
    if (before.length > newest + 1) before.shift();
    if (!(await timed(store.session(session)))) throw new Error("the session is gone");
    await timed(store.setState(session, `k${round % 10}`, round));
    const events = await timed(store.eventsAfter(session, round < newest ? 0 : before[0]));
    const expected = Math.min(round + 1, newest);
    if (events.length !== expected) throw new Error(`${events.length} events in the place of ${expected}`);
  }
}

const numbers = Array.from({ length: Number(flows) }, (_, number) => number);
await store.open(where);
await Promise.all(numbers.map((number) => store.create(sessionID(number))));
const start = performance.now();
await Promise.all(numbers.map(flow));
const seconds = (performance.now() - start) / 1e3;
await store.close();
console.log(JSON.stringify({ operations: samples.length, seconds, p50_us: medianMicroseconds(samples) }));
