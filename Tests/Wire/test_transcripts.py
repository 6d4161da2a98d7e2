"""Replays the conversations of protocol/transcripts/*.jsonl, one test for each file.

Each line of a transcript is one JSON object:

    {"note": "prose"}            says to people what follows
    {"start": ["--option", …]}   starts the process with these options; only as the first step, default: none
    {"send": message}            writes one line: a request, a notification or a batch
    {"receive": message}         reads one line and compares it
    {"send_text": "text"}        writes this text as one line; it need not be JSON
    {"receive_text": "text"}     reads one line and compares it byte for byte
    {"wait": milliseconds}       lets time pass; never how long something may take
    {"exit": status}             the process ends of itself, its input still open
    {"restart": []}              ends the input; a new process starts on the same file with these options; [] stands for
                                 those of the start
    {"other": ["--option", …]}   starts a second process on the same file
    {"other_send": message}      as above, with the second process
    {"other_receive": message}

In what is received, some strings stand for values that differ from run to run: "<id:a>" for any string or number (the
same one wherever "<id:a>" stands again, and what is sent may use it too), "<time>" for Unix milliseconds as an integer,
"<timestamp>" for an RFC 3339 time in UTC with milliseconds, "<int>" for any integer, "<any>" for anything. All else is
compared exactly: the same members with the same values, the same kind of number.

Nothing may be left over when a process ends: each line that it wrote stands in the transcript.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar import Sidecar

TRANSCRIPTS = Path(__file__).parents[2] / "protocol" / "transcripts"
FILES = sorted(TRANSCRIPTS.glob("*.jsonl"))
STEPS = {
    "note", "start", "send", "receive", "send_text", "receive_text", "wait", "exit", "restart", "other", "other_send",
    "other_receive",
}  # fmt: skip

BOUND = re.compile(r"<id:[^>]+>")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
#: 2001 to 2286: thirteen digits, so that seconds or microseconds do not pass for milliseconds
MILLISECONDS = range(1_000_000_000_000, 10_000_000_000_000)

Bindings = dict[str, Any]


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def mismatch(expected: Any, found: Any, bindings: Bindings, path: str = "$") -> str | None:
    """What the first difference is; None when there is none. Binds the placeholders that are met first."""
    if isinstance(expected, str) and expected.startswith("<") and expected.endswith(">"):
        if expected == "<any>":
            return None
        if expected == "<int>":
            return None if is_integer(found) else f"{path}: {found!r} is no integer"
        if expected == "<time>":
            return None if is_integer(found) and found in MILLISECONDS else f"{path}: {found!r} is no time"
        if expected == "<timestamp>":
            fits = isinstance(found, str) and TIMESTAMP.fullmatch(found)
            return None if fits else f"{path}: {found!r} is no timestamp"
        if BOUND.fullmatch(expected):
            if not isinstance(found, str) and not is_integer(found):
                return f"{path}: {found!r} cannot stand for {expected}"
            expected = bindings.setdefault(expected, found)
    if isinstance(expected, dict) and isinstance(found, dict):
        if missing := expected.keys() - found.keys():
            return f"{path}: {sorted(missing)} missing in {found}"
        if extra := found.keys() - expected.keys():
            return f"{path}: {sorted(extra)} not expected in {found}"
        return first(mismatch(expected[name], found[name], bindings, f"{path}.{name}") for name in expected)
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return f"{path}: {len(found)} elements instead of {len(expected)}: {found}"
        return first(
            mismatch(pair[0], pair[1], bindings, f"{path}[{index}]") for index, pair in enumerate(zip(expected, found))
        )
    # To Python 1 == True and 1 == 1.0; on the wire they differ.
    same = type(expected) is type(found) and expected == found
    return None if same else f"{path}: {found!r} instead of {expected!r}"


def first(differences: Any) -> str | None:
    return next((difference for difference in differences if difference is not None), None)


def fill(message: Any, bindings: Bindings) -> Any:
    """The message with what its placeholders stand for."""
    if isinstance(message, str):
        if BOUND.fullmatch(message):
            return bindings[message]
        return BOUND.sub(lambda match: str(bindings[match.group()]), message)
    if isinstance(message, list):
        return [fill(element, bindings) for element in message]
    if isinstance(message, dict):
        return {name: fill(value, bindings) for name, value in message.items()}
    return message


def steps(path: Path) -> list[tuple[int, str, Any]]:
    """Number, kind and content of each line."""
    found = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        step = json.loads(text)
        assert isinstance(step, dict) and len(step) == 1, f"{path.name}:{number}: not one member"
        kind, content = next(iter(step.items()))
        assert kind in STEPS, f"{path.name}:{number}: unknown step '{kind}'"
        found.append((number, kind, content))
    return found


def end(sidecar: Sidecar, where: str) -> None:
    left = sidecar.finish()
    assert left == [], f"{where}: the process also said {left}"
    assert sidecar.stderr() == "", where


#: what tells of the engine itself, or copies a file
OF_FILES = {"audit-chain", "handshake", "health-and-maintenance", "jobs"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcript(
    path: Path, spawn: Callable[..., Sidecar], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine_name: str
) -> None:
    if engine_name != "file" and path.stem in OF_FILES:
        pytest.skip("it tells of files")
    monkeypatch.chdir(tmp_path)
    todo = steps(path)
    conversation = [step for step in todo if step[1] != "note"]
    options: list[str] = conversation[0][2] if conversation[0][1] == "start" else []
    main, other = spawn(*options), None
    bindings: Bindings = {}
    for number, kind, content in todo:
        where = f"{path.name}:{number}"
        if kind == "start":
            assert conversation[0][0] == number, f"{where}: 'start' is not the first step"
        elif kind == "restart":
            end(main, where)
            options = content or options
            main = spawn(*options)
        elif kind == "other":
            assert other is None, f"{where}: there is a second process already"
            other = spawn(*content)
        elif kind == "send_text":
            main.send_bytes(content.encode() + b"\n")
        elif kind == "receive_text":
            text = main.read_line()
            assert text == content.encode(), f"{where}: {text!r}"
        elif kind == "wait":
            time.sleep(content / 1000)
        elif kind == "exit":
            assert main.rest() == [], f"{where}: the process said more"
            assert main.wait() == content, where
        elif kind in ("send", "other_send"):
            process = main if kind == "send" else other
            assert process is not None, f"{where}: there is no second process"
            process.send(fill(content, bindings))
        elif kind in ("receive", "other_receive"):
            process = main if kind == "receive" else other
            assert process is not None, f"{where}: there is no second process"
            difference = mismatch(content, process.receive(), bindings)
            assert difference is None, f"{where}: {difference}"
    for process in (main, other):
        if process is not None:
            end(process, path.name)


def test_there_are_transcripts() -> None:
    assert FILES
