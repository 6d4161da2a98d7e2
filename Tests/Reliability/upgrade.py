"""Files of earlier versions: they open, read back the same through every method, and a crash within a migration leaves
the old file or the new one. An older program refuses a newer file.

Once a version is out, its file is kept as SQL (Tests/SessionStoreTests/Fixtures) and stays as it is.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import disk
from faults import can_trace, injecting
from part import Finding, Form
from sidecar import PATIENCE, Sidecar, clean_environment

FIXTURE = disk.ROOT / "Tests" / "SessionStoreTests" / "Fixtures" / "version-1.sql"
#: the time at which the fixture was made, Unix milliseconds
MADE_AT = 1_795_210_000_000
#: columns with a time in them
TIMES = {
    "sessions": ("last_activity", "expires_at", "check_at", "created_at"),
    "events": ("timestamp",),
    "tasks": ("created_at", "last_updated_at", "expires_at"),
    "nonces": ("expires_at",),
}


def make(path: Path, moved: int, has_log: bool = True) -> sqlite3.Connection:
    """The file of the first version, its times moved by so many milliseconds; still open."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if has_log:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(FIXTURE.read_text())
    for table, columns in TIMES.items():
        for column in columns:
            connection.execute(f"UPDATE {table} SET {column} = {column} + ?", (moved,))
    connection.commit()
    return connection


def old_files(folder: Path) -> None:
    """The files as the first version left them: closed, with all of it still in the log, and as a copy without one."""
    for name in ("closed", "hot", "copy"):
        (folder / name).mkdir(parents=True)
    make(folder / "closed" / "sessions.db", 0).close()
    make(folder / "copy" / "sessions.db", 0, has_log=False).close()
    source = folder / "source.db"
    with closing(make(source, 0)):
        for suffix in ("", "-wal"):
            shutil.copy(f"{source}{suffix}", folder / "hot" / f"sessions.db{suffix}")


class Differences:
    def __init__(self) -> None:
        self.compared = 0
        self.broken: list[str] = []

    def compare(self, what: str, found: Any, wanted: Any) -> None:
        self.compared += 1
        # 1.0 and 1 are equal in Python, and not here.
        if json.dumps(found, sort_keys=True) != json.dumps(wanted, sort_keys=True):
            self.broken.append(f"{what}: {found} instead of {wanted}")


def readings(sidecar: Sidecar, moved: int) -> Differences:
    """What every method that reads says of the fixture, and what the first new writes get."""
    found = Differences()
    made_at = MADE_AT + moved
    of = {"session_id": "session-1", "principal": "p"}
    of_task = {"task_id": "task-1"}

    def call(method: str, **params: Any) -> Any:
        return sidecar.call(method, **params)

    session = {
        "session_id": "session-1", "status": "active", "user_id": "u", "tenant_id": None, "principal": "p",
        "client_capabilities": {"roots": {}}, "server_capabilities": None, "metadata": {}, "is_initialized": True,
        "created_at": made_at, "last_activity": made_at, "expires_at": made_at + 86_400_000,
        "inactivity_timeout": 1_800_000, "suspended_at": None, "suspended_ms": 0, "suspensions": 0,
        "last_event_id": 4, "revision": 3,
    }  # fmt: skip
    state = {"cart": ["book", 1.50]}
    found.compare("get_session", call("get_session", **of), {**session, "state": state})
    listed = call("list_sessions", principal="p")
    found.compare("list_sessions", [{**entry, "state": None} for entry in listed["sessions"]],
                  [{**session, "state": None}])  # fmt: skip
    full = call("list_sessions", user_id="u", include_state=True)
    found.compare("list_sessions with states", [entry["state"] for entry in full["sessions"]], [state])
    found.compare("list_session_ids", call("list_session_ids")["session_ids"], ["session-1"])
    found.compare("session_count", call("session_count", status="active"), {"count": 1})
    found.compare("get_session_state", call("get_session_state", **of, key="cart")["value"], state["cart"])
    found.compare("list_session_state_keys", call("list_session_state_keys", **of)["keys"], ["cart"])
    found.compare("bytes of the state", b'["book",1.50]' in raw(sidecar, "get_session_state", **of, key="cart"), True)

    page = call("get_events_after", **of)
    events = [(event["id"], event["data"], event.get("stream_id")) for event in page["events"]]
    found.compare("get_events_after", events, [(3, "three", None), (4, "four", "x")])
    found.compare("the gap", page["gap"], {"dropped": 2, "oldest_available": 3})
    stream = call("get_events_after", **of, stream_id="x")
    found.compare("the gap of a stream", stream["gap"], {"dropped": 1, "oldest_available": 4})
    last = stream["events"][0]
    found.compare("an event", (last["event_type"], last["retry"], last["timestamp"]), ("progress", 5, made_at))
    recent = call("get_recent_events", **of, limit=1)["events"]
    found.compare("get_recent_events", [event["id"] for event in recent], [4])
    found.compare("event_count", call("event_count"), {"count": 2})

    task = call("get_task", **of_task)
    wanted = {"status": "input_required", "session_id": "session-1", "ttl": 60_000, "revision": 7,
              "cancel_requested": False}  # fmt: skip
    found.compare("get_task", {name: task[name] for name in wanted}, wanted)
    found.compare("what a task asks for", (task["input_requests"], task["input_responses"]), ({"name": {}}, {"age": 7}))
    found.compare("list_tasks", [entry["task_id"] for entry in call("list_tasks")["tasks"]], ["task-1"])
    listed = call("list_tasks_for_session", **of)["tasks"]
    found.compare("list_tasks_for_session", [entry["task_id"] for entry in listed], ["task-1"])
    found.compare("task_count", call("task_count", status="input_required"), {"count": 1})

    value = call("get_value", collection="c", key="k", principal="p")
    found.compare("get_value", (value["value"], value["revision"]), ({"n": 1.0}, 8))
    listed = call("list_values", collection="c", principal="p")["values"]
    found.compare("list_values", [entry["key"] for entry in listed], ["k"])
    found.compare("load_log", call("load_log", **of)["entries"], [])
    found.compare("list_audit_events", call("list_audit_events")["events"], [])
    found.compare("check_integrity", call("check_integrity")["problems"], [])

    # What comes next goes on where the old version stopped: no number comes twice.
    found.compare("dequeue_task_message", call("dequeue_task_message", **of_task)["message"], 1)
    found.compare("dequeue_all_task_messages", call("dequeue_all_task_messages", **of_task)["messages"], [2])
    found.compare("a nonce that was used", call("consume_nonce", nonce="n", ttl=1_000)["first"], False)
    answered = call("provide_task_input", **of_task, input_responses={"name": "x"})
    found.compare("provide_task_input", answered["status"], "working")
    found.compare("store_event", call("store_event", **of, data="five")["id"], 5)
    found.compare("append_log_entry", call("append_log_entry", **of, entry={"message_id": "m"})["seq"], 1)
    found.compare("a new revision", call("create_session", session_id="new")["revision"] > 8, True)
    call("record_security_event", session_id="session-1", type="invalid_input", severity="low")
    found.compare("the audit trail", len(call("list_audit_events", type="invalid_input")["events"]), 1)
    exported = call("export_user_data", user_id="u")["records"]
    found.compare("export_user_data", "session" in exported[0], True)
    call("delete_user_data", user_id="u")
    found.compare("delete_user_data", call("session_count", user_id="u"), {"count": 0})
    return found


