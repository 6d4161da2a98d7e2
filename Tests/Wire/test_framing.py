"""Lines, ids, batches and what is not JSON: section 1 of the contract, sentence by sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sidecar import Sidecar, converse, line, notification, request

#: a request that needs no database and whose answer is short
COUNT = request("session_count", 1)
COUNT_ANSWER = {"jsonrpc": "2.0", "id": 1, "result": {"count": 0}}


def answers(*lines: Any, options: tuple[str, ...] = ()) -> list[Any]:
    return [json.loads(text) for text in converse(*lines, options=options)]


def error(answer: dict[str, Any]) -> tuple[int, str, Any]:
    """Code, kind and id of an answer that is an error of the right shape."""
    assert set(answer) == {"jsonrpc", "id", "error"} and answer["jsonrpc"] == "2.0", answer
    body = answer["error"]
    assert set(body) == {"code", "message", "data"} and isinstance(body["message"], str), answer
    data = body["data"]
    assert isinstance(data["retryable"], bool) and data["outcome"] == "not_applied", answer
    return body["code"], data["kind"], answer["id"]


def one_error(text: bytes, *, options: tuple[str, ...] = ()) -> tuple[int, str, Any]:
    """The error that a line is answered with. The loop must go on after it."""
    found = answers(text, COUNT, options=options)
    assert len(found) == 2 and found[1] == COUNT_ANSWER, found
    return error(found[0])


# --- Lines


CONVERSATION = b"".join(
    [
        line(request("create_session", "a", session_id="s-1", metadata={"naïve": "é – 🎈"})),
        b"\r\n\n \t \n",
        b"nonsense\r\n",
        line([request("store_event", 1, session_id="s-1", data="\u2028"), notification("no_such"), 7]),
        line(notification("store_event", session_id="s-1", data=[])),
        line(request("event_count", 2, session_id="s-1")).replace(b"\n", b"\r\n"),
        line(request("get_events_after", 3, session_id="s-1")).rstrip(b"\n"),
    ]
)


def without_times(lines: list[bytes]) -> list[Any]:
    """Answers that can be compared between two processes."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            times = {"created_at", "last_activity", "expires_at", "timestamp", "suspended_at"}
            return {name: None if name in times else strip(member) for name, member in value.items()}
        return [strip(element) for element in value] if isinstance(value, list) else value

    return [strip(json.loads(text)) for text in lines]


def test_the_same_bytes_in_any_pieces(spawn: Callable[..., Sidecar]) -> None:
    """In one piece, split in two at every boundary, and one byte at a time."""
    whole = without_times(converse(CONVERSATION))
    assert [message.get("id") if isinstance(message, dict) else "batch" for message in whole] == [
        "a", None, "batch", 2, 3,
    ]  # fmt: skip
    assert whole[3]["result"] == {"count": 2}
    # Between the two pieces stands a whole conversation's worth of time: the process has read and waits.
    for cut in range(1, len(CONVERSATION)):
        sidecar = spawn(database=":memory:")
        sidecar.send_bytes(CONVERSATION[:cut])
        sidecar.send_bytes(CONVERSATION[cut:])
        sidecar.close_input()
        assert without_times(sidecar.rest()) == whole, f"cut at {cut}"
        sidecar.kill()
    sidecar = spawn(database=":memory:")
    for index in range(len(CONVERSATION)):
        sidecar.send_bytes(CONVERSATION[index : index + 1])
    sidecar.close_input()
    assert without_times(sidecar.rest()) == whole


def test_a_piece_is_kept_until_its_line_is_complete(sidecar: Sidecar) -> None:
    """An answer between the two halves of a line shows that the first half has been read and waits."""
    text = line(COUNT)
    for cut in (1, 10, len(text) - 1):
        sidecar.send_bytes(line(request("session_count", "first")) + text[:cut])
        assert sidecar.receive()["id"] == "first"
        sidecar.send_bytes(text[cut:])
        assert sidecar.receive() == COUNT_ANSWER


