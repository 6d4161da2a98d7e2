"""The types of the Python client hold, for itself and for those who use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[3] / "protocol/clients/python"

#: what a checker must accept, and (on the lines marked wrong) must not
USE = """
from mcp_session_store import BlockingStore, ChildError, ErrorKind, RequestError, Store

async def good(store: Store) -> int:
    session = await store.create_session(principal="alice", status="active")
    event = await store.store_event(session["session_id"], data={"any": ["thing"]})
    async with await store.subscribe_events(session["session_id"]) as events:
        async for one in events:
            print(one["data"], events.lost)
    async with await store.subscribe_events("s", format="sse", heartbeat=1_000, on_heartbeat=print) as frames:
        async for frame in frames:
            print(frame.encode())
    async with await store.subscribe_work("mail") as due:
        async for queue in due:
            print(queue.encode(), due.next_due)
    return event["id"]

async def bad(store: Store) -> None:
    await store.create_session(status="sleeping")  # wrong
    await store.store_event("s")  # wrong
    session = await store.get_session("s")
    print(session["status"])  # wrong: it may be None
    print((await store.event_count())["number"])  # wrong

def told(error: Exception) -> bool:
    if isinstance(error, RequestError):
        return error.kind == ErrorKind.QUEUE_FULL or error.kind == ErrorKind.QUEUE_FUL  # wrong
    if isinstance(error, ChildError):
        return error.reason == "gave_up" or error.outcome == "unknown" or error.reason == "gone"  # wrong
    return False

def blocking(store: BlockingStore) -> str:
    return store.create_session()["session_id"]
"""


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10", *arguments]
    return subprocess.run(command, cwd=CLIENT, capture_output=True, text=True, check=False)


def test_the_client_is_typed() -> None:
    done = check("mcp_session_store")
    assert done.returncode == 0, done.stdout


def test_users_are_told_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "use.py"
    path.write_text(USE)
    done = check(str(path))
    wrong = [number for number, line in enumerate(USE.splitlines(), 1) if "# wrong" in line]
    told = sorted(int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line)
    assert told == wrong, done.stdout
