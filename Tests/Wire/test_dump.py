"""dump and load: what is loaded into a new file dumps the same again, and nothing is ever half loaded."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from engine import Place
from event_rows import with_single_records
from faults import STRACE, needs_strace
from shell import command, is_refused, output
from sidecar import BINARY, PATIENCE, Sidecar, clean_environment, request
from test_user_data import fill


def load(database: Path | str, dump: str | bytes, wrapper: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    data = dump.encode() if isinstance(dump, str) else dump
    done = subprocess.run(
        [*wrapper, BINARY, "load", "--database", str(database)], input=data, capture_output=True, timeout=PATIENCE,
        check=False, env=clean_environment(),
    )  # fmt: skip
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def dumped(database: Path | str, *operands: str) -> str:
    return output("dump", *operands, "--database", database)


@pytest.fixture
def rich(spawn: Callable[..., Sidecar], database: Path) -> Path:
    """A store that has records of every kind."""
    sidecar = spawn()
    enrich(sidecar)
    sidecar.finish()
    return database


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The dump of such a store in a file, for all who only read it."""
    database = tmp_path_factory.mktemp("rich") / "sessions.db"
    sidecar = Sidecar(database=database)
    try:
        enrich(sidecar)
        sidecar.finish()
    finally:
        sidecar.kill()
    return dumped(database)


def enrich(sidecar: Sidecar) -> None:
    for name in ("ada", "bob"):
        fill(sidecar, name)
    sidecar.call("check_rate_limit", key="k", limit=5, window=3_600_000)
    session = "session-canary-of-ada"
    sidecar.call("store_event", session_id=session, data={"n": 1.50, "t": "\u2028 ü \\ \" \x01"}, retry=5)
    entries = [{"message_id": f"later-{number}"} for number in range(600)]
    sidecar.send(*(request("append_log_entry", number, session_id=session, entry=entry)
                   for number, entry in enumerate(entries)))  # fmt: skip
    assert all("result" in sidecar.receive_answer() for _ in entries)
    sidecar.call("compact_log", session_id="session-canary-of-bob", checkpoint={"kind": "checkpoint"})
    sidecar.call("suspend_session", session_id="session-canary-of-bob", reason="why")
    for task in ("own-task-canary-of-ada", "task-canary-of-ada"):
        sidecar.call("require_task_input", task_id=task, input_requests={"q": None})


KINDS = {
    "session", "state", "event", "stream_loss", "log_entry", "log_message_ids", "log_participant", "task",
    "task_payload", "task_input_key", "task_message", "value", "event_subscription", "work_group", "work",
    "nonce", "rate_limit",
    "audit_event",
}  # fmt: skip


def test_what_is_loaded_dumps_the_same(rich: Path, place: Place) -> None:
    text = dumped(rich)
    lines = text.splitlines()
    assert {next(iter(json.loads(line))) for line in text.split("\n")[:-1]} == {*KINDS, "mcp_session_store_dump", "end"}
    assert json.loads(lines[-1]) == {"end": {"records": text.count("\n") - 2}}
    copy = place("copy")
    done = load(copy, text)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout == f"loaded {text.count(chr(10)) - 2} records into {copy}\n"
    assert dumped(copy) == text
    assert output("check", "--database", copy) == "ok\n"
    if isinstance(copy, Path):
        assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.file_only