def test_a_carriage_return_before_the_newline_is_ignored() -> None:
    assert answers(line(COUNT).replace(b"\n", b"\r\n")) == [COUNT_ANSWER]


def test_blank_lines_are_skipped() -> None:
    assert answers(b"\n\r\n  \t\n\n", COUNT, b"\n \n") == [COUNT_ANSWER]
    assert answers(b"") == []
    assert answers(b"\n") == []


def test_white_space_around_a_value_is_part_of_no_line_break() -> None:
    assert answers(b" \t" + line(COUNT).rstrip(b"\n") + b" \t \r\n") == [COUNT_ANSWER]


def test_a_last_line_without_a_newline_is_run() -> None:
    assert answers(line(COUNT).rstrip(b"\n")) == [COUNT_ANSWER]
    assert answers(line(COUNT) + b'{"jsonrpc":') [1]["error"]["code"] == -32700


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\xef\xbb\xbf" + line(COUNT), id="byte order mark"),
        pytest.param(line(COUNT).replace(b"session_count", b"session\xff"), id="a byte that UTF-8 never has"),
        pytest.param(line(COUNT).replace(b"session_count", b"\xc0\xaf"), id="an overlong form"),
        pytest.param(line(COUNT).replace(b"session_count", b"\xed\xa0\x80"), id="a surrogate in UTF-8"),
        pytest.param(line(COUNT).replace(b"session_count", b"\xf4\x90\x80\x80"), id="over U+10FFFF"),
        pytest.param(line(COUNT).replace(b"session_count", b"\xe2\x82"), id="a sequence cut short"),
        pytest.param(line(COUNT).replace(b"session_count", b"session\tcount"), id="an unescaped tab"),
        pytest.param(line(COUNT).replace(b"session_count", b"session\x00count"), id="an unescaped NUL"),
        pytest.param(line(COUNT).replace(b"session_count", b"session\x1fcount"), id="an unescaped control character"),
        pytest.param(b"\x00\n", id="NUL alone"),
        pytest.param(b"{\n", id="an object cut short"),
        pytest.param(b"[\n", id="an array cut short"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"session_count"}x\n', id="more after the value"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"session_count"}{}\n', id="two values in a line"),
        pytest.param(b"{'jsonrpc':'2.0'}\n", id="the wrong quotes"),
        pytest.param(b'{"jsonrpc":"2.0","id":01,"method":"session_count"}\n', id="a leading zero"),
        pytest.param(b'{"jsonrpc":"2.0","id":NaN,"method":"session_count"}\n', id="not a number"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"session_count",}\n', id="a trailing comma"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"\\x"}\n', id="an unknown escape"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"\\u12g4"}\n', id="a bad Unicode escape"),
        pytest.param(b'[{"jsonrpc":"2.0","id":1,"method":"session_count"}\n', id="a batch cut short"),
    ],
)
def test_what_is_not_json_is_a_parse_error(text: bytes) -> None:
    assert one_error(text) == (-32700, "parse_error", None)


def test_a_parse_error_says_where() -> None:
    found = answers(b'{"jsonrpc":"2.0",\x01}\n')[0]["error"]
    assert found["data"]["position"] == 17


def nested(depth: int) -> bytes:
    """A request in which `data` makes the whole line `depth` deep: the request and its params are two levels."""
    data = b"[" * (depth - 2) + b"]" * (depth - 2)
    return b'{"jsonrpc":"2.0","id":1,"method":"store_event","params":{"session_id":"s","data":' + data + b"}}\n"


def test_depth_128_is_the_limit() -> None:
    assert one_error(nested(128)) == (1001, "session_not_found", 1)
    assert one_error(nested(129)) == (-32700, "parse_error", None)
    assert one_error(b"[" * 100_000 + b"\n") == (-32700, "parse_error", None)
    assert one_error(b'{"a":' * 100_000 + b"\n") == (-32700, "parse_error", None)


