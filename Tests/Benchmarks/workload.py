"""The requests that the drivers send: files of JSON-RPC lines, one request per line."""

import json
import random
import uuid
from collections.abc import Iterable
from pathlib import Path


def session_id(number: int) -> str:
    """As long as the ids that the store would make, and the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"benchmark session {number}"))


def event_data(size: int = 200) -> str:
    """JSON text of exactly `size` bytes, shaped like what an MCP server stores to replay it."""
    message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 42, "message": ""}}
    bare = json.dumps(message, separators=(",", ":"))
    message["params"]["message"] = ("a step was done, " * size)[: size - len(bare)]
    return json.dumps(message, separators=(",", ":"))


EVENT_DATA = event_data()


def request(number: int, method: str, params: str) -> str:
    return f'{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":{params}}}\n'


def create_sessions(count: int, state: str = "{}") -> Iterable[str]:
    for number in range(count):
        yield request(number, "create_session", f'{{"session_id":"{session_id(number)}","state":{state}}}')


def store_events(count: int, sessions: int) -> Iterable[str]:
    """Events of all sessions in turn, as a busy server's come: neighbours in time belong to different sessions."""
    params = [f'{{"session_id":"{session_id(number)}","data":{EVENT_DATA}}}' for number in range(sessions)]
    return (request(number, "store_event", params[number % sessions]) for number in range(count))


def append_log_entries(count: int, sessions: int) -> Iterable[str]:
    """Entries of as many bytes as the events have, each with an id of its own that nobody can foresee."""
    pick = random.Random(count)
    for number in range(count):
        head = f'{{"message_id":"{uuid.UUID(int=pick.getrandbits(128))}","kind":"incoming","payload":"'
        entry = head + "x" * (len(EVENT_DATA) - len(head) - 2) + '"}'
        params = f'{{"session_id":"{session_id(number % sessions)}","entry":{entry}}}'
        yield request(number, "append_log_entry", params)


def set_states(count: int, sessions: int) -> Iterable[str]:
    for number in range(count):
        session, key = session_id(number % sessions), number // sessions % 10
        yield request(number, "set_session_state", f'{{"session_id":"{session}","key":"k{key}","value":{number}}}')


def check_rates(count: int, sessions: int) -> Iterable[str]:
    for number in range(count):
        key = f"{session_id(number % sessions)} k{number // sessions % 10}"
        yield request(number, "check_rate_limit", f'{{"key":"{key}","limit":1000000,"window":1000}}')


def get_sessions(sessions: int) -> Iterable[str]:
    return (request(number, "get_session", f'{{"session_id":"{session_id(number)}"}}') for number in range(sessions))


def get_events_after(after: int, limit: int, sessions: int) -> Iterable[str]:
    return (
        request(
            number,
            "get_events_after",
            f'{{"session_id":"{session_id(number)}","after_event_id":{after},"limit":{limit}}}',
        )
        for number in range(sessions)
    )


def get_unknown_session() -> Iterable[str]:
    return [request(1, "get_session", '{"session_id":"nobody-has-this-one"}')]


def write_requests(path: Path, *parts: Iterable[str]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for part in parts:
            file.writelines(part)
    return path
