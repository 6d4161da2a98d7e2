"""The append-only log through the pipe: bytes, pages, sending again, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sidecar import Sidecar, converse, request

S = {"session_id": "s"}


def append(entry: str) -> bytes:
    """A request with an entry as it is written here."""
    request = '{"jsonrpc":"2.0","id":2,"method":"append_log_entry","params":{"session_id":"s","entry":%s}}\n'
    return (request % entry).encode()


@pytest.fixture
def session(sidecar: Sidecar) -> Sidecar:
    sidecar.call("create_session", status="active", **S)
    return sidecar


@pytest.mark.parametrize("entry", [
    '{"payload":[0,255,1],"b64":"AP8B"}', '{ "n" : 1.50 , "e":1E+2, "big":12345678901234567890 }',
    '{"kind":"incoming","message_id":"\\u006d-1","text":"\\ud83d\\ude00 \\/ \\ud800"}', "{}",
    '{"a":{"kind":7,"message_id":[]}}',
])  # fmt: skip
def test_an_entry_comes_back_byte_for_byte(entry: str) -> None:
    answers = converse(request("create_session", 1, status="active", **S), append(entry), request("load_log", 3, **S))
    assert json.loads(answers[1])["result"] == {"seq": 1, "duplicate": False}
    assert f'"entries":[{{"seq":1,"entry":{entry}}}]'.encode() in answers[2]


@pytest.mark.parametrize("entry, parameter", [
    ({"message_id": 1}, "entry.message_id"), ({"message_id": ["m"]}, "entry.message_id"),
    ({"message_id": "x" * 1_025}, "entry.message_id"),
    ({"kind": "outgoing"}, "entry.kind"), ({"kind": 1}, "entry.kind"),
    ({"received_at": "now"}, "entry.received_at"), ({"received_at": 1.5}, "entry.received_at"),
    ({"received_at": -1}, "entry.received_at"), ([], "entry"), ("text", "entry"), (None, "entry"), (5, "entry"),
])  # fmt: skip
def test_what_the_log_reads_must_be_what_it_should(session: Sidecar, entry: Any, parameter: str) -> None:
    refused = session.refusal("append_log_entry", entry=entry, **S)
    assert (refused.kind, refused.data["parameter"]) == ("invalid_params", parameter)
    if parameter.startswith("entry."):
        name = parameter.removeprefix("entry.")
        refused = session.refusal("replace_log", entries=[{}, entry], **S)
        assert refused.data["parameter"] == f"entries[1].{name}"
        refused = session.refusal("compact_log", checkpoint=entry, **S)
        assert refused.data["parameter"] == f"checkpoint.{name}"
    assert session.call("load_log", **S)["newest_seq"] == 0


def test_a_member_given_twice_is_refused_however_it_is_spelled() -> None:
    twice = '{"message_id":"a","message\\u005fid":"b"}'
    answers = converse(request("create_session", 1, status="active", **S), append(twice))
    assert json.loads(answers[1])["error"]["data"]["parameter"] == "entry.message_id"


def test_a_checkpoint_says_nothing_else_of_itself(session: Sidecar) -> None:
    refused = session.refusal("compact_log", checkpoint={"kind": "incoming"}, **S)
    assert refused.data["parameter"] == "checkpoint.kind"
    session.call("append_log_entry", entry={}, **S)
    assert session.call("compact_log", checkpoint={"message_id": "c", "x": 1}, **S) == {"removed": 1, "seq": 2}
    entries = session.call("load_log", kind="checkpoint", **S)["entries"]
    assert entries == [{"seq": 2, "entry": {"message_id": "c", "x": 1}}]
    assert session.call("append_log_entry", entry={"message_id": "c"}, **S) == {"seq": 2, "duplicate": True}


def test_pages_end_at_the_limit_of_an_answer(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--max-result-bytes", "65536", "--max-payload-bytes", "60000", "--max-state-bytes", "60000")
    sidecar.call("create_session", status="active", **S)
    for number in range(9):
        sidecar.call("append_log_entry", entry={"n": number, "x": "x" * 25_000}, **S)
    seen, after, more = [], 0, True
    while more:
        page = sidecar.call("load_log", after_seq=after, **S)
        assert 1 <= len(page["entries"]) <= 3
        seen += [entry["entry"]["n"] for entry in page["entries"]]
        after, more = page["next_after"], page["has_more"]
    assert seen == list(range(9))
    assert sidecar.refusal("append_log_entry", entry={"x": "x" * 60_000}, **S).kind == "payload_too_large"


def test_one_lone_and_many_pipelined_requests_are_answered_the_same(spawn: Callable[..., Sidecar]) -> None:
    pipelined, lone = spawn(database=":memory:"), spawn(database=":memory:")
    requests = [request("create_session", "c", status="active", **S)]
    for number in range(300):
        entry = {"message_id": f"m-{number * 7 % 100}", "kind": ["incoming", "internal", "checkpoint"][number % 3]}
        requests.append(request("append_log_entry", number, entry=entry, deduplicate=number % 5 > 0, **S))
        if number % 50 == 49:
            requests.append(request("compact_log", f"k{number}", checkpoint={"n": number}, **S))
            requests.append(request("append_log_entry", f"b{number}", entry={"kind": 1}, **S))
        if number % 70 == 69:
            requests.append(request("load_log", f"l{number}", from_last_checkpoint=True, **S))
    pipelined.send(*requests)
    answers = [pipelined.receive() for _ in requests]
    for sent, answer in zip(requests, answers):
        lone.send(sent)
        if sent["id"] != "c":
            assert lone.receive() == answer
        else:
            lone.receive()


def test_two_processes_append_to_one_log(spawn: Callable[..., Sidecar]) -> None:
    first, second = spawn(), spawn()
    first.call("create_session", status="active", **S)
    for number in range(100):
        for sidecar in (first, second):
            sidecar.send(request("append_log_entry", number, entry={"message_id": f"m-{number}"}, **S))
    results = [[sidecar.receive()["result"] for _ in range(100)] for sidecar in (first, second)]
    # Each message is there once, whoever was first.
    assert [one["seq"] for one in results[0]] == [other["seq"] for other in results[1]]
    assert [one["duplicate"] != other["duplicate"] for one, other in zip(*results)] == [True] * 100
    page = first.call("load_log", **S)
    assert [entry["seq"] for entry in page["entries"]] == list(range(1, 101))
    assert len({entry["entry"]["message_id"] for entry in page["entries"]}) == 100


def test_the_window_is_an_option(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--log-dedup-window", "2")
    assert sidecar.call("server_info")["limits"]["log_dedup_window"] == 2
    sidecar.call("create_session", status="active", **S)
    for name in "abc":
        sidecar.call("append_log_entry", entry={"message_id": name}, **S)
    sidecar.finish()
    sidecar = spawn("--log-dedup-window", "2")
    assert sidecar.call("append_log_entry", entry={"message_id": "b"}, **S) == {"seq": 2, "duplicate": True}
    assert sidecar.call("append_log_entry", entry={"message_id": "a"}, **S) == {"seq": 4, "duplicate": False}


def test_a_transaction_takes_an_append_back(session: Sidecar) -> None:
    calls = [
        {"method": "append_log_entry", "params": {"entry": {"message_id": "m"}, **S}},
        {"method": "append_log_entry", "params": {"session_id": "none", "entry": {}}},
    ]
    refused = session.refusal("transaction", calls=calls)
    assert (refused.kind, refused.data["call_index"]) == ("session_not_found", 1)
    assert session.call("append_log_entry", entry={"message_id": "m"}, **S) == {"seq": 1, "duplicate": False}