# --- Requests


@pytest.mark.parametrize("text", [b"1", b"null", b"true", b'"text"', b"-0.5e3"])
def test_a_scalar_is_no_request(text: bytes) -> None:
    assert one_error(text + b"\n") == (-32600, "invalid_request", None)


@pytest.mark.parametrize(
    ("members", "id"),
    [
        ('"id":1,"method":"session_count"', 1),
        ('"jsonrpc":"1.0","id":1,"method":"session_count"', 1),
        ('"jsonrpc":2.0,"id":1,"method":"session_count"', 1),
        ('"jsonrpc":null,"id":1,"method":"session_count"', 1),
        ('"jsonrpc":"2.0","id":"x"', "x"),
        ('"jsonrpc":"2.0","id":1,"method":7', 1),
        ('"jsonrpc":"2.0","id":1,"method":null', 1),
        ('"jsonrpc":"2.0","method":["session_count"]', None),
        ("", None),
    ],
)
def test_an_object_that_is_no_request(members: str, id: Any) -> None:
    assert one_error(b"{" + members.encode() + b"}\n") == (-32600, "invalid_request", id)


@pytest.mark.parametrize("name", ["jsonrpc", "id", "method", "params"])
def test_a_member_given_twice_in_a_request_is_named(name: str) -> None:
    members = {"jsonrpc": '"2.0"', "id": "1", "method": '"session_count"', "params": "{}"}
    text = ",".join(f'"{key}":{value}' for key, value in members.items())
    twice = f'{{{text},"{name}":{members[name]}}}\n'.encode()
    # With the id given twice nobody can say which one to answer under.
    assert one_error(twice) == (-32600, "invalid_request", None if name == "id" else 1)
    assert f"'{name}'" in answers(twice)[0]["error"]["message"]


def test_an_id_given_twice_is_not_answered_under_whatever_else_is_given_twice() -> None:
    text = b'{"jsonrpc":"2.0","id":1,"id":2,"method":"session_count","method":"session_count"}\n'
    assert one_error(text) == (-32600, "invalid_request", None)


@pytest.mark.parametrize(
    "twice",
    [
        '"key":"a","key":"b"',
        '"key":"a","k\\u0065y":"b"',
        '"k\\u0065y":"a","key":"b"',
        '"\\u006bey":"a","\\u006b\\u0065\\u0079":"b"',
        '"key":"a","key":null',
        '"key":null,"key":"a"',
    ],
)
def test_a_parameter_given_twice_is_named_whatever_its_spelling(twice: str) -> None:
    text = f'{{"jsonrpc":"2.0","id":1,"method":"get_session_state","params":{{"session_id":"s",{twice}}}}}\n'.encode()
    assert one_error(text) == (-32602, "invalid_params", 1)
    assert answers(text)[0]["error"]["data"]["parameter"] == "key"


def test_names_may_be_spelled_with_escapes() -> None:
    text = rb'{"jsonrpc":"2.0","id":1,"\u006dethod":"session\u005fcount","params":{"\u0075ser_id":"u"}}' + b"\n"
    assert answers(text) == [COUNT_ANSWER]


@pytest.mark.parametrize("name", ["jsonrpc", "id", "method", "params"])
def test_a_member_given_twice_with_escapes_is_named(name: str) -> None:
    members = {"jsonrpc": '"2.0"', "id": "1", "method": '"session_count"', "params": "{}"}
    escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
    text = ",".join(f'"{key}":{value}' for key, value in members.items())
    twice = f'{{{text},"{escaped}":{members[name]}}}\n'.encode()
    assert one_error(twice) == (-32600, "invalid_request", None if name == "id" else 1)


def test_other_members_of_a_request_are_ignored() -> None:
    assert answers({**COUNT, "_meta": {"trace": [1]}, "extra": None}) == [COUNT_ANSWER]


