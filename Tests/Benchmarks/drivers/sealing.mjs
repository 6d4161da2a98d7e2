// What a codec costs in Node: `sealing.mjs CLIENT BINARY DATABASE COUNT` writes one JSON object about that, with the
// same figures as sealing.py.
import { randomBytes } from "node:crypto";
import { join } from "node:path";

const [client, binary, database, counted] = process.argv.slice(2);
const count = Number(counted);
const { Codec, SessionStore } = await import(join(client, "index.mjs"));

const KIB = 4;
const AT_ONCE = 64;
const BATCHES = Math.floor(count / AT_ONCE) + 1;
const PLACE = ["event.data", "session-1", null, "message"];
const WORDS =
  "the import of row was read and checked against ledger account before it is written again under own".split(" ");
const key = randomBytes(32);

/** A message of 4 KiB as tools send them, of words that repeat and numbers that do not. */
function payload() {
  let text = "";
  for (let number = 1n; text.length < KIB * 1024 - 60; ) {
    number = (number * 1103515245n) % 2n ** 31n;
    text += `${WORDS[Number(number) % WORDS.length]} ${Number(number) % 9973} `;
  }
  return { level: "info", data: text };
}

/** The best of some batches, for each KiB. */
function microseconds(work) {
  let best = Infinity;
  for (let batch = 0; batch < 5; batch++) {
    const begun = performance.now();
    for (let number = 0; number < count / 5; number++) work();
    best = Math.min(best, (performance.now() - begun) / (count / 5));
  }
  return (best * 1e3) / KIB;
}

const sealing = (codec, value) => () => codec.open(JSON.parse(JSON.stringify(codec.seal(value, PLACE))), PLACE);

async function events(codec, name, data) {
  const store = await SessionStore.open({ binary, database: `${database}-${name}`, codec });
  await store.createSession({ session_id: "session-1", status: "active" });
  const begun = performance.now();
  for (let batch = 0; batch < BATCHES; batch++) {
    await Promise.all(Array.from({ length: AT_ONCE }, () => store.storeEvent({ session_id: "session-1", data })));
  }
  const seconds = (performance.now() - begun) / 1e3;
  const page = await store.getRecentEvents({ session_id: "session-1", limit: 1 });
  if (page.events[0].data.data !== data.data) throw new Error("An event is not what it was.");
  await store.close();
  return (BATCHES * AT_ONCE) / seconds;
}

const value = payload();
const encrypted = new Codec({ keys: { k: key }, compression: null });
console.log(
  JSON.stringify({
    plain: microseconds(() => JSON.parse(JSON.stringify(value))),
    sealed: microseconds(sealing(encrypted, value)),
    compressed: microseconds(sealing(new Codec({ keys: { k: key } }), value)),
    plain_events: await events(null, "plain", value),
    sealed_events: await events(encrypted, "sealed", value),
  }),
);
