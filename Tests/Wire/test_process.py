"""The process and its descriptors: how it starts, what it writes where, and what makes it end."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine import contents
from sidecar import BINARY, PATIENCE, Sidecar, clean_environment, line, notification, request

COUNT = request("session_count", 1)
#: what costs least on a server, where many share one look
NOBODY = request("get_session", 1, session_id="nobody")


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for something that nobody tells of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {PATIENCE:.0f} s: {what}"
        time.sleep(0.005)


def is_running(process: int) -> bool:
    """Whether there is such a process; one that has ended and waits for its parent to notice is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- Standard output


def test_a_parent_that_writes_much_before_it_reads_is_served(database: Path) -> None:
    """200,000 requests in a blocking write: were the sidecar to wait for its reader, both would wait for ever."""
    count = 200_000
    process = subprocess.Popen(
        [BINARY, "--database", str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment()
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(line(request("create_session", 0, session_id="s")))
        process.stdin.write(
            b"".join(
                b'{"jsonrpc":"2.0","id":%d,"method":"store_event","params":{"session_id":"s","data":%d}}\n' % (n, n)
                for n in range(1, count + 1)
            )
        )
        process.stdin.close()
        answers = process.stdout.read().splitlines()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    assert len(answers) == count + 1
    for number in range(1, count + 1):
        assert answers[number].startswith(b'{"jsonrpc":"2.0","id":%d,"result":{"id":%d,' % (number, number))


def test_a_parent_that_never_reads_makes_it_hold_only_so_much(sidecar: Sidecar) -> None:
    """Answers of 256 KiB that nobody reads: it stops once 64 MiB wait, and goes on when they go."""
    sidecar.call("create_session", session_id="s")
    sidecar.call("set_session_state", session_id="s", key="k", value="x" * 262_144)
    count = 2_000  # 500 MiB of answers; the requests are more than the pipe holds
    requests = b"".join(
        line(request("get_session_state", n, session_id="s", key="k") | {"padding": " " * 1_000}) for n in range(count)
    )
    target = sidecar.process.stdin.fileno()  # type: ignore[union-attr]
    os.set_blocking(target, False)
    sent, quiet_since = 0, time.monotonic()
    # It takes no more when nothing was taken for a while; taking longer only means that more is tested below.
    while sent < len(requests) and time.monotonic() - quiet_since < 1:
        if select.select([], [target], [], 0.1)[1]:
            sent += os.write(target, requests[sent : sent + 4_096])
            quiet_since = time.monotonic()
    status = Path(f"/proc/{sidecar.process.pid}/status").read_text()
    peak = int(next(row for row in status.splitlines() if row.startswith("VmHWM")).split()[1])
    assert peak < 160 << 10, f"{peak} KiB"
    sidecar.send_bytes(requests[sent:])
    for number in range(count):
        text = sidecar.read_line()
        assert text is not None and text.startswith(b'{"jsonrpc":"2.0","id":%d,' % number)
    assert sidecar.finish() == []


def test_a_pipe_of_answers_holds_a_long_one(sidecar: Sidecar) -> None:
    """Or it would go through the pipe in pieces of 64 KiB, each with a turn of both processes."""
    sidecar.call("session_count")
    allowed = int(Path("/proc/sys/fs/pipe-max-size").read_text())
    size = fcntl.fcntl(sidecar.process.stdout.fileno(), fcntl.F_GETPIPE_SZ)  # type: ignore[union-attr]
    assert size >= min(256 << 10, allowed)
    # One that holds more already keeps it.
    answers, target = os.pipe()
    size = fcntl.fcntl(target, fcntl.F_SETPIPE_SZ, min(512 << 10, allowed))
    with open(answers, "rb") as reader, subprocess.Popen(
        [BINARY, "--database", ":memory:"], stdin=subprocess.PIPE, stdout=target, env=clean_environment()
    ) as child:
        os.close(target)
        child.stdin.write(line(COUNT))  # type: ignore[union-attr]
        child.stdin.close()  # type: ignore[union-attr]
        assert b'"result"' in reader.readline()
        assert fcntl.fcntl(reader.fileno(), fcntl.F_GETPIPE_SZ) == size


def test_descriptor_1_points_where_stderr_does(sidecar: Sidecar) -> None:
    """So that nothing that prints can pollute the wire."""
    sidecar.call("session_count")
    links = f"/proc/{sidecar.process.pid}/fd"
    assert os.readlink(f"{links}/1") == os.readlink(f"{links}/2")
    wire = os.readlink(f"/proc/self/fd/{sidecar.process.stdout.fileno()}")  # type: ignore[union-attr]
    holders = [name for name in os.listdir(links) if os.readlink(f"{links}/{name}") == wire]
    assert len(holders) == 1 and int(holders[0]) > 2


def test_every_line_is_json_rpc_and_stderr_is_silent(sidecar: Sidecar) -> None:
    lines = [b"nonsense\n", b"[]\n", b"\xff\n", line(COUNT), line([COUNT, 1]), line(notification("x")), b"{}\n"]
    sidecar.send_bytes(b"".join(lines * 50))
    sidecar.close_input()
    for text in sidecar.rest():
        message = json.loads(text)
        for answer in message if isinstance(message, list) else [message]:
            assert answer["jsonrpc"] == "2.0" and ("result" in answer) != ("error" in answer)
    assert sidecar.wait() == 0 and sidecar.stderr() == ""


# --- Inherited descriptors


def ends_of(kind: str, place: Path) -> tuple[int, int, int, int]:
    """The child's input and ours, the child's output and ours: pipes, socket pairs as Node makes them, or named pipes
    in `place` as a shell makes them."""
    if kind == "named pipe":
        ends: list[int] = []
        for name in (place / "in", place / "out"):
            os.mkfifo(name)
            both = os.open(name, os.O_RDWR)  # opening one end alone would wait for the other
            ends += [os.open(name, os.O_RDONLY), os.open(name, os.O_WRONLY)]
            os.close(both)
        theirs_in, ours_in, ours_out, theirs_out = ends
        return theirs_in, ours_in, theirs_out, ours_out
    if kind == "pipe":
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        return theirs_in, ours_in, theirs_out, ours_out
    first, second = socket.socketpair(), socket.socketpair()
    return first[0].detach(), first[1].detach(), second[0].detach(), second[1].detach()


@pytest.mark.parametrize("kind", ["pipe", "socketpair", "named pipe"])
def test_inherited_descriptors_never_get_o_nonblock(kind: str, database: Path, tmp_path: Path) -> None:
    """The flag belongs to what the descriptors share, so it would change our side's copies too."""
    theirs_in, ours_in, theirs_out, ours_out = ends_of(kind, tmp_path)
    error_in, error_out = os.pipe()
    process = subprocess.Popen(
        [BINARY, "--database", str(database)], stdin=theirs_in, stdout=theirs_out, stderr=error_out,
        env=clean_environment(),
    )  # fmt: skip
    try:
        for number in range(3):
            os.write(ours_in, line(request("create_session", number)) * 100)
            answered = b""
            while answered.count(b"\n") < 100:
                answered += os.read(ours_out, 1 << 16)
            for descriptor in (theirs_in, theirs_out, error_out):
                assert not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK
        os.close(ours_in)
        assert process.wait(PATIENCE) == 0
        for descriptor in (theirs_in, theirs_out, error_out):
            assert not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK
    finally:
        process.kill()
        process.wait()
        for descriptor in (theirs_in, theirs_out, ours_out, error_in, error_out):
            os.close(descriptor)


@pytest.mark.parametrize("kind", ["pipe", "socketpair", "named pipe"])
def test_more_than_a_pipe_holds_is_written_before_anything_is_read(kind: str, database: Path, tmp_path: Path) -> None:
    """As parents do whose writes wait: were the sidecar to wait for its reader, both would wait for ever."""
    theirs_in, ours_in, theirs_out, ours_out = ends_of(kind, tmp_path)
    process = subprocess.Popen(
        [BINARY, "--database", str(database)], stdin=theirs_in, stdout=theirs_out, env=clean_environment()
    )
    os.close(theirs_in), os.close(theirs_out)
    try:
        with open(ours_in, "wb") as target:
            target.write(line(request("create_session", 0, session_id="s")))
            for number in range(1, 20_001):
                target.write(line(request("store_event", number, session_id="s", data="x" * 100)))
        with open(ours_out, "rb") as source:
            answers = source.read().splitlines()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    assert [json.loads(text)["id"] for text in answers] == list(range(20_001))


# --- Standard output that is a file, standard descriptors that are closed


def test_output_to_a_file(database: Path, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as out:
        done = subprocess.run(
            [BINARY, "--database", str(database)], input=line(NOBODY) * 50_000, stdout=out, timeout=PATIENCE,
            env=clean_environment(), check=False,
        )  # fmt: skip
    assert done.returncode == 0
    assert (tmp_path / "out").read_bytes().count(b'{"jsonrpc":"2.0","id":1,"result":null}\n') == 50_000


def test_input_from_a_file(database: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(line(request("create_session", 1, session_id="s")) + line(COUNT))
    with open(tmp_path / "in", "rb") as source:
        done = subprocess.run(
            [BINARY, "--database", str(database)], stdin=source, capture_output=True, timeout=PATIENCE,
            env=clean_environment(), check=False,
        )  # fmt: skip
    assert done.returncode == 0 and done.stderr == b""
    assert json.loads(done.stdout.splitlines()[1])["result"] == {"count": 1}


def closing(*descriptors: int, redirect: str = "") -> list[str]:
    """A shell that closes descriptors, then becomes the program after it."""
    closed = " ".join(f"{number}<&-" if number == 0 else f"{number}>&-" for number in descriptors)
    return ["sh", "-c", f'exec "$@" {closed} {redirect}', "sh"]


def test_a_closed_standard_input_is_an_error_of_the_surroundings(database: Path) -> None:
    done = subprocess.run(
        [*closing(0), BINARY, "--database", str(database)], capture_output=True, timeout=PATIENCE,
        env=clean_environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 78 and done.stdout == b""
    assert done.stderr.count(b"\n") == 1 and b"standard input is closed" in done.stderr
    assert not database.exists() if isinstance(database, Path) else contents(database) == {}


def test_a_closed_stderr_never_becomes_the_database(database: Path, spawn: Callable[..., Sidecar]) -> None:
    """With descriptor 2 free, the next file to be opened would get it, and messages would be written into it."""
    sidecar = spawn(wrapper=closing(2))
    sidecar.call("create_session", session_id="s")
    assert os.readlink(f"/proc/{sidecar.process.pid}/fd/2") == "/dev/null"
    assert sidecar.finish() == []


def test_a_closed_standard_output_does_not_harm_the_database(database: Path, spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn(wrapper=closing(1))
    sidecar.notify("create_session", session_id="s")
    sidecar.close_input()
    assert sidecar.wait() in (0, 74)
    assert spawn().call("session_count")["count"] in (0, 1)


# --- The end of the input, and signals


def test_the_end_of_the_input_is_a_good_end(sidecar: Sidecar) -> None:
    """Everything that was read is answered."""
    sidecar.send(*(request("create_session", number) for number in range(1_000)))
    assert [answer["id"] for answer in sidecar.finish()] == list(range(1_000))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_as_the_end_of_the_input_does(number: signal.Signals, spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn()
    sidecar.call("create_session", session_id="s")
    sidecar.process.send_signal(number)
    assert sidecar.rest() == [] and sidecar.wait() == 0 and sidecar.stderr() == ""
    assert spawn().call("session_count") == {"count": 1}


def test_a_signal_under_load_loses_nothing_that_was_acknowledged(spawn: Callable[..., Sidecar]) -> None:
    """It may leave requests unread; what it has read it answers, in order and in whole lines. The line that it had read
    in part is its last, as at the end of the input."""
    sidecar = spawn("--max-events-per-session", "0")
    sidecar.call("create_session", session_id="s")
    requests = b"".join(line(request("store_event", n, session_id="s", data=n)) for n in range(1, 20_001))
    target = sidecar.process.stdin.fileno()  # type: ignore[union-attr]
    os.set_blocking(target, False)
    sent = os.write(target, requests)
    sidecar.receive()
    sidecar.process.send_signal(signal.SIGTERM)
    answers = [json.loads(text) for text in sidecar.rest()]
    assert sidecar.wait() == 0 and sent > 0
    if answers and "error" in answers[-1]:
        assert answers.pop()["error"]["data"]["kind"] == "parse_error"
    assert [answer["result"]["id"] for answer in answers] == list(range(2, len(answers) + 2))
    assert spawn().call("event_count", session_id="s") == {"count": len(answers) + 1}


def test_inherited_signal_masks_do_not_matter(spawn: Callable[..., Sidecar]) -> None:
    """Threads of some runtimes block signals, and their children inherit that."""
    blocked = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        sidecar = spawn()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
    sidecar.call("session_count")
    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.wait() == 0


@contextmanager
def ignoring(number: signal.Signals) -> Iterator[None]:
    handler = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_its_parent_ignores_is_ignored(number: signal.Signals, spawn: Callable[..., Sidecar]) -> None:
    """As nohup has it: a server that outlives its terminal keeps its store."""
    with ignoring(number):
        sidecar = spawn()
    sidecar.call("create_session", session_id="s")
    sidecar.process.send_signal(number)
    # A signal that is not ignored would be there before the next request is.
    assert sidecar.call("session_count") == {"count": 1}
    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.wait() == 0


def test_a_signal_ends_it_even_when_nobody_reads(sidecar: Sidecar) -> None:
    """The answers fill the pipe. Whoever sends the signal wants the process gone: 74 tells that answers are lost."""
    sidecar.call("create_session", session_id="s", metadata={"m": "x" * 100_000})
    sidecar.send_bytes(line(request("get_session", 1, session_id="s")) * 20)
    # The pipe is full when the process has more than it can write, which is when its output is ready and stays so.
    until(lambda: pipe_is_full(sidecar), "the pipe is full")
    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.wait() == 74 and "answers are lost" in sidecar.stderr()


def pipe_is_full(sidecar: Sidecar) -> bool:
    waiting = bytearray(4)
    fcntl.ioctl(sidecar.process.stdout.fileno(), 0x541B, waiting)  # type: ignore[union-attr]  # FIONREAD
    return int.from_bytes(waiting, sys.byteorder) >= 60_000


def test_a_reader_that_went_away_ends_it(sidecar: Sidecar) -> None:
    sidecar.call("session_count")
    sidecar.process.stdout.close()  # type: ignore[union-attr]
    assert sidecar.wait() == 74  # without another request: nobody will ever read an answer
    said = sidecar.stderr()
    assert said == "mcp-session-store: the reader of standard output is gone; what it has not taken is lost\n"


@pytest.mark.parametrize("options", [(), ("--watch-parent",)], ids=["", "watching"])
@pytest.mark.parametrize("asked", [False, True], ids=["idle", "asked"])
def test_a_reader_behind_a_socket_that_went_away_ends_it(options: tuple[str, ...], asked: bool, database: Path) -> None:
    """Node's pipes are sockets. The input stays open, as one does that leaked into another child."""
    reader, writer = socket.socketpair()
    with reader, subprocess.Popen(
        [BINARY, "--database", str(database), *options], stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE,
        env=clean_environment(), bufsize=0,
    ) as process:  # fmt: skip
        writer.close()
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(line(COUNT))
        assert reader.recv(1 << 16).endswith(b"\n")
        reader.close()
        if asked:
            try:
                process.stdin.write(line(COUNT))
            except BrokenPipeError:
                pass
        assert process.wait(PATIENCE) == 74
        said = process.stderr.read()
        assert said.count(b"\n") == 1 and b"reader of standard output" in said


def test_a_reader_that_only_writes_no_more_is_served(database: Path) -> None:
    """Half of its socket is closed, which is no reason to spin nor to end: processor time, not wall-clock."""
    reader, writer = socket.socketpair()
    with reader, subprocess.Popen(
        [BINARY, "--database", str(database)], stdin=subprocess.PIPE, stdout=writer, env=clean_environment()
    ) as process:  # fmt: skip
        writer.close()
        reader.shutdown(socket.SHUT_WR)
        assert process.stdin is not None
        for _ in range(2):
            process.stdin.write(line(COUNT))
            process.stdin.flush()
            assert reader.recv(1 << 16).endswith(b"\n")
            time.sleep(0.5)
        assert processor_time(process.pid) < 0.4
        process.stdin.close()
        assert process.wait(PATIENCE) == 0 and reader.recv(1) == b""


def test_a_reader_that_reads_no_more_ends_it_with_the_next_answer(database: Path) -> None:
    reader, writer = socket.socketpair()
    with reader, subprocess.Popen(
        [BINARY, "--database", str(database)], stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE,
        env=clean_environment(),
    ) as process:  # fmt: skip
        writer.close()
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(line(COUNT))
        process.stdin.flush()
        assert reader.recv(1 << 16).endswith(b"\n")
        reader.shutdown(socket.SHUT_RD)
        time.sleep(0.5)
        assert processor_time(process.pid) < 0.4
        process.stdin.write(line(COUNT))
        process.stdin.flush()
        assert process.wait(PATIENCE) == 74 and b"reader of standard output" in process.stderr.read()


def processor_time(process: int) -> float:
    words = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_one_socket_in_both_directions_is_served_to_its_end(database: Path) -> None:
    """As inetd has it: the end of the input is not the end of the reader."""
    theirs, ours = socket.socketpair()
    with ours, subprocess.Popen(
        [BINARY, "--database", str(database)], stdin=theirs, stdout=theirs, env=clean_environment()
    ) as process:  # fmt: skip
        theirs.close()
        ours.sendall(line(COUNT) * 100)
        ours.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := ours.recv(1 << 16):
            received += chunk
        assert received.count(b"\n") == 100 and process.wait(PATIENCE) == 0


def test_letting_go_of_both_ends_with_nothing_owed_is_a_good_end(spawn: Callable[..., Sidecar]) -> None:
    """What a parent that ends does, in whatever order."""
    for order in (("stdin", "stdout"), ("stdout", "stdin")):
        sidecar = spawn()
        sidecar.call("session_count")
        sidecar.process.send_signal(signal.SIGSTOP)
        for name in order:
            getattr(sidecar.process, name).close()
        sidecar.process.send_signal(signal.SIGCONT)
        assert sidecar.wait() == 0 and sidecar.stderr() == ""


def test_an_output_that_cannot_be_written_is_said(database: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [BINARY, "--database", str(database)], input=line(COUNT), stdout=full, stderr=subprocess.PIPE,
            timeout=PATIENCE, env=clean_environment(), check=False,
        )  # fmt: skip
    assert done.returncode == 74 and b"No space left" in done.stderr and done.stderr.count(b"\n") == 1


def test_an_input_that_cannot_be_read_is_said(database: Path, tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    done = subprocess.run(
        [BINARY, "--database", str(database)], stdin=directory, capture_output=True, timeout=PATIENCE,
        env=clean_environment(), check=False,
    )  # fmt: skip
    os.close(directory)
    assert done.returncode == 74 and b"cannot read standard input" in done.stderr


def test_a_reader_that_went_away_under_load_ends_it(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn()
    sidecar.call("create_session", session_id="s")
    sidecar.send_bytes(line(request("store_event", 1, session_id="s", data=1)) * 1_000)
    sidecar.process.stdout.close()  # type: ignore[union-attr]
    assert sidecar.wait() == 74
    assert spawn().call("event_count", session_id="s")["count"] <= 1_000


# --- The parent


PARENT = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"session_count"}\\n')
child.stdin.flush()
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()  # until the test ends this process
"""


@pytest.fixture
def parent(database: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    """Starts a parent that starts a sidecar; returns both."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, keep_open: bool = False) -> tuple[subprocess.Popen[str], int]:
        code = PARENT
        if keep_open:  # another child holds the sidecar's input open, as careless parents do
            code = PARENT.replace("print(", "subprocess.Popen(['sleep', '600'], close_fds=False, stdout=2)\nprint(", 1)
            leak = "os.set_inheritable(child.stdin.fileno(), True)\n"
            code = code.replace("child.stdin.write", leak + "child.stdin.write")
        process = subprocess.Popen(
            [sys.executable, "-c", code, BINARY, "--database", str(database), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment(), start_new_session=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # its children too
        except ProcessLookupError:
            pass
        process.wait()
        process.stdin.close(), process.stdout.close()  # type: ignore[union-attr]


def test_a_parent_that_dies_leaves_no_process(parent: Callable[..., tuple[subprocess.Popen[str], int]]) -> None:
    process, child = parent()
    process.kill()
    process.wait()
    until(lambda: not is_running(child), "the sidecar is gone")


def test_a_parent_that_leaked_the_input_leaves_no_process_that_watches_it(
    parent: Callable[..., tuple[subprocess.Popen[str], int]],
) -> None:
    process, child = parent("--watch-parent", keep_open=True)
    process.kill()
    process.wait()
    until(lambda: not is_running(child), "the sidecar is gone")


def test_a_parent_that_lives_is_not_mistaken_for_a_dead_one(spawn: Callable[..., Sidecar]) -> None:
    """Two looks after the parent are a second apart each, so this waits for them to have happened."""
    sidecar = spawn("--watch-parent")
    sidecar.call("session_count")
    time.sleep(2.5)
    assert sidecar.call("session_count") == {"count": 0}
    assert sidecar.finish() == []


# --- A terminal, and a stderr that takes nothing


def test_a_terminal_gets_a_hint(database: Path) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [BINARY, "--database", str(database)], stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=clean_environment(),
    )  # fmt: skip
    os.close(terminal)
    assert process.stdout is not None and process.stderr is not None
    try:
        hint = process.stderr.readline().decode()
        assert "waiting for JSON-RPC" in hint and str(database) in hint
        os.write(controller, line(COUNT))
        assert json.loads(process.stdout.readline())["result"] == {"count": 0}
        os.write(controller, b"\x04")  # Ctrl-D
        assert process.wait(PATIENCE) == 0
        assert process.stdout.read() == b"" and process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stdout.close(), process.stderr.close()
        os.close(controller)


def test_a_terminal_on_all_three(database: Path) -> None:
    """As a person starts it: hint and answers come on the same terminal."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [BINARY, "--database", str(database)], stdin=terminal, stdout=terminal, stderr=terminal, env=clean_environment()
    )
    os.close(terminal)
    try:
        seen = b""
        while b"waiting for JSON-RPC" not in seen:
            seen += os.read(controller, 1 << 16)
        os.write(controller, line(COUNT))
        while b'"result":{"count":0}' not in seen:
            seen += os.read(controller, 1 << 16)
        os.write(controller, b"\x04")
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def test_a_full_stderr_does_not_stall_it(database: Path, tmp_path: Path) -> None:
    """A terminal makes it speak, a database that cannot be opened makes it speak: neither may wait for a reader."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4_096)
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    controller, terminal = pty.openpty()
    command = [BINARY, "--database", str(database)]
    process = subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=writing, env=clean_environment()
    )
    os.close(terminal)
    assert process.stdout is not None
    try:
        os.write(controller, line(COUNT))
        assert json.loads(process.stdout.readline())["result"] == {"count": 0}
        os.write(controller, b"\x04")
        assert process.wait(PATIENCE) == 0
        failing = [BINARY, "--database", str(tmp_path)]
        assert subprocess.run(failing, input=b"", stderr=writing, timeout=PATIENCE, check=False).returncode == 73
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for descriptor in (controller, reading, writing):
            os.close(descriptor)


# --- shutdown


def test_shutdown(spawn: Callable[..., Sidecar]) -> None:
    """What stands before it is done, what stands after it is refused, and the process ends well by itself."""
    sidecar = spawn()
    sidecar.send(
        request("create_session", 1, session_id="s"),
        request("shutdown", 2),
        request("store_event", 3, session_id="s", data=1),
        notification("store_event", session_id="s", data=1),
        [request("session_count", 4), 5],
        request("shutdown", 6),
    )
    answers = [json.loads(text) for text in sidecar.rest()]
    assert sidecar.wait() == 0
    assert "result" in answers[0] and answers[1] == {"jsonrpc": "2.0", "id": 2, "result": {}}
    for answer in (answers[2], answers[3][0], answers[4]):
        assert (answer["error"]["code"], answer["error"]["data"]["kind"]) == (1501, "shutting_down")
    assert answers[3][1]["error"]["code"] == -32600
    later = spawn()
    assert later.call("event_count", session_id="s") == {"count": 0}


def test_shutdown_needs_no_end_of_the_input(sidecar: Sidecar) -> None:
    assert sidecar.call("shutdown") == {}
    assert sidecar.wait() == 0


def test_shutdown_as_a_notification(sidecar: Sidecar) -> None:
    sidecar.notify("shutdown")
    assert sidecar.rest() == [] and sidecar.wait() == 0


def test_an_idle_process_uses_no_processor(sidecar: Sidecar) -> None:
    """It waits without waking up: a hundred children of a server must not cost it anything."""
    sidecar.call("session_count")

    def ticks() -> int:
        fields = Path(f"/proc/{sidecar.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(1)
    assert ticks() - before <= 5
