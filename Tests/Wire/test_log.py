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


#: as the MACP runtime writes an entry
MACP = (
    '{"message_id":"m-1","received_at_ms":1795210000000,"sender":"agent-a","message_type":"Proposal",'
    '"raw_payload":[222,173],"entry_kind":"Incoming","session_id":"macp","mode":"m","macp_version":"1.0",'
    '"timestamp_unix_ms":1795210000000}'
)


def test_entries_of_macp_are_understood_and_come_back_byte_for_byte() -> None:
    checkpoint = '{"message_id":"","entry_kind" : "CHECKPOINT","sender":"_runtime","raw_payload":[]}'
    last = '{"entry_kind":"internal","message_type":"SessionSuspend"}'
    answers = converse(
        request("create_session", 1, status="active", **S), append(MACP), append(checkpoint), append(last),
        append(MACP), request("load_log", 3, from_last_checkpoint=True, **S),
        request("load_log", 4, kind="incoming", **S), request("log_participants", 5, **S),
    )  # fmt: skip
    assert json.loads(answers[4])["result"] == {"seq": 1, "duplicate": True}
    from_checkpoint = f'"entries":[{{"seq":2,"entry":{checkpoint}}},{{"seq":3,"entry":{last}}}]'
    assert from_checkpoint.encode() in answers[5]
    assert f'"entries":[{{"seq":1,"entry":{MACP}}}]'.encode() in answers[6]
    assert json.loads(answers[7])["result"]["participants"] == [{
        "sender": "agent-a", "entries": 1, "first_seen": 1795210000000, "last_seen": 1795210000000, "last_seq": 1,
    }]  # fmt: skip


@pytest.mark.parametrize("name", ["kind", "entry_kind"])
@pytest.mark.parametrize("kind", ["checkpoint", "Checkpoint", "CHECKPOINT", "checkPoint"])
def test_a_kind_may_be_written_in_any_case(session: Sidecar, name: str, kind: str) -> None:
    session.call("append_log_entry", entry={}, **S)
    session.call("append_log_entry", entry={name: kind}, **S)
    page = session.call("load_log", from_last_checkpoint=True, **S)
    assert page["entries"] == [{"seq": 2, "entry": {name: kind}}]


@pytest.mark.parametrize("entry, parameter", [
    ({"kind": "incoming", "entry_kind": "Internal"}, "entry_kind"), ({"entry_kind": "Outgoing"}, "entry_kind"),
    ({"entry_kind": 2}, "entry_kind"), ({"entry_kind": "chec\u212apoint"}, "entry_kind"),
    ({"received_at": 1, "received_at_ms": 2}, "received_at_ms"), ({"received_at_ms": "now"}, "received_at_ms"),
    ({"received_at_ms": -1}, "received_at_ms"),
])  # fmt: skip
def test_two_names_that_differ_are_refused(session: Sidecar, entry: Any, parameter: str) -> None:
    for method, name, value, path in (
        ("append_log_entry", "entry", entry, "entry"), ("replace_log", "entries", [{}, entry], "entries[1]"),
    ):  # fmt: skip
        refused = session.refusal(method, **{name: value}, **S)
        assert (refused.kind, refused.data["parameter"]) == ("invalid_params", f"{path}.{parameter}")
    assert session.call("load_log", **S)["newest_seq"] == 0


def test_two_names_that_agree_are_one(session: Sidecar) -> None:
    entry = {"kind": "checkpoint", "entry_kind": "Checkpoint", "received_at": 5, "received_at_ms": 5}
    assert session.call("append_log_entry", entry=entry, **S)["seq"] == 1
    assert session.call("load_log", kind="checkpoint", **S)["entries"] == [{"seq": 1, "entry": entry}]
    refused = session.refusal("compact_log", checkpoint={"entry_kind": "Incoming"}, **S)
    assert refused.data["parameter"] == "checkpoint.entry_kind"


@pytest.mark.parametrize("sender", [None, 7, ["a"], {"id": "a"}, "", "x" * 1_025])
def test_a_sender_that_is_no_name_is_the_callers_own(session: Sidecar, sender: Any) -> None:
    assert session.call("append_log_entry", entry={"sender": sender}, **S)["seq"] == 1
    assert session.call("log_participants", **S) == {"participants": [], "next_cursor": None}


