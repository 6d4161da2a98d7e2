"""How sidecars end: with their parents, whatever those are and however they go, at the end of the input and by signal.

Times are measured and the worst one is told. As a bound they are generous, for a machine may do other things.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from part import Finding, Form
from sidecar import PATIENCE, Sidecar, clean_environment, line, request

ROUNDS, LONG_ROUNDS = 5, 25
ENDS, LONG_ENDS = 100, 500
IDLE_SECONDS, LONG_IDLE_SECONDS = 4.0, 60.0
#: what MCP clients give a child to end
BUDGET = 2.0
#: seconds after which an end counts as none
BOUND = 20.0
#: of the time that it idles, what a process may use of a processor; one that spins uses all of it
IDLE_SHARE = 0.2
#: writes that a busy parent leaves behind, and writes before an end of the input
BUSY, LOAD = 3_000, 4_000

ASK = line(request("server_info", 0)).decode()

#: each starts the sidecar that its arguments name, prints the answer to server_info, writes what the file `busy` holds
#: and then, once its own input says how, ends: "exit", "crash", or it is killed
PYTHON = f"""
import os, subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write({ASK.encode()!r})
child.stdin.flush()
print(child.stdout.readline().decode(), end="", flush=True)
child.stdin.write(open(sys.argv[1], "rb").read())
child.stdin.flush()
print("ready", flush=True)
if sys.stdin.readline() == "crash\\n":
    os.abort()
os._exit(0)
"""
NODE = f"""
const {{ spawn }} = require("node:child_process");
const [busy, ...command] = process.argv.slice(1);
const child = spawn(command[0], command.slice(1), {{ stdio: ["pipe", "pipe", "inherit"] }});
child.stdin.on("error", () => {{}});
child.stdin.write({json.dumps(ASK)});
child.stdout.once("data", (data) => {{
  child.stdout.pause();
  process.stdout.write(data.toString().split("\\n")[0] + "\\n");
  child.stdin.write(require("node:fs").readFileSync(busy), () => process.stdout.write("ready\\n"));
}});
process.stdin.once("data", (data) => {{
  if (data.toString() === "crash\\n") throw new Error("the parent crashes");
  process.exit(0);
}});
"""
SHELL = """
busy=$1; shift
pipes=$(mktemp -d) && mkfifo "$pipes/in" "$pipes/out"
"$@" <"$pipes/in" >"$pipes/out" &
exec 3>"$pipes/in" 4<"$pipes/out"
rm -r "$pipes"
printf '%s' "$ASK" >&3
read -r answer <&4
printf '%s\\n' "$answer"
cat "$busy" >&3
echo ready
read -r how
[ "$how" = crash ] && kill -ABRT $$
exit 0
"""
#: the sidecar's own parent is a shell then, and dies later than the one that matters or not at all
WRAPPED = ["sh", "-c", '"$@"; exit $?', "sh"]

PARENTS: dict[str, tuple[list[str], list[str]]] = {
    "Python": ([sys.executable, "-c", PYTHON], []),
    "Python through sh -c": ([sys.executable, "-c", PYTHON], WRAPPED),
    "Node": (["node", "-e", NODE, "--"], []),
    "sh": (["sh", "-c", SHELL, "sh"], []),
}
WAYS = ("exit", "crash", "kill")


def said(process: subprocess.Popen[bytes]) -> bytes:
    """The next line of a parent, which has no buffer of its own here."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], PATIENCE)[0]:
        raise TimeoutError(f"the parent says nothing for {PATIENCE:.0f} s: it and its sidecar wait for each other")
    return process.stdout.readline()


def seconds_until_gone(process: int, bound: float) -> float | None:
    """Waits for a process that is nobody's child here. None when it is still there after the bound."""
    began = time.monotonic()
    with pidfd(process) as descriptor:
        if descriptor is None:
            return 0.0
        return time.monotonic() - began if select.select([descriptor], [], [], bound)[0] else None


