"""The output of commands on terminals and in pipes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from shell import ESCAPE, lines, output
from sidecar import BINARY, PATIENCE, Sidecar, clean_environment, converse, request

#: what a terminal would obey, or what would make it show something else
HARMFUL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def on_terminal(*words: str | Path, columns: int = 100, **environment: str) -> str:
    """What a command writes to a terminal, standard error included."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [BINARY, *map(str, words)], stdin=side, stdout=side, stderr=side,
        env=clean_environment(**{"TERM": "xterm"} | environment),
    )  # fmt: skip
    os.close(side)
    written = b""
    while select.select([main], [], [], PATIENCE)[0]:
        try:
            chunk = os.read(main, 1 << 16)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        written += chunk
    os.close(main)
    assert process.wait(PATIENCE) == 0
    return written.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9]*m", "", text)


@pytest.mark.parametrize("name", ["status", "sessions", "tasks", "doctor"])
def test_colours_are_for_terminals(name: str, closed: Path) -> None:
    assert ESCAPE in on_terminal(name, "--database", closed)
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert ESCAPE not in on_terminal(name, "--database", closed, **environment)
    assert ESCAPE in on_terminal(name, "--database", closed, NO_COLOR="")
    piped = output(name, "--database", closed, TERM="xterm")
    assert ESCAPE not in piped and "\t" not in piped
    assert not re.search(r" $", piped, re.MULTILINE)


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_table_is_no_wider_than_the_terminal_but_for_ids(columns: int, database: Path) -> None:
    converse(
        request("create_session", 1, session_id="short", user_id="u" * 90, principal="日本語" * 20),
        request("create_session", 2, session_id="other", user_id="é" * 10),
        database=str(database),
    )
    text = plain(on_terminal("sessions", "--database", database, columns=columns))

    def width(row: str) -> int:
        return sum(2 if "\u3000" < character < "\ua000" else 1 for character in row)

    titles = text.splitlines()[0]
    # Below what its titles and shortest columns need it cannot go.
    assert max(map(width, text.splitlines())) <= max(columns, 78)
    assert "…" in text and "TENANT" not in titles and "short" in text and "other" in text
    piped = output("sessions", "--database", database)
    assert "u" * 90 in piped and "日本語" * 20 in piped and "TENANT" in piped
    # What stands in the last column, on the right, ends at the same place in each row.
    assert len({width(row) for row in piped.splitlines()}) == 1


@pytest.mark.parametrize("words", [["sessions"], ["tasks"], ["events", "s"], ["status"]])
@pytest.mark.parametrize("json_too", [False, True])
def test_what_a_terminal_would_obey_never_reaches_it(
    words: list[str], json_too: bool, spawn: Callable[..., Sidecar], database: Path
) -> None:
    sidecar = spawn()
    bad = "\x1b]0;owned\x07\x1b[2J\r\x08\x7f\x9b31m\x00\u202egnp.exe\u2066\u2028end\n\tx"
    sidecar.call("create_session", session_id="s", status="active", user_id=bad, principal=bad, metadata={"m": bad})
    sidecar.call("store_event", session_id="s", data={bad: bad}, event_type=bad, stream_id=bad)
    text = '{"jsonrpc":"2.0","id":1,"method":"store_event","params":{"session_id":"s","data":{"a":\t[1,\t2\r]}}}\n'
    sidecar.send_bytes(text.encode())
    sidecar.receive_answer()
    sidecar.call("create_task", task_id="t", session_id="s", status_message=bad, original_method=bad, meta={bad: bad})
    words = [*words, *(["--json"] if json_too else [])]
    seen = on_terminal(*words, "--database", database, columns=2_000)
    assert HARMFUL.search(plain(seen)) is None, repr(seen)
    piped = output(*words, "--database", database)
    if json_too:
        assert lines(seen) == lines(piped)
    else:
        # Payloads go into a pipe as they were stored; nothing else does.
        table = piped if words[0] != "events" else re.sub(r"  [{].*", "", piped)
        assert HARMFUL.search(table) is None, repr(table)
        assert words[0] == "status" or "\\u001b" in table


def test_a_reader_that_goes_away_is_no_news(closed: Path) -> None:
    """As `| head -1` does: no message, and the status that help names (or the signal's, where it is not ignored)."""
    for words in (["--help"], ["describe"], ["sessions", "--database", str(closed)]):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [BINARY, *words], stdout=write, stderr=subprocess.PIPE, timeout=PATIENCE, check=False,
            env=clean_environment(), restore_signals=False,
        )  # fmt: skip
        os.close(write)
        assert done.returncode == 74 and done.stderr == b"", done


def test_a_full_disk_under_the_output_is_said(closed: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [BINARY, "sessions", "--database", closed], stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=PATIENCE, check=False, env=clean_environment(),
        )  # fmt: skip
    assert done.returncode == 74 and "No space left" in done.stderr
