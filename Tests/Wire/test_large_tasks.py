"""Tasks that hold much: nothing over the limit gets in, no list comes to a stand, no call reads what it hides."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar import Refused, Sidecar

MIB = 1 << 20


def peak(sidecar: Sidecar) -> int:
    """The most memory that the process has held, in bytes."""
    status = Path(f"/proc/{sidecar.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def test_white_space_counts_as_payload(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn()
    for number in range(3):
        sidecar.call("create_task", task_id=f"t{number}")
    blanks = b" " * (2 * MIB)
    error = b'{"error":{' + blanks + b'"code":1,"message":"x"}}'
    for method, params in (
        (b"fail_task", b'{"task_id":"t0",' + error[1:]),
        (b"store_task_result", b'{"task_id":"t0","result":' + error + b"}"),
        (b"update_task", b'{"task":{"task_id":"t0","result":' + error + b"}}"),
    ):
        sidecar.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":"' + method + b'","params":' + params + b"}\n")
        answer = sidecar.receive()
        assert answer["error"]["data"]["kind"] == "payload_too_large", (method, answer)
    assert [task["status"] for task in sidecar.call("list_tasks")["tasks"]] == ["working"] * 3


def test_payloads_of_any_size_are_kept_and_replaced(spawn: Callable[..., Sidecar]) -> None:
    """512 bytes are the most that stands in a task's row; the contract knows nothing of it."""
    sidecar = spawn()
    sizes = (0, 510, 511, 5_000)
    task = sidecar.call("create_task", task_id="t", session_id=None, original_params="x" * 510, meta="y" * 511)
    for first in sizes:
        for second in sizes:
            fields = {"original_params": "p" * first, "meta": "m" * second, "input_responses": {"k": "r" * first}}
            task = sidecar.call("update_task", task={"task_id": "t", **fields})
            task = sidecar.call("store_task_result", task_id="t", result={"success": "s" * second})
            task = sidecar.call("require_task_input", task_id="t", input_requests={f"{first}-{second}": "q" * second})
            expected = {**fields, "result": {"success": "s" * second}}
            assert {name: task[name] for name in expected} == expected
            assert task["input_requests"][f"{first}-{second}"] == "q" * second
            assert sidecar.call("get_task", task_id="t") == task == sidecar.call("list_tasks")["tasks"][0]
            assert sidecar.call("get_task_result", task_id="t") == {"result": expected["result"]}
    sidecar.finish()
    sidecar = spawn()
    assert sidecar.call("get_task", task_id="t") == task
    assert sidecar.call("check_integrity")["problems"] == []
    done = sidecar.call("complete_task", task_id="t", result="z" * 5_000)
    assert (done["input_requests"], done["result"]) == (None, {"success": "z" * 5_000})
    assert sidecar.call("delete_task", task_id="t") == {"deleted": True}
    assert sidecar.call("check_integrity")["problems"] == []


def narrow(spawn: Callable[..., Sidecar]) -> Sidecar:
    """Answers that hold less than a task, a session with its state, or two messages."""
    limits = {"result": 65_536, "payload": 60_000, "state": 60_000}
    return spawn(*(word for name, size in limits.items() for word in (f"--max-{name}-bytes", str(size))))


def test_lists_go_past_what_no_answer_holds(spawn: Callable[..., Sidecar]) -> None:
    wide = spawn()
    large = "x" * 40_000
    for number in range(3):
        fields: dict[str, Any] = {"original_params": large, "meta": large} if number == 1 else {}
        wide.call("create_task", task_id=f"t{number}", session_id=None, **fields)
        wide.call("create_session", session_id=f"s{number}", status="active", metadata={"a": large})
        wide.call("set_session_state", session_id=f"s{number}", key="k", value=large)
    wide.finish()
    sidecar = narrow(spawn)
    with pytest.raises(Refused, match="payload_too_large"):
        sidecar.call("get_task", task_id="t1")
    tasks: list[dict[str, Any]] = []
    page = sidecar.call("list_tasks")
    tasks += page["tasks"]
    while page["next_cursor"]:
        page = sidecar.call("list_tasks", cursor=page["next_cursor"])
        tasks += page["tasks"]
    assert [task["task_id"] for task in tasks] == ["t0", "t1", "t2"]
    assert [task.get("omitted") for task in tasks] == [None, ["original_params", "meta"], None]
    assert tasks[1]["original_params"] is None and tasks[1]["meta"] is None and tasks[1]["status"] == "working"
    sessions: list[dict[str, Any]] = []
    page = sidecar.call("list_sessions", include_state=True)
    sessions += page["sessions"]
    while page["next_cursor"]:
        page = sidecar.call("list_sessions", include_state=True, cursor=page["next_cursor"])
        sessions += page["sessions"]
    assert [session["session_id"] for session in sessions] == ["s0", "s1", "s2"]
    assert all(session["omitted"] == ["state", "metadata"] and "state" not in session for session in sessions)
    assert all(session["metadata"] == {} for session in sessions)
    assert "omitted" not in sidecar.call("list_sessions", limit=1)["sessions"][0]