@contextmanager
def pidfd(process: int) -> Iterator[int | None]:
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Ends:
    """How long ends took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.broken: list[str] = []

    def note(self, what: str, seconds: float | None) -> None:
        if seconds is None:
            self.broken.append(f"{what}: still there after {BOUND:g} s")
        else:
            self.seconds.append(seconds)

    def told(self) -> str:
        ordered = sorted(self.seconds) or [0.0]
        return f"half within {ordered[len(ordered) // 2] * 1000:.0f} ms, the slowest took {ordered[-1] * 1000:.0f} ms"


# --- Parents


def orphan(form: Form, parent: str, way: str, busy: Path, ends: Ends) -> None:
    """One parent that ends, and what becomes of its sidecar."""
    program, wrapper = PARENTS[parent]
    what = f"{parent}, {way}, {'busy' if busy.stat().st_size else 'idle'}"
    process = subprocess.Popen(
        [*program, str(busy), *wrapper, str(form.binary), "--database", str(form.directory / "parents.db")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment(ASK=ASK),
        bufsize=0,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    child: int | None = None
    try:
        child = json.loads(said(process))["result"]["pid"]
        if said(process) != b"ready\n":
            raise EOFError("the parent has ended by itself")
        if way == "kill":
            process.kill()
        else:
            process.stdin.write(f"{way}\n".encode())
            process.stdin.flush()
        process.wait(PATIENCE)
        ends.note(what, seconds_until_gone(child, BOUND))
    except (TimeoutError, EOFError) as error:
        ends.broken.append(f"{what}: {error}")
    finally:
        if child is not None and seconds_until_gone(child, 0) is None:
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def parents(form: Form) -> Finding:
    ends, rounds = Ends(), LONG_ROUNDS if form.is_long else ROUNDS
    setting = Sidecar(database=form.directory / "parents.db", binary=str(form.binary))
    setting.call("create_session", session_id="s", status="active", ttl=0, inactivity_timeout=0)
    setting.finish()
    idle, busy = form.directory / "idle", form.directory / "busy"
    idle.write_bytes(b"")
    busy.write_bytes(b"".join(line(request("store_event", n, session_id="s", data="x" * 100)) for n in range(BUSY)))
    missing = [] if shutil.which("node") else ["Node"]
    runs = 0
    for _ in range(rounds):
        for parent, way, load in itertools.product(PARENTS.keys() - set(missing), WAYS, (idle, busy)):
            orphan(form, parent, way, load, ends)
            runs += 1
    ends.broken += [f"{name} is not installed" for name in missing]
    late = sum(seconds > 1 for seconds in ends.seconds)
    tried = f"{runs} parents in Node, Python and sh that exited, crashed or were killed: {ends.told()}, {late} over 1 s"
    return Finding("a parent that ends, however, leaves no process behind", tried, ends.broken)


# --- The end of the input, signals, shutdown


def end_under_load(form: Form, database: Path | str, way: str, stored: int, ends: Ends) -> int:
    """Ends a process that has much to do. Returns how many events are stored then."""
    sidecar = Sidecar(database=database, binary=str(form.binary))
    try:
        # The session keeps ten thousand events, so the ids are what counts.
        newest = sidecar.call("get_session", session_id="s")["last_event_id"]
        if newest != stored:
            ends.broken.append(f"{stored} events were answered, the newest one has the id {newest}")
        sidecar.send(*(request("store_event", n, session_id="s", data="x" * 200) for n in range(LOAD)))
        if way == "shutdown":
            sidecar.send(request("shutdown", LOAD))
        began = time.monotonic()
        if way == "the end of the input":
            sidecar.close_input()
        elif way == "SIGTERM":
            sidecar.process.send_signal(signal.SIGTERM)
        answers = [json.loads(text) for text in sidecar.rest()]
        status = sidecar.process.wait(BOUND)
        ends.note(way, time.monotonic() - began)
        if way == "shutdown" and answers and answers[-1]["id"] == LOAD:
            answers.pop()
        if way == "SIGTERM" and answers and "error" in answers[-1]:
            # The line that it had read in part is its last, as at the end of the input.
            if answers.pop()["error"]["data"]["kind"] != "parse_error":
                ends.broken.append(f"{way}: an error came")
        ids = [answer["result"]["id"] for answer in answers if "result" in answer]
        if status != 0 or ids != list(range(newest + 1, newest + 1 + len(answers))):
            ends.broken.append(f"{way}: status {status}, {len(answers)} answers; {sidecar.stderr()}")
        if way != "SIGTERM" and len(answers) != LOAD:
            ends.broken.append(f"{way}: {len(answers)} of {LOAD} requests were answered")
        return newest + len(answers)
    except subprocess.TimeoutExpired:
        ends.note(way, None)
        return stored
    finally:
        sidecar.kill()


def endings(form: Form, database: Path | str, runs: int) -> Finding:
    ends = Ends()
    setting = Sidecar(database=database, binary=str(form.binary))
    setting.call("create_session", session_id="s", status="active", ttl=0, inactivity_timeout=0)
    setting.finish()
    stored = 0
    pick = random.Random(f"lifecycle {form.seed}")
    for _ in range(runs):
        way = pick.choice(["the end of the input", "the end of the input", "SIGTERM", "shutdown"])
        stored = end_under_load(form, database, way, stored, ends)
    late = sum(seconds > BUDGET for seconds in ends.seconds)
    tried = f"{runs} ends with up to {LOAD:,} writes under way: {ends.told()}, {late} over {BUDGET:.0f} s"
    promise = "at the end of the input, after a signal and shutdown all that was read is done and answered; exit 0"
    return Finding(promise, tried, ends.broken)


# --- Idling


def processor_seconds(process: int) -> float:
    """What a process has used so far; one that has ended is an error."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    if fields[0] == "Z":
        raise ProcessLookupError(f"process {process} was to idle and has ended")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Idlers:
    """Processes that have nothing to do, each for another reason."""

    def __init__(self, form: Form, database: Path | str) -> None:
        self.form, self.database = form, database
        self.started: list[Sidecar] = []
        #: pipes that somebody must hold open
        self.kept: list[int] = []

    def start(self, *options: str, **arguments: Any) -> Sidecar:
        self.started.append(
            Sidecar(*options, database=self.database, binary=str(self.form.binary), **arguments))
        return self.started[-1]

    def end(self) -> None:
        for sidecar in self.started:
            sidecar.kill()
        for descriptor in self.kept:  # its pipes were the last that a lone one had
            os.close(descriptor)

    def just_idle(self) -> int:
        return self.start().process.pid

    def subscribed(self) -> int:
        sidecar = self.start()
        sidecar.call("create_session", session_id="subscribed", status="active")
        sidecar.call("subscribe_events", session_id="subscribed")
        return sidecar.process.pid

    def watching_its_parent(self) -> int:
        return self.start("--watch-parent").process.pid

    def unread(self) -> int:
        sidecar = self.start()
        assert sidecar.process.stdin is not None
        sidecar.process.stdin.write(ASK.encode() * 1_000)
        sidecar.process.stdin.close()
        return sidecar.process.pid

    def orphaned(self) -> int:
        """Its parent is a shell, which tells its id and ends."""
        read, write = os.pipe()
        answers, out = os.pipe()
        self.kept += [write, answers]
        parent = 'exec 3<&0; "$@" <&3 & printf "%s\\n" $! >&2'  # without being told, it would read nothing
        shell = self.start(wrapper=["sh", "-c", parent, "sh"], stdin=read, stdout=out)
        os.close(read)
        os.close(out)
        shell.process.wait(PATIENCE)
        return int(shell.stderr())


