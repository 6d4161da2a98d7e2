"""The commands beside the service: run one, and look at what it printed and how it ended."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from sidecar import BINARY, PATIENCE, Sidecar, clean_environment

ESCAPE = "\x1b"
HOUR = 3_600_000


def command(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    done = subprocess.run(
        [BINARY, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False,
        env=clean_environment(**environment),
    )  # fmt: skip
    # Not as subprocess decodes text, which takes a carriage return for the end of a line.
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def output(*words: str | Path, **environment: str) -> str:
    """What a command prints that ends well and has nothing to complain of."""
    done = command(*words, **environment)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout


def is_refused(done: subprocess.CompletedProcess[str], status: int, *mentions: str) -> None:
    """One line on stderr that says what is the matter, nothing on stdout."""
    assert done.returncode == status, done
    assert done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("mcp-session-store: "), done
    for mention in mentions:
        assert mention in done.stderr, done


def lines(text: str) -> list[Any]:
    return [json.loads(row) for row in text.split("\n")[:-1]]  # splitlines() would know more ends than this one


def listed() -> dict[str, str]:
    """The commands and their operands, as --help lists them."""
    text = output("--help").split("\nCommands")[1].split("\n\n")[0]
    return {name: operands for name, operands in re.findall(r"^  ([a-z]+)((?: [\[\]A-Z]+)*) +\S", text, re.MULTILINE)}


COMMANDS = listed()


def fill(sidecar: Sidecar) -> None:
    """Something of each kind."""
    now = time.time_ns() // 1_000_000
    sidecar.call("create_session", session_id="s", status="active", user_id="ann", tenant_id="t", principal="p")
    sidecar.call("create_session", session_id="pending")
    sidecar.call("create_session", session_id="over", created_at=now - HOUR, ttl=1)
    sidecar.call("create_session", session_id="idle", last_activity=now - HOUR, inactivity_timeout=1)
    sidecar.call("create_session", session_id="paused", status="active")
    sidecar.call("suspend_session", session_id="paused")
    sidecar.call("create_session", session_id="bad", status="active")
    sidecar.call("store_event", session_id="bad", data="why")
    sidecar.call("invalidate_session", session_id="bad")
    for n in range(1, 4):
        sidecar.call("store_event", session_id="s", data={"n": n}, stream_id="a" if n == 2 else None)
    for n, status in enumerate(["working", "completed", "completed", "failed"]):
        sidecar.call("create_task", task_id=f"t{n}", session_id="s" if n else None, status=status)
    sidecar.call("put_value", collection="c", key="k", value=1)
    sidecar.call("put_value", collection="c", key="gone", value=1, ttl=1)
    sidecar.call("append_log_entry", session_id="s", entry={"message_id": "m"})