def test_a_task_that_no_answer_holds_is_read_and_ended(spawn: Callable[..., Sidecar]) -> None:
    wide = spawn()
    large = "x" * 40_000
    wide.call("create_task", task_id="t", original_params=large, meta=large)
    wide.finish()
    sidecar = narrow(spawn)
    with pytest.raises(Refused, match="payload_too_large.*'omit'"):
        sidecar.call("get_task", task_id="t")
    for left, right in (("original_params", "meta"), ("meta", "original_params")):
        task = sidecar.call("get_task", task_id="t", omit=[left])
        assert (task[left], task[right], task["omitted"]) == (None, large, [left])
    every = ["original_params", "result", "input_requests", "input_responses", "meta"]
    task = sidecar.call("get_task", task_id="t", omit=every)
    assert task["omitted"] == ["original_params", "meta"]
    # What was read so can be sent back.
    with pytest.raises(Refused, match="payload_too_large.*'omit'"):
        sidecar.call("update_task", task=task | {"status_message": "half"})
    assert sidecar.call("get_task", task_id="t", omit=every) == task
    sidecar.call("update_task", task=task | {"status_message": "half"}, omit=every)
    sidecar.call("touch_task", task_id="t", omit=every)
    done = sidecar.call("complete_task", task_id="t", result=1, omit=["meta", "original_params"])
    assert (done["status"], done["result"]) == ("completed", {"success": 1})
    assert done["omitted"] == ["original_params", "meta"]
    assert sidecar.call("get_task", task_id="t", omit=["meta"])["original_params"] == large


def test_a_session_that_no_answer_holds_is_read_and_ended(spawn: Callable[..., Sidecar]) -> None:
    wide = spawn()
    large = "x" * 40_000
    kept = {"metadata": {"a": large}, "client_capabilities": large}
    wide.call("create_session", session_id="s", status="active", **kept)
    keys = [f"{number}-{'k' * 900}" for number in range(90)]
    for key in reversed(keys):
        wide.call("set_session_state", session_id="s", key=key, value=key[:2])
    whole = wide.call("get_session", session_id="s")
    state = whole["state"]
    wide.finish()
    sidecar = narrow(spawn)
    with pytest.raises(Refused, match="payload_too_large.*'omit'"):
        sidecar.call("get_session", session_id="s")
    every = ["client_capabilities", "server_capabilities", "state", "metadata"]
    session = sidecar.call("get_session", session_id="s", omit=every)
    assert session["omitted"] == ["client_capabilities", "state", "metadata"]
    del whole["state"]
    assert session == whole | {"client_capabilities": None, "metadata": {}, "omitted": session["omitted"]}
    for member in kept:
        others = [name for name in every if name != member]
        assert sidecar.call("get_session", session_id="s", omit=others)[member] == kept[member]
    # Its keys in pages, in the order in which they were first set.
    with pytest.raises(Refused, match="payload_too_large.*'limit'"):
        sidecar.call("list_session_state_keys", session_id="s")
    found: list[str] = []
    cursor = None
    while True:
        page = sidecar.call("list_session_state_keys", session_id="s", cursor=cursor, limit=1_000)
        found += page["keys"]
        if (cursor := page["next_cursor"]) is None:
            break
        assert len(page["keys"]) > 1
    assert found == keys[::-1]
    few = sidecar.call("list_session_state_keys", session_id="s", limit=2)
    assert few["keys"] == keys[::-1][:2]
    # The last of a page may go meanwhile.
    sidecar.call("remove_session_state", session_id="s", key=few["keys"][1])
    next_page = sidecar.call("list_session_state_keys", session_id="s", cursor=few["next_cursor"], limit=1)
    assert next_page["keys"] == [keys[87]]
    assert sidecar.refusal("list_session_state_keys", session_id="s", cursor="s-1").kind == "invalid_cursor"
    assert sidecar.call("get_session_state", session_id="s", key=keys[5]) == {"exists": True, "value": "5-"}
    # What was read so can be sent back, and the session goes through its life.
    changed = sidecar.call("update_session", session=session | {"user_id": "u"}, omit=every)
    assert (changed["user_id"], changed["omitted"]) == ("u", session["omitted"])
    for method in ("touch_session", "suspend_session", "resume_session", "invalidate_session"):
        with pytest.raises(Refused, match="payload_too_large"):
            sidecar.call(method, session_id="s")
        assert sidecar.call(method, session_id="s", omit=every)["omitted"] == session["omitted"]
    sidecar.finish()
    wide = spawn()
    left = wide.call("get_session", session_id="s")
    assert {name: left[name] for name in kept} == kept and left["state"] == {
        key: value for key, value in state.items() if key != few["keys"][1]
    }