# --- Ids


@pytest.mark.parametrize(
    "id",
    [
        "1", "0", "-1", "-0", "1.0", "1e2", "1E+2", "-0.0e-0", "9007199254740993", "1234567890" * 4, "0.1" + "0" * 60,
        '""', '"a"', '"\\u0061"', '"\\/"', '"\\n\\t\\""', '"é"', '"\\ud83c\\udf88"', '"' + "x" * 5_000 + '"', "null",
    ],
)  # fmt: skip
def test_an_id_comes_back_byte_for_byte(id: str) -> None:
    """In a result, in an error, in a batch, and where the request is not even one."""
    good = f'{{"jsonrpc":"2.0","id":{id},"method":"session_count"}}'
    unknown = f'{{"jsonrpc":"2.0","id":{id},"method":"no_such_method"}}'
    bad = f'{{"id":{id}}}'
    result = f'{{"jsonrpc":"2.0","id":{id},"result":{{"count":0}}}}'
    lines = [text.decode() for text in converse(f"{good}\n{unknown}\n{bad}\n[{good},{unknown}]\n".encode())]
    assert lines[0] == result
    assert lines[1].startswith(f'{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,')
    assert lines[2].startswith(f'{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32600,')
    assert lines[3].startswith(f'[{result},{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,')


@pytest.mark.parametrize("id", ["{}", "[]", "[1]", "true", "false", '"\\ud800"', '"\\udc00\\ud800"'])
def test_an_id_of_a_wrong_kind_is_refused(id: str) -> None:
    text = f'{{"jsonrpc":"2.0","id":{id},"method":"session_count"}}\n'.encode()
    assert one_error(text) == (-32600, "invalid_request", None)


# --- Notifications


def test_a_notification_is_executed_and_never_answered() -> None:
    found = answers(
        notification("create_session", session_id="s"),
        notification("create_session", session_id="s"),  # session_exists
        notification("no_such_method"),
        notification("store_event", session_id="s"),  # data is missing
        notification("store_event", session_id="s", data=1),
        {"jsonrpc": "2.0", "method": "session_count", "params": [1]},
        notification("get_events_after", session_id="s"),
        notification("session_count"),
        request("event_count", 1, session_id="s"),
    )
    assert found == [{"jsonrpc": "2.0", "id": 1, "result": {"count": 1}}]


# --- Parameters as a whole


@pytest.mark.parametrize("params", ["[]", "[1]", "1", '"text"', "true", "false"])
def test_params_come_by_name_only(params: str) -> None:
    text = f'{{"jsonrpc":"2.0","id":1,"method":"session_count","params":{params}}}\n'.encode()
    assert one_error(text) == (-32602, "invalid_params", 1)


def test_params_may_be_absent_or_null() -> None:
    for text in ("", ',"params":{}', ',"params":null'):
        assert answers(f'{{"jsonrpc":"2.0","id":1,"method":"session_count"{text}}}\n'.encode()) == [COUNT_ANSWER]


@pytest.mark.parametrize(
    ("method", "nearest"),
    [
        ("create_sesion", "create_session"), ("createSession", "create_session"), ("store_events_", "store_events"),
        ("get_event_after", "get_events_after"), ("Session_Count", "session_count"), ("xyzzy_plugh_foo_bar", None),
        ("", None), ("\u0000", None), ("'; DROP TABLE sessions; --", None),
    ],
)  # fmt: skip
def test_an_unknown_method_is_answered_with_the_nearest(method: str, nearest: str | None) -> None:
    found = answers(request(method, 1))[0]
    assert error(found) == (-32601, "method_not_found", 1)
    assert found["error"]["data"]["method"] == method
    assert found["error"]["data"]["nearest"] == nearest
    assert nearest is None or nearest in found["error"]["message"]


