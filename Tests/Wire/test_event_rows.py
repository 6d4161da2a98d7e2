"""Several events in one row of the tables: who reads the file, and what a commit leaves there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from engine import contents
from event_rows import single
from sidecar import JSON, Sidecar, request


def stored(sidecar: Sidecar, session: str) -> list[JSON]:
    return [event["data"] for event in sidecar.call("get_events_after", session_id=session)["events"]]


def test_the_events_of_a_commit_share_a_row_that_can_be_read(
    sidecar: Sidecar, spawn: Callable[..., Sidecar], database: Path | str
) -> None:
    payloads = [{"text": "a\u0000b\u0001c\n\r\u2028é", "number": number} for number in range(40)]
    for session in ("s", "t"):
        sidecar.call("create_session", session_id=session)
    calls = [
        {"method": "store_event", "params": {"session_id": session, "stream_id": "\u0000\u0001", "data": payload}}
        for payload in payloads
        for session in ("s", "t")
    ]
    sidecar.call("transaction", calls=calls)
    sidecar.call("store_event", session_id="s", data="alone")
    sidecar.kill()
    rows = contents(database)["events"]
    assert len(rows) == 3
    if isinstance(database, Path):
        events = single(sorted(rows))
        assert len(events) == 81 and {event[2] for event in events} == {"\u0000\u0001", None}
        assert [json.loads(event[-1]) for event in events[:41]] == [*payloads, "alone"]
    again = spawn()
    assert stored(again, "s") == [*payloads, "alone"] and stored(again, "t") == payloads
    assert again.call("check_integrity")["problems"] == []
    page = again.call("get_recent_events", session_id="s", stream_id="\u0000\u0001", limit=3)
    assert [event["data"] for event in page["events"]] == payloads[-3:]


def test_what_is_deleted_is_in_no_row(sidecar: Sidecar, database: Path | str) -> None:
    sidecar.call("create_session", session_id="s")
    sidecar.call("store_events", session_id="s", events=[{"data": f"canary-{number:03}"} for number in range(100)])
    assert len(contents(database)["events"]) == 1
    assert sidecar.call("delete_events_before", session_id="s", before_event_id=51) == {"deleted": 50}
    rows = repr(contents(database)["events"])
    assert [number for number in range(100) if f"canary-{number:03}" in rows] == list(range(50, 100))
    assert stored(sidecar, "s") == [f"canary-{number:03}" for number in range(50, 100)]
    assert sidecar.call("check_integrity")["problems"] == []


def test_a_refused_transaction_leaves_no_event(sidecar: Sidecar) -> None:
    sidecar.call("create_session", session_id="s")
    calls = [{"method": "store_event", "params": {"session_id": "s", "data": number}} for number in range(5)]
    refused = {"method": "store_event", "params": {"session_id": "nobody", "data": 5}}
    # All in one group: the writes before and behind the one that is refused share its commit.
    sidecar.send(
        request("store_event", 1, session_id="s", data="before"),
        request("transaction", 2, calls=[*calls, refused]),
        request("store_event", 3, session_id="s", data="behind"),
    )
    answers = {answer["id"]: answer for answer in (sidecar.receive_answer() for _ in range(3))}
    assert "error" in answers[2] and answers[1]["result"]["id"] == 1 and answers[3]["result"]["id"] == 2
    assert stored(sidecar, "s") == ["before", "behind"]