def test_a_queue_is_read_in_pages_by_bytes(spawn: Callable[..., Sidecar]) -> None:
    sidecar = narrow(spawn)
    sidecar.call("create_task", task_id="t")
    for number in range(5):
        sidecar.call("enqueue_task_message", task_id="t", message=f"{number}" * 40_000)
    seen, cursor = [], None
    while True:
        page = sidecar.call("peek_task_messages", task_id="t", **({"cursor": cursor} if cursor else {}))
        assert page["size"] == 5 and len(page["messages"]) == 1
        seen += [message[0] for message in page["messages"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == list("01234")
    taken = sidecar.call("dequeue_all_task_messages", task_id="t")
    assert len(taken["messages"]) == 1 and taken["has_more"] and taken["size"] == 4
    assert sidecar.call("dequeue_task_message", task_id="t")["size"] == 3
    sidecar.call("create_task", task_id="u")
    with pytest.raises(Refused, match="invalid_cursor"):
        sidecar.call("peek_task_messages", task_id="t", cursor="t-1")


def test_keys_are_bounded_and_cost_no_reader(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--max-task-input-keys", "3000", "--durability", "normal")
    sidecar.call("create_task", task_id="t", principal="p")
    before = peak(sidecar)
    for turn in range(3):
        keys = {f"{turn}-{number}-" + "k" * 700: 0 for number in range(1_000)}
        sidecar.call("require_task_input", task_id="t", input_requests=keys)
        sidecar.call("update_task_status", task_id="t", status="working")
    with pytest.raises(Refused, match="max_input_keys_reached"):
        sidecar.call("require_task_input", task_id="t", input_requests={"one more": 0})
    again = next(iter(keys))
    with pytest.raises(Refused, match="invalid_params"):
        sidecar.call("require_task_input", task_id="t", input_requests={again: 0})
    sidecar.call("put_value", collection="c", key="k", value=1, principal="p")
    kinds: dict[str, int] = {}
    cursor = None
    while True:
        page = sidecar.call("export_user_data", principal="p", limit=1_000, **({"cursor": cursor} if cursor else {}))
        for record in page["records"]:
            kinds[next(iter(record))] = kinds.get(next(iter(record)), 0) + 1
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert kinds == {"task": 1, "task_input_key": 3_000, "value": 1}
    assert peak(sidecar) - before < 48 * MIB


def test_many_large_tasks_are_recovered_and_followed_one_by_one(
    spawn: Callable[..., Sidecar], database: Path
) -> None:
    sidecar = spawn("--durability", "normal")
    sidecar.call("create_session", session_id="s", status="active")
    for number in range(100):
        sidecar.call("create_task", task_id=f"t{number}", session_id="s", original_params="x" * 1_000_000)
    sidecar.finish()
    sidecar = spawn("--durability", "normal")
    assert len(sidecar.call("recover_stuck_tasks", max_age=0)["task_ids"]) == 100
    told = {task["task_id"] for task in sidecar.call("subscribe_tasks", session_id="s")["tasks"]}
    while len(told) < 100:
        told.add(sidecar.receive_notification()["params"]["task"]["task_id"])
    assert peak(sidecar) < 96 * MIB
