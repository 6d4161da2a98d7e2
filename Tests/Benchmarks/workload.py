"""The requests that the drivers send: JSON-RPC for the sidecar, one request per line, and the same work in RESP."""

import json
import random
import uuid
from collections.abc import Iterable
from pathlib import Path


def session_id(number: int) -> str:
    """As long as the ids that the store would make, and the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"benchmark session {number}"))


def task_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"benchmark task {number}"))


def event_data(size: int = 200) -> str:
    """JSON text of exactly `size` bytes, shaped like what an MCP server stores to replay it."""
    message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 42, "message": ""}}
    bare = json.dumps(message, separators=(",", ":"))
    message["params"]["message"] = ("a step was done, " * size)[: size - len(bare)]
    return json.dumps(message, separators=(",", ":"))


EVENT_DATA = event_data()

#: what a task stands for, and what it gives
TASK_PARAMS = '{"name":"build","arguments":{"target":"all","clean":true}}'
TASK_RESULT = '{"content":[{"type":"text","text":"built 42 targets"}],"isError":false}'


def picks(count: int, among: int) -> list[int]:
    """Numbers of sessions in an order without a pattern, the same in every run."""
    pick = random.Random(among)
    return [pick.randrange(among) for _ in range(count)]


def request(number: int, method: str, params: str) -> str:
    return f'{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":{params}}}\n'


def create_sessions(count: int, state: str = "{}") -> Iterable[str]:
    for number in range(count):
        yield request(number, "create_session", f'{{"session_id":"{session_id(number)}","state":{state}}}')


def store_events(count: int, sessions: int, data: str = EVENT_DATA) -> Iterable[str]:
    """Events of all sessions in turn, as a busy server's come: neighbours in time belong to different sessions."""
    params = [f'{{"session_id":"{session_id(number)}","data":{data}}}' for number in range(sessions)]
    return (request(number, "store_event", params[number % sessions]) for number in range(count))


def store_batches(count: int, sessions: int, size: int) -> Iterable[str]:
    """Batches of events, each of one session."""
    events = ",".join([f'{{"data":{EVENT_DATA}}}'] * size)
    return of_sessions("store_events", (number % sessions for number in range(count)), f',"events":[{events}]')


def append_log_entries(count: int, sessions: int) -> Iterable[str]:
    """Entries of as many bytes as the events have, each with an id of its own that nobody can foresee."""
    for number, (message, entry) in enumerate(log_entries(count)):
        params = f'{{"session_id":"{session_id(number % sessions)}","entry":{entry}}}'
        yield request(number, "append_log_entry", params)


def log_entries(count: int) -> Iterable[tuple[str, str]]:
    """Ids of messages, and the entries that have them."""
    pick = random.Random(count)
    for _ in range(count):
        message = str(uuid.UUID(int=pick.getrandbits(128)))
        head = f'{{"message_id":"{message}","kind":"incoming","payload":"'
        yield message, head + "x" * (len(EVENT_DATA) - len(head) - 2) + '"}'


def set_states(count: int, sessions: int) -> Iterable[str]:
    for number in range(count):
        session, key = session_id(number % sessions), number // sessions % 10
        yield request(number, "set_session_state", f'{{"session_id":"{session}","key":"k{key}","value":{number}}}')


def get_states(sessions: int) -> Iterable[str]:
    for number in range(sessions):
        yield request(number, "get_session_state", f'{{"session_id":"{session_id(number)}","key":"k0"}}')


def check_rates(count: int, sessions: int) -> Iterable[str]:
    for number in range(count):
        key = f"{session_id(number % sessions)} k{number // sessions % 10}"
        yield request(number, "check_rate_limit", f'{{"key":"{key}","limit":1000000,"window":1000}}')


def get_sessions(sessions: int) -> Iterable[str]:
    return (request(number, "get_session", f'{{"session_id":"{session_id(number)}"}}') for number in range(sessions))


def of_sessions(method: str, numbers: Iterable[int], params: str = "") -> Iterable[str]:
    """One request for each of the sessions; `params` is what follows the session's id."""
    for number in numbers:
        yield request(number, method, f'{{"session_id":"{session_id(number)}"{params}}}')


def get_events_after(after: int, limit: int, sessions: int) -> Iterable[str]:
    return of_sessions("get_events_after", range(sessions), f',"after_event_id":{after},"limit":{limit}')


def pages(events: int, limit: int) -> Iterable[str]:
    """All events of the first session, page by page; its ids are known to have no holes."""
    for after in range(0, events, limit):
        yield from get_events_after(after, limit, 1)


def task_lives(count: int) -> Iterable[str]:
    """Each task is made, makes progress, is asked for, completes, hands out its result and is deleted."""
    for number in range(count):
        task = f'"task_id":"{task_id(number)}"'
        made = f'{{{task},"original_method":"tools/call","original_params":{TASK_PARAMS}}}'
        yield request(number, "create_task", made)
        yield request(number, "touch_task", f'{{{task},"status_message":"half of it is done"}}')
        yield request(number, "get_task", f"{{{task}}}")
        yield request(number, "complete_task", f'{{{task},"result":{TASK_RESULT}}}')
        yield request(number, "get_task_result", f"{{{task}}}")
        yield request(number, "delete_task", f"{{{task}}}")


#: requests of one task
TASK_STEPS = 6


def enqueued(begin: int, end: int) -> Iterable[str]:
    for number in range(begin, end):
        params = f'{{"queue":"work","work_id":"item-{number}","payload":{EVENT_DATA}}}'
        yield request(number, "enqueue_work", params)


