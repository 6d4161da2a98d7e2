"""The store that waits."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mcp_session_store import BlockingStore, ChildError
from mcp_session_store.contract import SessionNotFound


def test_calls_from_many_threads(binary: Path, database: Path) -> None:
    with BlockingStore(database, binary=binary) as store, ThreadPoolExecutor(16) as pool:
        store.create_session(session_id="s", status="active")
        ids = pool.map(lambda number: store.store_event("s", data=number)["id"], range(1_000))
        assert sorted(ids) == list(range(1, 1_001))
        with pytest.raises(SessionNotFound):
            store.touch_session("nobody")


def test_subscriptions(binary: Path, database: Path) -> None:
    with BlockingStore(database, binary=binary) as store:
        store.create_session(session_id="s", status="active")
        with store.subscribe_events("s", after_event_id=0) as events:
            threading.Thread(target=lambda: [store.store_event("s", data=n) for n in range(5)]).start()
            assert [next(events)["id"] for _ in range(5)] == [1, 2, 3, 4, 5]  # type: ignore[call-overload]
            store.delete_session("s")
            assert list(events) == [] and events.ended == "deleted" and events.lost == 0
        store.create_task(task_id="t")
        with store.subscribe_tasks(task_id="t") as changes:
            assert next(iter(changes)).task_id == "t"


def test_close_ends_a_reader_that_waits(binary: Path, database: Path) -> None:
    with BlockingStore(database, binary=binary) as store:
        store.create_session(session_id="s", status="active")
        events = store.subscribe_events("s")
        seen: list[list[object]] = []
        reader = threading.Thread(target=lambda: seen.append(list(events)))
        reader.start()
        events.close()
        reader.join(60)
        assert seen == [[]]


def test_backup_with_progress(binary: Path, database: Path) -> None:
    with BlockingStore(database, binary=binary) as store:
        store.create_session(session_id="s", status="active")
        told: list[tuple[int, int]] = []
        done = store.backup(database.with_name("copy.db"), on_progress=lambda *progress: told.append(progress))
        assert told[0] == (0, done["pages"])
    with BlockingStore(database.with_name("copy.db"), binary=binary) as copy:
        assert copy.get_session("s") is not None


def test_the_first_call_opens_and_open_opens_again(binary: Path, database: Path) -> None:
    store = BlockingStore(database, binary=binary)
    with pytest.raises(ChildError, match="not open"):
        _ = store.info
    store.close()
    with pytest.raises(ChildError, match="closed"):
        store.health()
    assert store.open().health()["status"] == "healthy"
    for _ in range(2):
        store.close()
        with pytest.raises(ChildError, match="closed"):
            store.health()
    lazy = BlockingStore(database, binary=binary)
    assert lazy.health()["status"] == "healthy"
    lazy.close()