@pytest.mark.parametrize("text", [
    '"method":"%s"', '"method":"session_count","params":{"%s":1}', '"method":"session_count","%s":1',
])  # fmt: skip
@pytest.mark.parametrize("start", ["a", "\\u0061"])
def test_a_letter_with_very_many_marks_is_one_name_among_others(text: str, start: str) -> None:
    """To compare it as a character took minutes, and as one character it came back as a whole."""
    name = start + "\u0301" * 1_000_000
    found = converse(f'{{"jsonrpc":"2.0","id":1,{text % name}}}\n'.encode(), COUNT)
    assert len(found) == 2 and json.loads(found[1]) == COUNT_ANSWER and len(found[0]) < 5_000


# --- Batches


def test_an_empty_batch_is_one_error() -> None:
    assert one_error(b"[]\n") == (-32600, "invalid_request", None)
    assert one_error(b" [ \t ] \n") == (-32600, "invalid_request", None)


def test_a_batch_of_no_requests_is_an_array_of_errors() -> None:
    found = answers(b"[1,2]\n")
    assert len(found) == 1 and [error(member) for member in found[0]] == [(-32600, "invalid_request", None)] * 2
    found = answers(b"[[]]\n")
    assert [error(member) for member in found[0]] == [(-32600, "invalid_request", None)]


def test_a_batch_of_notifications_is_not_answered() -> None:
    found = answers(
        [notification("create_session", session_id="s"), notification("no_such_method")],
        [notification("store_event", session_id="s", data=1)],
        request("event_count", 1, session_id="s"),
    )
    assert found == [{"jsonrpc": "2.0", "id": 1, "result": {"count": 1}}]


def test_a_mixed_batch_is_answered_member_by_member_in_order() -> None:
    """Writes and reads, failures and notifications. A batch is not atomic: what succeeds stays."""
    found = answers(
        [
            request("create_session", "a", session_id="s"),
            notification("store_event", session_id="s", data=1),
            request("create_session", 2, session_id="s"),
            1,
            {"jsonrpc": "2.0"},
            request("no_such_method", 3),
            request("store_event", 4, session_id="s"),
            request("store_event", 5, session_id="s", data=2),
            request("event_count", 6, session_id="s"),
        ]
    )
    assert len(found) == 1
    assert [member["id"] for member in found[0]] == ["a", 2, None, None, 3, 4, 5, 6]
    codes = [member["error"]["code"] if "error" in member else None for member in found[0]]
    assert codes == [None, 1002, -32600, -32600, -32601, -32602, None, None]
    assert found[0][6]["result"]["id"] == 2 and found[0][7]["result"] == {"count": 2}


def test_batches_and_lines_take_turns() -> None:
    found = answers([request("session_count", 1)], request("session_count", 2), [request("session_count", 3)] * 2)
    assert [[member["id"] for member in entry] if isinstance(entry, list) else entry["id"] for entry in found] == [
        [1], 2, [3, 3],
    ]  # fmt: skip


def test_a_batch_has_at_most_a_thousand_members() -> None:
    assert len(answers([COUNT] * 1_000)[0]) == 1_000
    assert one_error(line([COUNT] * 1_001)) == (-32600, "invalid_request", None)
    # Refused as a whole: nothing of it is run.
    found = answers([notification("create_session")] * 1_001, COUNT)
    assert error(found[0])[0] == -32600 and found[1] == COUNT_ANSWER


def test_a_batch_that_is_not_json_is_not_run_in_part() -> None:
    text = line([notification("create_session")] * 3).replace(b"]\n", b",}]\n")
    found = answers(text, COUNT)
    assert error(found[0])[0] == -32700 and found[1] == COUNT_ANSWER


# --- Long lines


