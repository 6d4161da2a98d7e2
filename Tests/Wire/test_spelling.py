"""Two spellings of a character, one scalar or a letter with a mark, are two names: what belongs to the one is not shown
to the other, and what is stored under the one does not hide what comes under the other."""

from __future__ import annotations

import pytest

from sidecar import Sidecar

ONE, TWO = "\u00e9", "e\u0301"


@pytest.mark.parametrize("owner", ["tenant_id", "principal"])
def test_owners(sidecar: Sidecar, owner: str) -> None:
    sidecar.call("create_session", session_id="s", status="active", **{owner: ONE})
    sidecar.call("create_task", task_id="t", **{owner: ONE})
    assert sidecar.call("get_session", session_id="s", **{owner: ONE}) is not None
    assert sidecar.call("get_session", session_id="s", **{owner: TWO}) is None
    assert sidecar.call("get_task", task_id="t", **{owner: TWO}) is None
    assert sidecar.refusal("store_event", session_id="s", data=1, **{owner: TWO}).kind == "session_not_found"
    assert sidecar.refusal("cancel_task", task_id="t", **{owner: TWO}).kind == "task_not_found"


def test_keys_of_the_state(sidecar: Sidecar) -> None:
    state = {ONE: 1, TWO: 2}
    assert sidecar.call("create_session", session_id="s", state=state)["state"] == state
    assert sidecar.call("update_session", session={"session_id": "s", "state": state})["state"] == state


def test_messages_of_a_log(sidecar: Sidecar) -> None:
    sidecar.call("create_session", session_id="s")
    assert sidecar.call("append_log_entry", session_id="s", entry={"message_id": ONE}) == {"seq": 1, "duplicate": False}
    assert sidecar.call("append_log_entry", session_id="s", entry={"message_id": TWO}) == {"seq": 2, "duplicate": False}
    assert sidecar.call("append_log_entry", session_id="s", entry={"message_id": TWO}) == {"seq": 2, "duplicate": True}


def test_keys_of_input(sidecar: Sidecar) -> None:
    sidecar.call("create_task", task_id="t")
    sidecar.call("require_task_input", task_id="t", input_requests={ONE: 1, TWO: 2})
    task = sidecar.call("provide_task_input", task_id="t", input_responses={TWO: "two"})
    assert task["input_requests"] == {ONE: 1} and task["input_responses"] == {TWO: "two"}
    task = sidecar.call("provide_task_input", task_id="t", input_responses={ONE: "one"})
    assert task["input_responses"] == {ONE: "one", TWO: "two"} and task["status"] == "working"


def test_the_agent_that_a_session_is_used_by(sidecar: Sidecar) -> None:
    sidecar.call("create_session", session_id="s", status="active")
    assert sidecar.call("validate_session", session_id="s", user_agent=ONE)["valid"]
    assert sidecar.call("validate_session", session_id="s", user_agent=TWO)["reason"] == "agent_changed"
