"""Input that nobody means well with, by its size and by its shape: memory stays under a stated bound, every line gets
one verdict, and the next line is served. What a line may say at all is in Tests/Wire/test_framing.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import struct
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from part import Finding, Form
from sidecar import PATIENCE, Sidecar, line, request

MIB = 1 << 20
#: the limit of a line, by default
LINE = 16 * MIB
#: what a process may ever hold with the limits that it has by default, whether its answers are read or not (README)
BOUND = 160 * MIB

METHODS = json.loads((Path(__file__).resolve().parents[2] / "protocol" / "openrpc.json").read_text())["methods"]


def highest_mark(sidecar: Sidecar) -> int:
    """Bytes that the process ever had in memory (VmHWM)."""
    status = Path(f"/proc/{sidecar.process.pid}/status").read_text()
    return int(next(row.split()[1] for row in status.splitlines() if row.startswith("VmHWM"))) << 10


def ask_last(sidecar: Sidecar) -> list[bytes]:
    """What is answered until a good request is, which must be."""
    sidecar.send(request("session_count", "last"))
    answers = []
    while True:
        text = sidecar.read_line()
        assert text is not None, f"the process has ended; stderr: {sidecar.stderr()!r}"
        if text.startswith(b'{"jsonrpc":"2.0","id":"last"'):
            assert b'"result"' in text, text
            return answers
        answers.append(text)


# --- Lines


def repeated(head: bytes, unit: bytes, tail: bytes, size: int = LINE) -> bytes:
    """`head`, as many units as fit into a line of `size`, `tail`."""
    return head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail


def bombs() -> Iterator[tuple[str, bytes]]:
    """Lines that are small in themselves and might become large in memory."""
    head, tail = b'{"jsonrpc":"2.0","id":', b',"method":"session_count"}'
    yield "a string", repeated(head + b'1,"x":"', b"y", b'"' + tail)
    yield "escapes", repeated(head + b'1,"x":"', b"\\u0000", b'"' + tail)
    yield "an id", repeated(head + b'"', b"\\u0061", b'"' + tail)
    yield "a number as an id", repeated(head, b"9", tail)
    yield "members of a request", repeated(head + b"1", b',"":1', tail)
    yield "a method", repeated(head + b'1,"method":"', b"\\u0061", b'"}')
    yield "a letter with marks", repeated(head + b'1,"method":"a', "\u0301".encode(), b'"}')
    yield "elements of a batch", repeated(b"[1", b",1", b"]")
    yield "empty elements of a batch", repeated(b"[[]", b",[]", b"]")
    sixteenth = repeated(head + b'1,"x":"', b"y", b'"' + tail, 16_000)
    yield "a batch of a thousand", b"[" + b",".join([sixteenth] * 1_000) + b"]"
    yield "a batch of batches", b"[" + b",".join([b"[" + b",".join([head + b"1" + tail] * 300) + b"]"] * 900) + b"]"
    yield "brackets", b"[" * LINE
    yield "braces", repeated(b"", b'{"":', b"")
    yield "brackets and their ends", b"[" * (LINE // 2) + b"]" * (LINE // 2)
    yield "128 levels again and again", repeated(b"[1", b"," + b"[" * 127 + b"]" * 127, b"]")


#: what the examples of the contract are about, made before each bomb of a method
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("create_session", {"session_id": "session-1", "status": "active", "user_id": "user-1"}),
    ("create_task", {"task_id": "task-1", "session_id": "session-1", "original_method": "tools/call"}),
    ("require_task_input", {"task_id": "task-1", "input_requests": {"size": {}}}),
    ("enqueue_work", {"queue": "mail", "work_id": "m-1", "payload": 1, "group": "ada"}),
]
#: what stands in an example of the contract where a bomb goes
PLACE = "the place of a bomb"


def many_names(size: int) -> bytes:
    """Members of which no two are called the same."""
    return b"{" + b",".join(b'"%06x":1' % number for number in range(size // 11)) + b"}"


#: what fills a size, by the kind of a value that holds several
FILLED: dict[str, dict[str, Callable[[int], bytes]]] = {
    "array": {"numbers": lambda size: repeated(b"[1", b",1", b"]", size),
              "objects": lambda size: repeated(b"[{}", b",{}", b"]", size)},
    "object": {"members": lambda size: repeated(b'{"":1', b',"":1', b"}", size), "members with names": many_names},
    "string": {"letters": lambda size: repeated(b'"', b"\\u00e9", b'"', size)},
}  # fmt: skip


def places(schema: dict[str, Any], example: Any, what: str) -> Iterator[tuple[str, Any, str]]:
    """The places in a value that hold several: what each is, the value with PLACE there, and the kind that goes in."""
    kinds = [each["type"] for each in [schema, *schema.get("anyOf", [])] if "type" in each]
    for kind in kinds or FILLED:  # without a type it is anything
        if kind in FILLED:
            yield what, PLACE, kind
    if items := schema.get("items"):
        first = example[0] if isinstance(example, list) and example else None
        yield from ((name, [value], kind) for name, value, kind in places(items, first, f"an element of {what}"))
    others = example if isinstance(example, dict) else {}
    for name, inner in schema.get("properties", {}).items():
        for said, value, kind in places(inner, others.get(name), f"{name} of {what}"):
            yield said, others | {name: value}, kind


def filled(head: bytes, fill: Callable[[int], bytes], tail: bytes) -> bytes:
    return head + fill(LINE - len(head) - len(tail)) + tail


def bombs_of_methods() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A line full of members for each method, and for each place of its parameters that holds several values a line
    full of these; what else the method wants is as in the contract's example, on rows that are there."""
    for method in METHODS:
        name = method["name"]
        head = f'{{"jsonrpc":"2.0","id":1,"method":"{name}","params":'.encode()
        yield f"members of {name}", partial(filled, head, FILLED["object"]["members"], b"}")
        given = {each["name"]: each["value"] for each in method["examples"][0]["params"]}
        for parameter in method["params"]:
            place = parameter["name"]
            for what, value, kind in places(parameter["schema"], given.get(place), f"{place} of {name}"):
                text = line(request(name, 1, **given | {place: value})).removesuffix(b"\n")
                head, _, tail = text.partition(json.dumps(PLACE).encode())
                for unit, fill in FILLED[kind].items():
                    yield f"{unit} in {what}", partial(filled, head, fill, tail)