def long_line(id: str, size: int, *, id_first: bool = True) -> bytes:
    """A request line of exactly `size` bytes before its newline."""
    head, tail = ('{"jsonrpc":"2.0",' + f'"id":{id},' if id_first else '{"jsonrpc":"2.0",'), '"method":"session_count"'
    end = "}" if id_first else f',"id":{id}}}'
    empty = f'{head}"padding":"",{tail}{end}'
    text = f'{head}"padding":"{"x" * (size - len(empty))}",{tail}{end}'
    assert len(text) == size
    return text.encode() + b"\n"


def test_a_line_over_the_limit_is_refused_and_the_loop_goes_on() -> None:
    small = ("--max-line-bytes", "200000", "--max-payload-bytes", "100000")
    too_large = 1301, "payload_too_large"
    assert answers(long_line("1", 200_000), options=small) == [COUNT_ANSWER]
    assert one_error(long_line('"\\u0061"', 200_001), options=small) == (*too_large, "a")
    assert one_error(long_line("12", 5_000_000), options=small) == (*too_large, 12)
    # Its id stands behind the first 64 KiB, or it has none that could be read.
    assert one_error(long_line("1", 300_000, id_first=False), options=small) == (*too_large, None)
    assert one_error(b"x" * 300_000 + b"\n", options=small) == (*too_large, None)
    assert one_error(b"\xff" * 300_000 + b"\n", options=small) == (*too_large, None)
    assert one_error(b" " * 300_000 + b"\n", options=small) == (*too_large, None)
    assert one_error(b"[" + line(COUNT).strip() + b"," + b" " * 300_000 + b"1]\n", options=small)[0] == 1301
    assert answers(long_line("1", 200_001), options=small)[0]["error"]["data"]["limit"] == 200_000


def test_an_id_at_the_edge_of_the_first_64_kib() -> None:
    """An id that is cut there must not come back in part."""
    small = ("--max-line-bytes", "100000", "--max-payload-bytes", "100000")
    for before in range(65_536 - 30, 65_536 + 2):
        head = '{"jsonrpc":"2.0","padding":"'
        text = head + "x" * (before - len(head) - 7) + '","id":' + "1234567890" + ',"method":"m","rest":"'
        text += "y" * 100_000 + '"}\n'
        assert text.index("1234567890") == before
        found = one_error(text.encode(), options=small)
        assert found in [(1301, "payload_too_large", None), (1301, "payload_too_large", 1234567890)], before
        if before + 11 <= 65_536:
            assert found[2] == 1234567890
        if before + 10 > 65_536:
            assert found[2] is None


def test_a_carriage_return_is_not_a_line_break() -> None:
    assert one_error(line(COUNT).strip() + b"\r" + line(COUNT)) == (-32700, "parse_error", None)


def test_a_long_last_line_without_a_newline_is_refused_too() -> None:
    small = ("--max-line-bytes", "2000", "--max-payload-bytes", "1000")
    found = answers(long_line("1", 300_000).strip(), options=small)
    assert [error(answer) for answer in found] == [(1301, "payload_too_large", 1)]


def test_the_default_limit_of_a_line_is_16_mib() -> None:
    assert answers(long_line("1", 16 << 20)) == [COUNT_ANSWER]
    assert one_error(long_line("1", (16 << 20) + 1)) == (1301, "payload_too_large", 1)


def test_a_payload_over_the_limit_is_refused() -> None:
    """Its bytes are counted as they came, quotes and escapes included."""
    options = ("--max-payload-bytes", "100")

    def store(size: int) -> tuple[int, str] | None:
        data = '"' + "x" * (size - 2) + '"'
        text = f'{{"jsonrpc":"2.0","id":1,"method":"store_event","params":{{"session_id":"s","data":{data}}}}}\n'
        answer = answers(request("create_session", 0, session_id="s"), text.encode(), options=options)[1]
        return (answer["error"]["code"], answer["error"]["data"]["kind"]) if "error" in answer else None

    assert store(100) is None
    assert store(101) == (1301, "payload_too_large")