def raw(sidecar: Sidecar, method: str, **params: Any) -> bytes:
    sidecar.send({"jsonrpc": "2.0", "id": "raw", "method": method, "params": params})
    text = sidecar.read_line()
    assert text is not None
    return text


def program(form: Form) -> list[Finding]:
    """The binary on the file of the first version."""
    found = Differences()
    for has_log in (True, False):
        # So that nothing in it has expired by now.
        moved = int(time.time() * 1000) - MADE_AT
        database = form.directory / f"read-{has_log}.db"
        make(database, moved, has_log).close()
        sidecar = Sidecar(database=database)
        one = readings(sidecar, moved)
        sidecar.finish()
        found.compared += one.compared
        found.broken += one.broken
    return [
        Finding("a file of version 1 reads back the same through every method", f"{found.compared} readings",
                found.broken),
        newer(form),
    ]  # fmt: skip


def newer(form: Form) -> Finding:
    """The command line names both versions."""
    broken = []
    database = form.directory / "newer.db"
    Sidecar(database=database).finish()
    with closing(sqlite3.connect(database)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version + 1}")
    before = database.read_bytes()
    commands = [[], ["status"], ["sessions"], ["check"], ["dump"], ["backup", str(form.directory / "copy.db")]]
    for command in commands:
        done = subprocess.run(
            [form.binary, *command, "--database", database], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE, env=clean_environment(), check=False,
        )  # fmt: skip
        words = done.stderr.replace(":", " ").replace(";", " ").replace(",", " ").split()
        if done.returncode != 65 or not {str(version), str(version + 1)} <= set(words):
            broken.append(f"{command or 'serve'}: {done.returncode}, {done.stderr!r}")
        if database.read_bytes() != before:
            broken.append(f"{command or 'serve'} changed the file")
    return Finding("a newer file is refused with 65 and both numbers", f"{len(commands)} commands", broken)


def kills(form: Form) -> Finding:
    """The program, killed at every write of its first start on an old file."""
    broken, met = [], True
    moved = int(time.time() * 1000) - MADE_AT
    template = form.directory / "kill-template.db"
    make(template, moved, has_log=False).close()
    step = 1 if form.is_long else 4
    number = 1 + form.seed % step
    tried = 0
    while met and number < 1_000:
        tried += 1
        folder = form.directory / "kill"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        database, log = folder / "sessions.db", folder / "log"
        shutil.copy(template, database)
        victim = Sidecar(database=database, wrapper=injecting(log, "pwrite64", f"signal=KILL:when={number}"))
        victim.close_input()
        victim.rest()
        met = victim.wait() != 0
        victim.kill()
        sidecar = Sidecar(database=database)
        try:
            broken += [f"killed at write {number}: {text}" for text in readings(sidecar, moved).broken]
            sidecar.finish()
        except Exception as error:
            broken.append(f"killed at write {number}: {error}")
        finally:
            sidecar.kill()
        number += step
    return Finding("a process killed within a migration leaves a file that the next one brings to the end",
                   f"{tried} kills", broken)  # fmt: skip


def run(form: Form) -> list[Finding]:
    found = program(form)
    if can_trace():
        found.append(kills(form))
    else:
        form.say("strace is missing or may not trace here: no process is killed within a migration")
    return found + disk.findings("upgrade", form, old_files)