def try_bombs(form: Form, pick: random.Random) -> Finding:
    of_methods = list(bombs_of_methods())
    chosen = [*((name, partial(bytes, text)) for name, text in bombs()),
              *(of_methods if form.is_long else pick.sample(of_methods, 60))]  # fmt: skip
    broken, marks = [], []
    for name, make in chosen:
        sidecar = start(form, f"bomb-{len(marks)}")
        for method, params in ROWS:
            sidecar.call(method, **params)
        sidecar.send_bytes(make() + b"\n")
        answers = ask_last(sidecar)
        if len(answers) != 1:
            broken.append(f"{name}: {len(answers)} answers")
        marks.append((highest_mark(sidecar), name))
        if marks[-1][0] > BOUND:
            broken.append(f"{name}: {marks[-1][0] / MIB:.0f} MiB")
        sidecar.kill()
    return Finding(
        f"no line makes it hold more than {BOUND // MIB} MiB",
        f"{len(chosen)} lines of 16 MiB; highest mark {max(marks)[0] / MIB:.0f} MiB", broken,
    )  # fmt: skip


def try_long_lines(form: Form) -> Finding:
    """Longer than any line may be, with an end and without, and very many lines that are none."""
    broken, marks = [], []

    def look(name: str, sidecar: Sidecar, answers: list[bytes], expected: int) -> None:
        marks.append(highest_mark(sidecar))
        if len(answers) != expected or any(b'"payload_too_large"' not in answer for answer in answers):
            broken.append(f"{name}: {len(answers)} answers, {answers[:1]}")
        if marks[-1] > BOUND:
            broken.append(f"{name}: {marks[-1] / MIB:.0f} MiB")

    long = b'{"jsonrpc":"2.0","id":1,"method":"session_count","x":"' + b"y" * (100 * MIB)
    for name, text, expected in [("a line of 100 MiB", long, 1), ("brackets", b"[" * (100 * MIB), 1),
                                 ("five in a row", b"\n".join([long[: 20 * MIB]] * 5), 5),
                                 ("a million empty lines", b"\n" * 1_000_000, 0),
                                 ("a million ends of lines", b"\r\n" * 1_000_000, 0),
                                 ("a million blank lines", b" \t\n" * 1_000_000, 0)]:  # fmt: skip
        sidecar = start(form, "long")
        sidecar.send_bytes(text + b"\n")
        look(name, sidecar, ask_last(sidecar), expected)
        sidecar.finish()
    sidecar = start(form, "long")
    sidecar.send_bytes(long)
    until(lambda: input_is_taken(sidecar), "the input to be read")
    marks.append(highest_mark(sidecar))
    answers = sidecar.finish()
    if [answer["error"]["data"]["kind"] for answer in answers] != ["payload_too_large"] or marks[-1] > BOUND:
        broken.append(f"without an end: {answers}, {marks[-1] / MIB:.0f} MiB")
    tried = f"7 inputs; highest mark {max(marks) / MIB:.0f} MiB"
    return Finding("what is longer than a line may be is not held", tried, broken)