IDLERS = {
    "with nothing to do": Idlers.just_idle,
    "with a subscription": Idlers.subscribed,
    "with --watch-parent": Idlers.watching_its_parent,
    "with answers that nobody reads, after the end of its input": Idlers.unread,
    "without its parent, its pipes held open by somebody else": Idlers.orphaned,
}


def idling(form: Form, database: Path | str) -> Finding:
    seconds = LONG_IDLE_SECONDS if form.is_long else IDLE_SECONDS
    idlers = Idlers(form, database)
    broken, most = [], 0.0
    try:
        processes = {name: start(idlers) for name, start in IDLERS.items()}
        time.sleep(1)  # what they do at their start is not idling; should it take longer, it is counted
        before = {name: processor_seconds(process) for name, process in processes.items()}
        time.sleep(seconds)
        for name, process in processes.items():
            used = processor_seconds(process) - before[name]
            most = max(most, used)
            if used > seconds * IDLE_SHARE:
                broken.append(f"{name}: {used:.2f} s of processor time in {seconds:.0f} s")
    finally:
        idlers.end()
    tried = f"{len(IDLERS)} idle processes for {seconds:.0f} s: at most {most:.2f} s of processor time"
    return Finding("a process that has nothing to do does nothing, also when its parent is gone", tried, broken)


def run(form: Form) -> list[Finding]:
    findings = []
    for part in (
        parents,
        lambda form: endings(form, form.directory / "ends.db", LONG_ENDS if form.is_long else ENDS),
        lambda form: idling(form, form.directory / "idle.db"),
    ):
        findings.append(part(form))
        form.say(findings[-1].tried)
    return findings