def test_the_default_limit_of_a_payload_is_1_mib(sidecar: Sidecar) -> None:
    sidecar.call("create_session", session_id="s")
    assert sidecar.call("store_event", session_id="s", data="x" * ((1 << 20) - 2))["id"] == 1
    assert sidecar.refusal("store_event", session_id="s", data="x" * ((1 << 20) - 1)).kind == "payload_too_large"
    assert sidecar.call("event_count", session_id="s") == {"count": 1}


def test_a_page_ends_early_at_the_limit_of_an_answer(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--max-result-bytes", "65536", "--max-state-bytes", "32KiB", "--max-payload-bytes", "32KiB")
    sidecar.call("create_session", session_id="s")
    for index in range(10):
        sidecar.call("store_event", session_id="s", data=str(index) * 20_000)
    seen: list[int] = []
    after, has_more = 0, True
    while has_more:
        sidecar.send(request("get_events_after", 1, session_id="s", after_event_id=after))
        text = sidecar.read_line()
        assert text is not None and len(text) <= 65_536 + 1_000
        page = json.loads(text)["result"]
        assert page["events"]
        seen += [event["id"] for event in page["events"]]
        after, has_more = page["next_after"], page["has_more"]
    assert seen == list(range(1, 11))


@pytest.mark.parametrize("size", [*range(65_536 - 600, 65_536, 7)])
def test_a_page_that_is_full_to_the_last_byte_is_no_error(sidecar_of_64_kib: Sidecar, size: int) -> None:
    """Whatever stands behind the entries has room too."""
    sidecar = sidecar_of_64_kib
    sidecar.call("create_session", session_id=f"s-{size}")
    first = {"session_id": f"s-{size}", "data": "x" * 32_000}
    sidecar.call("store_event", **first)
    sidecar.call("store_event", **first | {"data": "x" * (size - 32_000 - 300)})
    page = sidecar.call("get_events_after", session_id=f"s-{size}")
    assert len(page["events"]) == 1 and page["has_more"] or len(page["events"]) == 2
    sidecar.call("append_log_entry", session_id=f"s-{size}", entry={"x": "x" * 32_000})
    sidecar.call("append_log_entry", session_id=f"s-{size}", entry={"x": "x" * (size - 32_000 - 100)})
    assert sidecar.call("load_log", session_id=f"s-{size}")["entries"]


@pytest.fixture(scope="module")
def sidecar_of_64_kib() -> Iterator[Sidecar]:
    small = ("--max-result-bytes", "65536", "--max-state-bytes", "32KiB", "--max-payload-bytes", "36000")
    sidecar = Sidecar(*small, database=":memory:")
    yield sidecar
    sidecar.kill()


# --- Payloads


PAYLOADS = [
    "1.0", "1e2", "-0", "-0.0", "1E+2", "0.10", "1e400", "-1e-400", "1234567890123456789012345678901234567890",
    "9007199254740993", "3.141592653589793238462643383279", "null", "true", "false", '""', "[]", "{}",
    '"\\u0061\\/\\b\\f\\n\\r\\t\\"\\\\"', '"\\u0000"',
    '"\\ud800"', '"\\udfff x"', '"\\ud83c\\udf88"', '"🎈"', '"\u2028\u007f"',
    '{"b":1,"a":2}', '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"":{"":[[[],{}]]}}', '{ "spaced" : [ 1 , 2 ] }',
    '{"__proto__":null,"constructor":1}', '"\\u00e9 é e\u0301"', "[1.50,2.0e0,-0e1]",
]  # fmt: skip


def raw_request(method: str, params: str, id: int = 1) -> bytes:
    return f'{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}\n'.encode()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_an_opaque_payload_comes_back_byte_for_byte(payload: str) -> None:
    """Number spelling, member order, escapes, lone surrogates and members given twice all survive. White space between
    the values survives too, for nothing is taken apart."""
    lines = converse(
        raw_request("create_session", f'"session_id":"s","metadata":{{"m":{payload}}},"client_capabilities":{payload}'),
        raw_request("store_event", f'"session_id":"s","data":{payload}'),
        raw_request("store_events", f'"session_id":"s","events":[{{"data":{payload}}}, {{ "data" : {payload} }}]'),
        raw_request("set_session_state", f'"session_id":"s","key":"k","value":{payload}'),
        raw_request("get_session_state", '"session_id":"s","key":"k"'),
        raw_request("get_session", '"session_id":"s"'),
        raw_request("get_events_after", '"session_id":"s"'),
        raw_request("remove_session_state", '"session_id":"s","key":"k"'),
    )
    created, _, _, _, state, session, events, removed = (text.decode() for text in lines)
    assert f'"metadata":{{"m":{payload}}}' in created and f'"client_capabilities":{payload},' in created
    assert f'"result":{{"exists":true,"value":{payload}}}' in state
    assert f'"state":{{"k":{payload}}}' in session and f'"metadata":{{"m":{payload}}}' in session
    assert events.count(f'"data":{payload},"retry"') == 3
    assert f'"result":{{"existed":true,"value":{payload}}}' in removed


@pytest.mark.parametrize(
    ("method", "params", "parameter"),
    [
        ("create_session", r'"session_id":"\ud800"', "session_id"),
        ("create_session", r'"user_id":"x\ud800"', "user_id"),
        ("create_session", r'"principal":"\udc00"', "principal"),
        ("get_session_state", r'"session_id":"s","key":"\ud800\ud800"', "key"),
        ("store_event", r'"session_id":"s","data":1,"stream_id":"\ud800"', "stream_id"),
        ("store_event", r'"session_id":"s","data":1,"event_type":"\udead"', "event_type"),
    ],
)
def test_a_lone_surrogate_is_refused_in_a_name(method: str, params: str, parameter: str) -> None:
    text = raw_request(method, params)
    assert one_error(text) == (-32602, "invalid_params", 1)
    assert answers(text)[0]["error"]["data"]["parameter"] == parameter


def test_a_lone_surrogate_is_refused_in_the_name_of_a_method_or_parameter() -> None:
    assert one_error(b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}\n') == (-32601, "method_not_found", 1)
    assert one_error(raw_request("session_count", r'"\ud800":1')) == (-32602, "invalid_params", 1)


def test_a_key_of_the_state_may_be_any_utf_8() -> None:
    """Also where the state is given as a whole; a key that no UTF-8 can express is refused there too."""
    keys = [" ", "é", "🎈", '"', "\\", "\u0000", "a\nb", "x" * 1_024, "__proto__"]
    state = {key: index for index, key in enumerate(keys)}
    found = answers(
        request("create_session", 1, session_id="s", state=state),
        request("list_session_state_keys", 2, session_id="s"),
        *(request("get_session_state", 3, session_id="s", key=key) for key in keys),
    )
    assert found[0]["result"]["state"] == state
    assert found[1]["result"] == {"keys": keys, "next_cursor": None}
    assert [entry["result"]["value"] for entry in found[2:]] == list(range(len(keys)))
    assert one_error(raw_request("create_session", r'"state":{"\ud800":1}'))[0] == -32602


# --- What a result looks like


def test_a_result_is_never_left_out() -> None:
    found = converse(request("get_session", 1, session_id="none"))
    assert found == [b'{"jsonrpc":"2.0","id":1,"result":null}']


def test_no_answer_holds_a_line_break_inside() -> None:
    found = converse(
        request("create_session", 1, session_id="s", metadata={"text": "a\nb\u2028c\u0085d"}),
        request("store_event", 2, session_id="s", data="a\r\nb"),
        request("get_recent_events", 3, session_id="s", format="sse"),
    )
    assert len(found) == 3 and all(json.loads(text)["id"] for text in found)