# --- Bytes


SMALL = [
    '{"jsonrpc":"2.0","id":1,"method":"session_count"}',
    '{"jsonrpc":"2.0","id":"\u00e9\\u00e9","method":"get_session","params":{"session_id":"s"}}',
    '[{"jsonrpc":"2.0","id":-1.5e3,"method":"nonsense"},null]',
    '{"jsonrpc":"2.0","method":"session_count","params":{"status":null}}',
]


def is_json(text: bytes) -> bool:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(text.decode("utf-8", "strict"), parse_constant=refuse)
    except ValueError:
        return False
    return True


def try_bytes(form: Form) -> Finding:
    """Every byte at every place of small requests, put in or in the place of what stands there; every part."""
    texts: list[bytes] = []
    for small in SMALL:
        whole = small.encode()
        texts += [whole[:at] for at in range(len(whole))] + [whole[at:] for at in range(len(whole))]
        for at in range(len(whole)):
            for byte in range(256):
                texts.append(whole[:at] + bytes([byte]) + whole[at + 1 :])
                texts.append(whole[:at] + bytes([byte]) + whole[at:])
    broken = []
    sidecar = start(form, "bytes")
    for start_ in range(0, len(texts), 2_000):
        some = texts[start_ : start_ + 2_000]
        sidecar.send_bytes(b"".join(text + b"\n" + line(request("session_count", f"n{number}"))
                                    for number, text in enumerate(some)))  # fmt: skip
        for number, text in enumerate(some):
            end = f'{{"jsonrpc":"2.0","id":"n{number}","result"'.encode()
            answers = []
            while not (answer := sidecar.read_line() or b"").startswith(end):
                assert answer, f"it ended after {text!r}: {sidecar.stderr()}"
                answers.append(answer)
            parts = [part.removesuffix(b"\r") for part in text.split(b"\n")]
            parts = [part for part in parts if part.strip(b" \t\r")]
            failed = sum(not is_json(part) for part in parts)
            errors = sum(b'"parse_error"' in answer[:60] or b'"code":-32700' in answer for answer in answers)
            if len(answers) > len(parts) or errors != failed:
                broken.append(f"{text!r}: {answers}")
    sidecar.finish()
    return Finding("every byte at every place: JSON is told from what is none, and each line gets one verdict",
                   f"{len(texts):,} lines", broken)  # fmt: skip


# --- Readers and writers


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.01)