def test_no_column_is_left_behind(rich: Path, tmp_path: Path, spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn()
    session, kind = "session-canary-of-ada", "session_auth"
    counted = sidecar.call("record_security_event", session_id=session, type=kind, severity="high")
    assert counted["violations"] > 0
    sidecar.finish()
    copy = tmp_path / "copy.db"
    assert load(copy, dumped(rich, "--secrets")).returncode == 0
    assert rows(copy) == rows(rich)


def rows(database: Path) -> dict[str, list[str]]:
    """All that the tables hold, but for the counters and what SQLite keeps for itself."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        tables = [name for (name,) in names if name != "store"]
        found = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
        return {name: sorted(map(repr, rows)) for name, rows in with_single_records(found).items()}


def test_a_loaded_store_goes_on_where_the_other_was(
    rich: Path, place: Place, spawn: Callable[..., Sidecar]
) -> None:
    copy = place("copy")
    assert load(copy, dumped(rich)).returncode == 0
    session = "session-canary-of-ada"
    answers = []
    for database in (rich, copy):
        sidecar = spawn(database=database)
        answers.append([
            sidecar.call("store_event", session_id=session, data=0, timestamp=7)["id"],
            # What was sent before is known, and where it was appended.
            sidecar.call("append_log_entry", session_id=session, entry={"message_id": "later-5"}),
            sidecar.call("append_log_entry", session_id=session, entry={"message_id": "later-599"}),
            sidecar.call("append_log_entry", session_id=session, entry={"message_id": "new"}),
            sidecar.call("consume_nonce", nonce="canary-of-ada", ttl=1, principal="principal-ada"),
            sidecar.call("put_value", collection="c", key="new", value=1)["revision"],
            sidecar.call("record_security_event", type="session_auth", severity="low")["event_id"],
            sidecar.call("get_events_after", session_id=session, stream_id="canary-of-ada"),
        ])  # fmt: skip
        sidecar.finish()
    assert answers[0] == answers[1]


def test_loading_beside_what_is_there_moves_the_numbers(
    rich: Path, place: Place, spawn: Callable[..., Sidecar], engine_name: str
) -> None:
    other = place("other")
    sidecar = spawn(database=other)
    first = sidecar.call("create_session", session_id="mine", status="active", state={"k": 1})
    assert load(other, dumped(rich)).returncode == 0
    # The sidecar that was there all the time sees it.
    ids = sidecar.call("list_session_ids")["session_ids"]
    assert ids == ["mine", "session-canary-of-ada", "session-canary-of-bob"]
    loaded = sidecar.call("get_session", session_id="session-canary-of-ada")
    assert loaded["state"] == {"k": "canary-of-ada"} and loaded["revision"] > first["revision"]
    if engine_name == "file":  # on a server each sidecar has revisions of its own, which ascend
        assert sidecar.call("create_session")["revision"] > loaded["revision"]
    assert sidecar.call("check_integrity")["problems"] == []
    numbers = [event["event_id"] for event in sidecar.call("list_audit_events", limit=1_000)["events"]]
    assert numbers == sorted(set(numbers))


def test_one_session_comes_with_all_that_is_its_own(rich: Path, place: Place) -> None:
    session = "session-canary-of-ada"
    text = dumped(rich, session)
    kinds = {next(iter(json.loads(line))) for line in text.split("\n")[:-1]}
    none = {"value", "event_subscription", "work_group", "work", "nonce", "rate_limit"}
    assert kinds - {"mcp_session_store_dump", "end"} == KINDS - none
    assert "bob" not in text
    copy = place("copy")
    assert load(copy, text).returncode == 0
    assert dumped(copy, session) == text == dumped(copy)
    assert output("check", "--database", copy) == "ok\n"
    is_refused(command("dump", "nobody", "--database", rich), 66, "nobody")


def changed(text: str, number: int, change: Callable[[str], str | None]) -> str:
    """The dump with another line in the place of one; numbers count from 1."""
    lines = text.split("\n")[:-1]
    line = change(lines[number - 1])
    lines[number - 1 : number] = [] if line is None else [line]
    return "".join(f"{line}\n" for line in lines)


def with_member(name: str, value: Any) -> Callable[[str], str]:
    def change(line: str) -> str:
        record = json.loads(line)
        (kind,) = record
        if value is KeyError:
            del record[kind][name]
        else:
            record[kind][name] = value
        return json.dumps(record)

    return change


def first_of(text: str, kind: str) -> int:
    return next(n for n, line in enumerate(text.split("\n"), 1) if line.startswith(f'{{"{kind}":'))


BAD: dict[str, tuple[Callable[[str], tuple[str | bytes, int]], str]] = {
    "nothing": (lambda t: ("", 1), "empty"),
    "not a dump": (lambda t: ('{"jsonrpc":{}}\n', 1), "does not begin like a dump"),
    "not JSON": (lambda t: (changed(t, 3, lambda _: "{oops"), 3), "not JSON"),
    "not an object": (lambda t: (changed(t, 3, lambda _: "[]"), 3), "not an object"),
    "invalid UTF-8": (
        lambda t: (changed(t, 3, lambda _: "@@").encode().replace(b"@@", b'{"a":{"b":"\xff"}}'), 3), "not JSON",
    ),
    "another format": (lambda t: (changed(t, 1, with_member("format", 9)), 1), "format 9"),
    "another schema": (lambda t: (changed(t, 1, with_member("schema", 1)), 1), "schema 1"),
    "a header without a counter": (lambda t: (changed(t, 1, with_member("revision", KeyError)), 1), "revision"),
    "an unknown kind": (lambda t: (changed(t, 2, lambda _: '{"planet":{}}'), 2), "planet"),
    "an unknown column": (lambda t: (changed(t, 2, with_member("colour", "red")), 2), "colour"),
    "a missing column": (lambda t: (changed(t, 2, with_member("metadata", KeyError)), 2), "metadata"),
    "a text for a number": (lambda t: (changed(t, 2, with_member("created_at", "now")), 2), "created_at"),
    "a fraction": (lambda t: (changed(t, 2, with_member("created_at", 1.5)), 2), "created_at"),
    "a number for a text": (lambda t: (changed(t, 2, with_member("session_id", 5)), 2), "session_id"),
    "an unknown status": (lambda t: (changed(t, 2, with_member("status", "asleep")), 2), "status"),
    "null where something must be": (lambda t: (changed(t, 2, with_member("created_at", None)), 2), "created_at"),
    "a number over the header's": (lambda t: (changed(t, 3, with_member("number", 1 << 40)), 3), "header"),
    "the same id twice": (
        lambda t: (changed(t, 3, with_member("session_id", "session-canary-of-ada")), 3), "session_id",
    ),
    "rows out of order": (
        lambda t: (changed(changed(t, 3, lambda _: t.split("\n")[1]), 2, lambda _: t.split("\n")[2]), 3),
        "out of order",
    ),
    "kinds out of order": (
        lambda t: (changed(t, 2, lambda line: t.split("\n")[first_of(t, "state") - 1] + "\n" + line), 2), "no session",
    ),
    "a kind that comes back": (
        lambda t: (changed(t, first_of(t, "event"), lambda line: line + "\n" + t.split("\n")[1]),
                   first_of(t, "event") + 1), "out of order",
    ),
    "a line that is gone": (
        lambda t: (changed(t, first_of(t, "audit_event"), lambda _: None), t.count("\n") - 1), "records",
    ),
    "an event that is gone": (
        lambda t: (changed(changed(t, t.count("\n"), lambda _: json.dumps({"end": {"records": t.count("\n") - 3}})),
                           first_of(t, "event"), lambda _: None), 0), "contradicts itself",
    ),
    "cut off": (lambda t: (changed(t, t.count("\n"), lambda _: None), t.count("\n")), "cut off"),
    "cut off in a line": (lambda t: (t[: t.rindex("records")], t.count("\n")), "not JSON"),
    "something behind the end": (lambda t: (t + '{"end":{"records":0}}\n', t.count("\n") + 1), "behind"),
}  # fmt: skip


#: where what a line says may have very many parts: the record, its member, what stands around so many parts, and what
#: of such a line is refused
VERY_MANY: dict[str, tuple[str, str, bytes, bytes, int, bytes, str]] = {
    "a line": ("", "", b"{", b'"a":{}', 2_500_000, b"}", "one object in it"),
    "a header": ("mcp_session_store_dump", "planet", b"1,", b'"":1', 3_200_000, b"", "the header has"),
    "a record": ("session", "planet", b"1,", b'"":1', 3_200_000, b"", "planet"),
    "chains": ("mcp_session_store_dump", "audit_chains", b"{", b'"":1', 3_200_000, b"}", "'audit_chains'"),
    "a chain": (
        "mcp_session_store_dump", "audit_chains", b'{"lifecycle":{', b'"":1', 3_200_000, b"}}", "'audit_chains'",
    ),
    "message ids": ("log_message_ids", "ids", b"[", b'1,""', 3_200_000, b"]", "'ordinal'"),
    "an outcome": ("task", "result", b"{", b'"success":1', 1_300_000, b"}", "'result'"),
    "keys": ("task", "input_keys", b"[", b'""', 5_500_000, b",1]", "'input_keys'"),
}  # fmt: skip
#: prints the most memory, in KiB, that a command came to have
MEASURED = (sys.executable, "-c", """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
""")


@pytest.mark.file_only
@pytest.mark.parametrize("case", VERY_MANY)
def test_a_line_of_very_many_parts_is_read_one_by_one(rich: Path, tmp_path: Path, case: str) -> None:
    """Each part takes more memory than its text does, and nothing that comes in counts them first."""
    kind, name, opening, part, count, closing, mention = VERY_MANY[case]
    value = opening + b",".join([part] * count) + closing
    lines = dumped(rich).encode().split(b"\n")
    if kind:
        number = first_of(dumped(rich), kind)
        head, _, tail = with_member(name, "@@")(lines[number - 1].decode()).encode().partition(b'"@@"')
        lines[number - 1] = head + value + tail
    else:
        lines[0] = value
    done = load(tmp_path / "target.db", b"\n".join(lines), MEASURED)
    assert done.returncode == 65
    assert "nothing was loaded" in done.stderr
    assert mention in done.stderr
    assert int(done.stdout) <= 100 << 10, f"{int(done.stdout) >> 10} MiB"


@pytest.mark.file_only
@pytest.mark.parametrize("case", BAD)
def test_a_bad_dump_is_refused_by_line_and_nothing_of_it_is_loaded(rich: Path, place: Place, case: str) -> None:
    make, mention = BAD[case]
    bad, number = make(dumped(rich))
    target = place("target")
    assert load(target, '{"mcp_session_store_dump":{"format":1,"schema":3,"revision":3,"audit_number":2}}\n'
                '{"end":{"records":0}}\n').returncode == 0  # fmt: skip
    before = dumped(target)
    done = load(target, bad)
    where = [f"line {number}: "] if number else []
    is_refused(done, 65, "nothing was loaded", mention, *where)
    assert dumped(target) == before
    assert output("check", "--database", target) == "ok\n"


def test_ids_that_are_there_are_not_replaced(rich: Path) -> None:
    text = dumped(rich)
    is_refused(load(rich, text), 65, "line 2: ", "session-canary-of-ada", "in the store already")
    for kind in ("task", "value", "nonce", "rate_limit"):
        lines = text.split("\n")
        header, record = lines[0], json.loads(lines[first_of(text, kind) - 1])
        alone = f'{header}\n{json.dumps(record)}\n{{"end":{{"records":1}}}}\n'
        is_refused(load(rich, alone), 65, "line 2: ", "in the store already")
    assert dumped(rich) == text


def test_a_kill_in_the_middle_leaves_nothing(rich: Path, place: Place) -> None:
    text = dumped(rich).encode()
    target = place("target")
    child = subprocess.Popen(
        [BINARY, "load", "--database", str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=clean_environment(),
    )  # fmt: skip
    assert child.stdin
    child.stdin.write(text[: len(text) * 2 // 3])
    child.stdin.flush()
    if isinstance(target, Path):
        # It has begun to load once it holds the lock that every writer takes.
        while b"FLOCK" not in Path("/proc/locks").read_bytes() and child.poll() is None:
            pass
    else:
        time.sleep(0.1)  # any moment will do
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = load(target, text)
    deadline = time.monotonic() + PATIENCE
    # A server holds the locks of a killed client until it notices, and says so.
    while not isinstance(target, Path) and done.returncode in (74, 75) and time.monotonic() < deadline:
        done = load(target, text)
    assert done.returncode == 0, done
    assert dumped(target).encode() == text


@pytest.mark.file_only
@needs_strace
def test_a_full_disk_leaves_nothing(rich: Path, place: Place) -> None:
    text = dumped(rich)
    target = place("target")
    assert load(target, '{"mcp_session_store_dump":{"format":1,"schema":3,"revision":0,"audit_number":0}}\n'
                '{"end":{"records":0}}\n').returncode == 0  # fmt: skip
    before = dumped(target)
    done = load(target, text, (*STRACE, "-o", "/dev/null", "-e", "inject=pwrite64:error=ENOSPC:when=2+"))
    assert done.returncode == 74 and "full" in done.stderr, done
    assert dumped(target) == before


def test_a_dump_beside_a_sidecar_is_one_moment(spawn: Callable[..., Sidecar], database: Path) -> None:
    sidecar = spawn()
    sidecar.call("create_session", session_id="s", status="active")
    for number in range(20):
        sidecar.call("store_events", session_id="s", events=[{"data": number}] * 50)
        lines = [line for line in dumped(database).split("\n") if line.startswith('{"event"')]
        events = [json.loads(line)["event"]["id"] for line in lines]
        assert events == list(range(1, 50 * (number + 1) + 1))


def test_a_dump_in_which_tasks_still_hold_their_payloads_loads(
    rich: Path, place: Place, spawn: Callable[..., Sidecar]
) -> None:
    records = [json.loads(line) for line in dumped(rich).split("\n")[:-1]]
    fields = ("original_params", "result", "input_requests", "input_responses", "meta", "input_keys")
    tasks = {r["task"]["number"]: dict.fromkeys(fields) | r["task"] for r in records if "task" in r}
    for record in records:
        match record:
            case {"task_payload": {"task": task, "field": field, "payload": payload}}:
                tasks[task][field] = payload
            case {"task_input_key": {"task": task, "key": key}}:
                tasks[task]["input_keys"] = [*(tasks[task]["input_keys"] or []), key]
    old = [{"task": tasks[r["task"]["number"]]} if "task" in r else r for r in records
           if not {"task_payload", "task_input_key"} & r.keys()]  # fmt: skip
    old[0]["mcp_session_store_dump"]["schema"] = 2
    old[-1]["end"]["records"] = len(old) - 2
    copy = place("copy")
    done = load(copy, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in old))
    assert done.returncode == 0, done
    assert output("check", "--database", copy) == "ok\n"
    (first, second) = (spawn(database=rich), spawn(database=copy))
    assert first.call("list_tasks") == second.call("list_tasks")
    (asking,) = [task for task in first.call("list_tasks")["tasks"] if task["task_id"] == "own-task-canary-of-ada"]
    assert asking["input_requests"] == {"q": None}
    for sidecar in (first, second):
        again = {"task_id": asking["task_id"], "input_requests": {"q": 1}}
        assert sidecar.refusal("require_task_input", **again).data["parameter"] == "input_requests.q"
        size = sidecar.call("peek_task_messages", task_id=asking["task_id"], limit=0)["size"]
        assert size == len(sidecar.call("peek_task_messages", task_id=asking["task_id"])["messages"])


# --- What a dump may say


def said(kind: str, **members: Any) -> Callable[[str], tuple[str, int]]:
    """Changes members of the first record of a kind."""

    def make(text: str) -> tuple[str, int]:
        number = first_of(text, kind)

        def change(line: str) -> str:
            record = json.loads(line)
            record[kind] |= members
            return json.dumps(record, ensure_ascii=False, separators=(",", ":"))

        return changed(text, number, change), number

    return make


HUGE = 2**63 - 1

CONTRADICTIONS = {
    "header revision": (said("mcp_session_store_dump", revision=HUGE), "'revision'"),
    "header audit number": (said("mcp_session_store_dump", audit_number=HUGE), "'audit_number'"),
    "header last uuid": (said("mcp_session_store_dump", last_uuid="ffffffff-ffff-7fff-bfff-ffffffffffff"), "last_uuid"),
    "event floor below 0": (said("session", event_floor=-1), "'event_floor'"),
    "last event id": (said("session", event_floor=0, last_event_id=HUGE), "'last_event_id'"),
    "floor over the last": (said("session", event_floor=10**6), "'event_floor'"),
    "log floor over the last": (said("session", log_floor=10**6), "'log_floor'"),
    "checkpoint over the last": (said("session", log_checkpoint=10**6), "'log_checkpoint'"),
    "metadata": (said("session", metadata=5), "'metadata' is an object"),
    "status": (said("session", status="asleep"), "'status' is one of"),
    "an id that is too long": (said("session", session_id="x" * 257), "'session_id' is 1 to 256"),
    "an id that is not visible": (said("session", session_id="a b"), "'session_id' is 1 to 256"),
    "an owner that is too long": (said("session", principal="ü" * 513), "'principal' is a string of 1 to 1,024"),
    "an empty owner": (said("session", tenant_id=""), "'tenant_id'"),
    "a time out of range": (said("session", last_activity=HUGE), "'last_activity'"),
    "a time before all": (said("session", created_at=-HUGE), "'created_at'"),
    "a duration below 0": (said("session", inactivity_timeout=-1), "'inactivity_timeout'"),
    "violations": (said("session", violations=HUGE), "'violations'"),
    "a fraction": (said("session", violations=1.5), "'violations'"),
    "an event beyond the last": (said("event", id=10**9), "'id'"),
    "an event without a session": (said("event", session=10**9), "there is no session"),
    "retry": (said("event", retry=-5), "'retry'"),
    "a loss of nothing": (said("stream_loss", lost=0), "'lost'"),
    "a loss that is turned round": (said("stream_loss", first_id=5, last_id=1), "'first_id'"),
    "an entry beyond the last": (said("log_entry", seq=10**9), "'seq'"),
    "message ids": (said("log_message_ids", ids=["a", 1]), "'ids' is an array of numbers"),
    "an odd number of message ids": (said("log_message_ids", ids=[1]), "'ids'"),
    "an ordinal beyond the last": (said("log_message_ids", ordinal=10**9), "'ordinal'"),
    "a task's time": (said("task", created_at=HUGE), "'created_at'"),
    "a task's deadline": (said("task", expires_at=5), "'expires_at'"),
    "a small result": (said("task", result={"other": 1}), "'result' is an object with"),
    "small input responses": (said("task", input_responses=[1]), "'input_responses' is an object"),
    "a result": (said("task_payload", field="result", payload={"other": 1}), "'payload' is an object with"),
    "an error that is none": (said("task_payload", field="result", payload={"error": 1}), "'payload' is an object"),
    "input keys": (said("task_input_key", key=""), "'key'"),
    "input requests": (said("task_payload", field="input_requests", payload=[1]), "'payload' is an object"),
    "a task's revision": (said("task", revision=2**52), "over the one that the header names"),
    "a message of no task": (said("task_message", task=10**9), "there is no task"),
    "a value's key": (said("value", key=""), "'key'"),
    "a nonce's time": (said("nonce", expires_at=HUGE), "'expires_at'"),
    "a rate limit": (said("rate_limit", arrival=-1), "'arrival'"),
    "a ring": (said("audit_event", ring="security"), "ring"),
    "a seal": (said("audit_event", seal="0"), "'seal' is 96 or 128 digits"),
    "the seal of what is erased": (said("audit_event", seal="0" * 128), "a 'seal' of 128 digits is that"),
    "what an erased event says": (said("audit_event", type="erased"), "of an event that is erased"),
    "where the trail begins": (
        said("mcp_session_store_dump", audit_chains={"lifecycle": {"begins_after": 0, "hash": "0" * 64}}),
        "'audit_chains' has",
    ),
    "a trail that begins later": (
        said("mcp_session_store_dump", audit_chains=dict.fromkeys(
            ("lifecycle", "security"), {"begins_after": 10**9, "hash": "0" * 64})),
        "'begins_after'",
    ),
}  # fmt: skip


@pytest.mark.file_only
@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_what_contradicts_itself_is_refused_by_line_and_leaves_no_file(text: str, tmp_path: Path, case: str) -> None:
    make, mention = CONTRADICTIONS[case]
    bad, number = make(text)
    folder = tmp_path / "new"
    folder.mkdir()
    is_refused(load(folder / "new.db", bad), 65, "nothing was loaded", f"line {number}: ", mention)
    assert list(folder.iterdir()) == []


@pytest.mark.file_only
@pytest.mark.parametrize("params", ["small", "large" * 200])
def test_a_payload_that_stands_in_two_places_is_refused(text: str, tmp_path: Path, params: str) -> None:
    assert json.loads(text.split("\n")[first_of(text, "task") - 1])["task"]["original_params"] is None
    bad, _ = said("task", original_params=params)(text)
    is_refused(load(tmp_path / "new.db", bad), 65, "nothing was loaded", "the dump contradicts itself", "payload")
    assert list(tmp_path.glob("new.db*")) == []


def test_what_follows_from_the_rest_is_worked_out(rich: Path, place: Place, spawn: Callable[..., Sidecar]) -> None:
    """The size of a state, and when a sweep looks: without it nothing that has expired would ever go."""
    text = dumped(rich)
    bad, _ = said("session", state_bytes=0, check_at=None)(text)
    assert bad != text
    target = place("target")
    assert load(target, bad).returncode == 0
    number = first_of(text, "session") - 1
    (before, after) = (json.loads(dump.split("\n")[number])["session"] for dump in (text, dumped(target)))
    assert after["check_at"] == after["last_activity"] + after["inactivity_timeout"]
    assert after == before | {"check_at": after["check_at"]}
    sidecar = spawn(database=target)
    assert sidecar.call("check_integrity")["problems"] == []
    sidecar.finish()


def test_ids_go_on_behind_those_of_a_dump(rich: Path, place: Place, spawn: Callable[..., Sidecar]) -> None:
    header = json.loads(dumped(rich).split("\n")[0])
    last = "0fffffff-ffff-7000-8000-000000000000"  # in the year 2527
    header["mcp_session_store_dump"]["last_uuid"] = last
    target = place("target")
    done = load(target, json.dumps(header) + '\n{"end":{"records":0}}\n')
    assert done.returncode == 0, done
    sidecar = spawn(database=target)
    ids = [sidecar.call("create_session")["session_id"] for _ in range(3)]
    assert [last, *ids] == sorted({last, *ids})
    assert ids[-1].startswith("0fffffff-ffff-7")
    sidecar.finish()
    assert json.loads(dumped(target).split("\n")[0])["mcp_session_store_dump"]["last_uuid"] == ids[-1]


@pytest.mark.file_only
def test_a_signal_leaves_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    child = subprocess.Popen(
        [BINARY, "load", "--database", str(folder / "new.db")], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        env=clean_environment(),
    )  # fmt: skip
    assert child.stdin and child.stderr
    child.stdin.write(b'{"mcp_session_store_dump":{"format":1,"schema":3,"revision":0,"audit_number":0}}\n')
    child.stdin.flush()
    while not list(folder.iterdir()):
        assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    assert child.wait(PATIENCE) == 74 and b"nothing was loaded" in child.stderr.read()
    child.stdin.close(), child.stderr.close()
    assert list(folder.iterdir()) == []