def test_participants_come_in_pages_and_to_their_owner(sidecar: Sidecar) -> None:
    sidecar.call("create_session", status="active", principal="alice", **S)
    for sender in "cabca":
        sidecar.call("append_log_entry", entry={"sender": sender}, **S)
    seen, cursor = [], None
    while True:
        page = sidecar.call("log_participants", limit=2, cursor=cursor, principal="alice", **S)
        seen += [(entry["sender"], entry["entries"], entry["last_seq"]) for entry in page["participants"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [("c", 2, 4), ("a", 2, 5), ("b", 1, 3)]
    for method, params in (("log_participants", {}), ("note_log_message_ids", {"message_ids": ["m"]})):
        foreign = sidecar.refusal(method, principal="bob", **params, **S)
        missing = sidecar.refusal(method, principal="bob", session_id="none", **params)
        assert foreign.kind == missing.kind == "session_not_found"
    assert sidecar.refusal("log_participants", cursor="s-1", **S).kind == "invalid_cursor"


def test_senders_beyond_those_that_are_told_apart_are_counted_together(session: Sidecar) -> None:
    """Very many in one group: each of them counted by itself would take a time that grows with their square."""
    count = 20_000
    entries = [{"sender": f"s-{number}", "received_at": 1_000_000 - number} for number in range(count)]
    session.call("replace_log", entries=[*entries, {"sender": "s-7", "received_at": 5}, {"sender": "late"}], **S)
    told = session.call("log_participants", limit=1_000, **S)
    assert [(one["sender"], one["entries"]) for one in told["participants"]] == [
        (f"s-{number}", 1 + (number == 7)) for number in range(1_000)
    ]
    assert told["participants"][7]["last_seq"] == count + 1
    [others] = session.call("log_participants", cursor=told["next_cursor"], **S)["participants"]
    assert (others["sender"], others["entries"], others["last_seq"]) == (None, count - 1_000 + 1, count + 2)


def test_the_last_entry_of_all_others_is_the_last_whoever_of_them_came_first(session: Sidecar) -> None:
    """The first of them also came last, and what a group has of each is counted one after the other."""
    session.call("replace_log", entries=[{"sender": f"s-{number}"} for number in range(1_000)], **S)
    late = [{"sender": sender} for sender in ("a", "b", "a")]
    last = session.call("transaction", calls=[
        {"method": "append_log_entry", "params": S | {"entry": entry}} for entry in late
    ])["results"][-1]["seq"]  # fmt: skip
    told = session.call("log_participants", limit=1_000, **S)
    [others] = session.call("log_participants", cursor=told["next_cursor"], **S)["participants"]
    assert (others["sender"], others["entries"], others["last_seq"]) == (None, len(late), last)


def test_ids_that_were_seen_elsewhere_are_known(session: Sidecar, spawn: Callable[..., Sidecar]) -> None:
    session.call("append_log_entry", entry={"message_id": "a"}, **S)
    assert session.call("note_log_message_ids", message_ids=["a", "b", "b"], **S) == {"noted": 1, "known": 2}
    assert session.call("append_log_entry", entry={"message_id": "b"}, **S) == {"seq": 0, "duplicate": True}
    other = spawn()
    assert other.call("append_log_entry", entry={"message_id": "b"}, **S) == {"seq": 0, "duplicate": True}
    other.call("note_log_message_ids", message_ids=["c"], **S)
    assert session.call("append_log_entry", entry={"message_id": "c"}, **S) == {"seq": 0, "duplicate": True}
    assert session.call("append_log_entry", entry={"message_id": "a"}, **S) == {"seq": 1, "duplicate": True}
    assert session.call("append_log_entry", entry={"message_id": "d"}, **S) == {"seq": 2, "duplicate": False}
    assert session.call("check_integrity")["problems"] == []
    for ids, parameter in (([], "message_ids"), ([7], "message_ids[0]"), (["x" * 1_025], "message_ids[0]")):
        assert session.refusal("note_log_message_ids", message_ids=ids, **S).data["parameter"] == parameter


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