def work(items: int, batch: int, revision: int) -> Iterable[str]:
    """Items enqueued, claimed and settled, so many at a time. A fence is a number of the store's only counter, which
    each new item takes one of as well: so it is known before."""
    for begin in range(0, items, batch):
        yield from enqueued(begin, begin + batch)
        yield request(begin, "claim_work", f'{{"queue":"work","lease":600000,"limit":{batch}}}')
        for number in range(begin, begin + batch):
            fence = revision + begin + number + batch + 1
            params = f'{{"queue":"work","work_id":"item-{number}","fence":{fence},"outcome":"done"}}'
            yield request(number, "settle_work", params)


def claims(count: int) -> Iterable[str]:
    for number in range(count):
        yield request(number, "claim_work", '{"queue":"work","lease":600000}')


def get_unknown_session() -> Iterable[str]:
    return [request(1, "get_session", '{"session_id":"nobody-has-this-one"}')]


# The same work for Redis. A stream for a session's events, a hash for what a session or a task is.


def resp(*words: str) -> str:
    """A command as clients send it. All words are ASCII, so that characters are bytes."""
    return f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)


def ping() -> Iterable[str]:
    return [resp("PING")]


def xadd(count: int, sessions: int, data: str = EVENT_DATA) -> Iterable[str]:
    commands = [resp("XADD", f"events:{session_id(number)}", "*", "data", data) for number in range(sessions)]
    return (commands[number % sessions] for number in range(count))


def redis_work(items: int, batch: int) -> Iterable[str]:
    """The same with a stream and a group, whose ids are given so that they are known."""
    yield resp("XGROUP", "CREATE", "work", "workers", "0", "MKSTREAM")
    for begin in range(0, items, batch):
        for number in range(begin, begin + batch):
            yield resp("XADD", "work", f"{number + 1}-0", "data", EVENT_DATA)
        yield resp("XREADGROUP", "GROUP", "workers", "w", "COUNT", str(batch), "STREAMS", "work", ">")
        for number in range(begin, begin + batch):
            yield resp("XACK", "work", "workers", f"{number + 1}-0")


def xadd_numbered(count: int, sessions: int) -> Iterable[str]:
    """Events with ids from 1 in each stream, so that a read after one of them can be foreseen."""
    for number in range(count):
        key = f"events:{session_id(number % sessions)}"
        yield resp("XADD", key, f"{number // sessions + 1}-0", "data", EVENT_DATA)


def xrange(after: int, limit: int, sessions: int) -> Iterable[str]:
    for number in range(sessions):
        yield resp("XRANGE", f"events:{session_id(number)}", f"({after}-0", "+", "COUNT", str(limit))


def xrange_pages(events: int, limit: int) -> Iterable[str]:
    for after in range(0, events, limit):
        yield from xrange(after, limit, 1)


def hset_sessions(sessions: int) -> Iterable[str]:
    """As many members as a session of ours has."""
    members = ("user_id", "tenant_id", "principal", "client_capabilities", "server_capabilities", "metadata")
    times = ("created_at", "last_activity", "expires_at", "inactivity_timeout", "suspended_at")
    for number in range(sessions):
        pairs = ["session_id", session_id(number), "status", "pending", "state", "{}", "is_initialized", "0"]
        for name in members:
            pairs += [name, "{}"]
        for name in times:
            pairs += [name, "1795210000000"]
        yield resp("HSET", f"session:{session_id(number)}", *pairs, "last_event_id", "0", "revision", str(number))


def hgetall_sessions(sessions: int) -> Iterable[str]:
    return (resp("HGETALL", f"session:{session_id(number)}") for number in range(sessions))


def hset_states(count: int, sessions: int) -> Iterable[str]:
    for number in range(count):
        key = f"k{number // sessions % 10}"
        yield resp("HSET", f"state:{session_id(number % sessions)}", key, str(number))


def redis_batches(count: int, sessions: int, size: int) -> Iterable[str]:
    """The same, all of a batch or nothing."""
    for number in range(count):
        add = resp("XADD", f"events:{session_id(number % sessions)}", "*", "data", EVENT_DATA)
        yield resp("MULTI") + add * size + resp("EXEC")


def hget_states(sessions: int) -> Iterable[str]:
    return (resp("HGET", f"state:{session_id(number)}", "k0") for number in range(sessions))


def redis_task_lives(count: int) -> Iterable[str]:
    for number in range(count):
        key = f"task:{task_id(number)}"
        yield resp("HSET", key, "status", "working", "method", "tools/call", "params", TASK_PARAMS)
        yield resp("HSET", key, "status_message", "half of it is done")
        yield resp("HGETALL", key)
        yield resp("HSET", key, "status", "completed", "result", TASK_RESULT)
        yield resp("HGET", key, "result")
        yield resp("DEL", key)


def redis_log_entries(count: int, sessions: int) -> Iterable[str]:
    """The entry and the note that its message is known, both or none."""
    for number, (message, entry) in enumerate(log_entries(count)):
        session = session_id(number % sessions)
        yield resp("MULTI")
        yield resp("HSETNX", f"known:{session}", message, str(number))
        yield resp("XADD", f"log:{session}", "*", "entry", entry)
        yield resp("EXEC")


def write_requests(path: Path, *parts: Iterable[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        for part in parts:
            file.writelines(part)
    return path
