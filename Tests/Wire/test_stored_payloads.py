"""list_payloads and replace_payloads: every payload there is, and another form of it in its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar import Sidecar

Spawn = Callable[..., Sidecar]


def fill(sidecar: Sidecar) -> None:
    sidecar.call("create_session", session_id="s", status="active", principal="ann", metadata={"m": 1},
                 client_capabilities=[1], server_capabilities="x", state={"a": 1, "b": None})  # fmt: skip
    sidecar.call("store_events", session_id="s", events=[{"data": 1.50, "stream_id": "q"}, {"data": "two"}])
    sidecar.call("append_log_entry", session_id="s", entry={"message_id": "m-1", "n": 1})
    sidecar.call("create_task", task_id="t", session_id="s", original_params=[1], meta={}, status_message="half")
    sidecar.call("complete_task", task_id="t", result={"ok": True}, status_message="done")
    sidecar.call("enqueue_task_message", task_id="t", message=7)
    sidecar.call("put_value", collection="c", key="k", value=[1], tenant_id="te", principal="ann")
    sidecar.call("put_value", collection="c", key="k", value=[2])


def all_of(sidecar: Sidecar, limit: int) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        page = sidecar.call("list_payloads", limit=limit, **cursor)
        assert len(page["payloads"]) <= limit
        yield from page["payloads"]
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


PLACES = [
    "session.client_capabilities", "session.server_capabilities", "session.metadata", "session.state", "session.state",
    "event.data", "event.data", "log.entry", "task.status_message", "task.original_params", "task.result", "task.meta",
    "task.message", "value.value", "value.value",
]  # fmt: skip


@pytest.mark.parametrize("limit", [1, 4, 1_000])
def test_every_payload_with_its_names(sidecar: Sidecar, limit: int) -> None:
    fill(sidecar)
    found = list(all_of(sidecar, limit))
    assert [each["place"] for each in found] == PLACES
    assert len({each["ref"] for each in found}) == len(found)
    event = found[5]
    assert (event["session_id"], event["stream_id"], event["event_type"], event["text"]) == ("s", "q", None, "1.5")
    assert [each["key"] for each in found[3:5]] == ["a", "b"] and found[4]["text"] == "null"
    assert found[8]["text"] == "done" and found[9]["task_id"] == "t"
    assert [(each["tenant_id"], each["principal"], each["text"]) for each in found[13:]] == [
        ("te", "ann", "[1]"), (None, None, "[2]")]


def test_a_replacement_is_no_change(sidecar: Sidecar) -> None:
    fill(sidecar)
    before = (sidecar.call("get_session", session_id="s"), sidecar.call("get_task", task_id="t"))
    changes = [{"ref": each["ref"], "text": each["text"],
                "replacement": "other" if each["place"] == "task.status_message" else
                json.dumps({"success": each["place"]} if each["place"] == "task.result" else {"is": each["place"]})}
               for each in all_of(sidecar, 100)]  # fmt: skip
    assert sidecar.call("replace_payloads", changes=changes) == {"replaced": len(PLACES), "missed": []}
    session, task = (sidecar.call("get_session", session_id="s"), sidecar.call("get_task", task_id="t"))
    assert session == {**before[0], **{name: {"is": f"session.{name}"} for name in (
        "client_capabilities", "server_capabilities", "metadata")}, "state": {"a": {"is": "session.state"},
                                                                              "b": {"is": "session.state"}}}
    assert task == {**before[1], "status_message": "other", "result": {"success": "task.result"},
                    **{name: {"is": f"task.{name}"} for name in ("original_params", "meta")}}
    # The size of the state counts on from here.
    sidecar.call("remove_session_state", session_id="s", key="a")
    sidecar.call("remove_session_state", session_id="s", key="b")
    assert sidecar.call("check_integrity")["ok"]
    assert not sidecar.call("append_log_entry", session_id="s", entry={"message_id": "m-2"})["duplicate"]
    # What becomes large leaves its task's row.
    for size in (2_000, 10):
        (meta,) = [each for each in all_of(sidecar, 100) if each["place"] == "task.meta"]
        grown = {"ref": meta["ref"], "text": meta["text"], "replacement": json.dumps("x" * size)}
        assert sidecar.call("replace_payloads", changes=[grown])["replaced"] == 1
        assert sidecar.call("get_task", task_id="t")["meta"] == "x" * size
        assert sidecar.call("check_integrity")["ok"]
    assert sidecar.call("update_task", task={"task_id": "t", "meta": 1}, force=True)["meta"] == 1
    # They have changed since.
    assert sidecar.call("replace_payloads", changes=changes[:3])["missed"] == [each["ref"] for each in changes[:3]]


def test_other_processes_see_it(spawn: Spawn, tmp_path: Path) -> None:
    one, other = (spawn(database=tmp_path / "sessions.db") for _ in range(2))
    one.call("create_session", session_id="s", metadata={"m": 1}, state={"k": 1})
    assert other.call("get_session", session_id="s")["metadata"] == {"m": 1}
    for each in list(all_of(one, 10)):
        change = {"ref": each["ref"], "text": each["text"], "replacement": '{"n":2}'}
        one.call("replace_payloads", changes=[change])
    found = other.call("get_session", session_id="s")
    assert (found["metadata"], found["state"]) == ({"n": 2}, {"k": {"n": 2}})


def test_all_or_none_and_what_may_stand_there(spawn: Spawn) -> None:
    sidecar = spawn("--max-payload-bytes", "100")
    fill(sidecar)
    found = list(all_of(sidecar, 100))
    by_place = {each["place"]: each for each in found}

    def change(place: str, replacement: str) -> dict[str, str]:
        return {"ref": by_place[place]["ref"], "text": by_place[place]["text"], "replacement": replacement}

    good = change("value.value", "3")
    for bad, said in ((change("event.data", "{"), "text of JSON"), (change("session.metadata", "1"), "an object"),
                      (change("log.entry", "[]"), "an object"), ({**good, "ref": "named_values.value.x.0"}, "`ref`"),
                      ({**good, "ref": "named_values.key.1.0"}, "`ref`")):
        error = sidecar.ask("replace_payloads", changes=[good, bad])["error"]
        assert error["data"]["kind"] == "invalid_params" and said in error["data"]["expected"]
        assert error["data"]["parameter"].startswith("changes[1].")
    error = sidecar.ask("replace_payloads", changes=[good, change("event.data", json.dumps("x" * 100))])["error"]
    assert error["data"]["kind"] == "payload_too_large"
    assert list(all_of(sidecar, 100)) == found
    assert sidecar.ask("list_payloads", cursor="9.1")["error"]["data"]["kind"] == "invalid_cursor"


def test_words_have_room_for_their_sealed_form(sidecar: Sidecar) -> None:
    sidecar.call("create_task", task_id="t", status_message="x" * 8_192)
    refused = sidecar.ask("touch_task", task_id="t", status_message="x" * 8_193)["error"]
    assert refused["data"]["kind"] == "invalid_params"