def is_asleep(sidecar: Sidecar) -> bool:
    return Path(f"/proc/{sidecar.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def input_is_taken(sidecar: Sidecar) -> bool:
    """Whether all that was written was read, and waits for more."""
    assert sidecar.process.stdin is not None
    waiting = struct.unpack("i", fcntl.ioctl(sidecar.process.stdin.fileno(), termios.FIONREAD, b"\0" * 4))[0]
    return waiting == 0 and is_asleep(sidecar)


def try_unread_answers(form: Form) -> Finding:
    """A client that writes and never reads: it is stopped, and when it reads again nothing is missing."""
    sidecar = start(form, "unread")
    sidecar.call("create_session", session_id="s", status="active")
    for _ in range(8):
        sidecar.call("store_event", session_id="s", data="x" * (MIB - 100))
    assert sidecar.process.stdin is not None
    target = sidecar.process.stdin.fileno()
    os.set_blocking(target, False)
    # Long requests, so that few of them wait in the pipe.
    text = b"".join(line(request("get_events_after", number, session_id="s") | {"padding": " " * 60_000})
                    for number in range(100))  # fmt: skip
    sent, still = 0, 0
    while still < 50 and sent < len(text):  # half a second in which nothing moves, while it sleeps
        try:
            sent += os.write(target, text[sent : sent + 4_096])
            still = 0
        except BlockingIOError:
            still = still + 1 if is_asleep(sidecar) else 0
            time.sleep(0.01)
    mark = highest_mark(sidecar)
    broken = [] if mark <= BOUND else [f"{mark / MIB:.0f} MiB"]
    end = text.index(b"\n", sent - 1) + 1  # of the line that was cut
    sidecar.send_bytes(text[sent:end])
    count = text[:end].count(b"\n")
    for number in range(count):
        answer = sidecar.read_line() or b""
        if not answer.startswith(f'{{"jsonrpc":"2.0","id":{number},"result":'.encode()):
            broken.append(f"{number}: {answer[:200]!r}")
            break
    ask_last(sidecar)
    sidecar.finish()
    return Finding(f"with {BOUND // MIB} MiB at most it waits for a client that does not read",
                   f"{count:,} answers of 8 MiB; highest mark {mark / MIB:.0f} MiB", broken)  # fmt: skip


def try_pauses(form: Form, pick: random.Random) -> Finding:
    """A client that stops in the middle of a line, at any place of lines of any size."""
    broken = []
    sidecar = start(form, "pauses")
    count = 2_000 if form.is_long else 200
    for number in range(count):
        size = pick.choice([60, 4_000, 65_500, 65_536, 70_000, 1 << 20])
        text = repeated(b'{"jsonrpc":"2.0","id":%d,"x":"' % number, b"y", b'","method":"session_count"}\n', size + 60)
        first, second = sorted(pick.sample(range(1, len(text)), 2))
        for piece in (text[:first], text[first:second]):
            sidecar.send_bytes(piece)
            until(lambda: input_is_taken(sidecar), "the piece to be read")
        sidecar.send_bytes(text[second:])
        answer = sidecar.read_line()
        if answer is None or not answer.startswith(b'{"jsonrpc":"2.0","id":%d,"result":{"count"' % number):
            broken.append(f"{number}: {answer!r}")
            break
    mark = highest_mark(sidecar)
    if mark > BOUND:
        broken.append(f"{mark / MIB:.0f} MiB")
    sidecar.finish()
    return Finding("a line that stops in its middle waits for its end", f"{count} lines", broken)


def start(form: Form, name: str, *options: str) -> Sidecar:
    return Sidecar(*options, database=form.directory / f"{name}.db", binary=str(form.binary))


def run(form: Form) -> list[Finding]:
    pick = random.Random(form.seed)
    findings: list[Finding] = []
    steps: list[Callable[[], Any]] = [
        lambda: try_bombs(form, pick), lambda: try_long_lines(form), lambda: try_bytes(form),
        lambda: try_unread_answers(form), lambda: try_pauses(form, pick),
    ]  # fmt: skip
    for step in steps:
        findings.append(step())
        form.say(f"{findings[-1].promise}: {findings[-1].tried}")
    return findings
