"""The real binary behind pipes: start it, write to it, read from it, end it.

Nothing here depends on how fast the machine is. Every wait is for something to happen; ``PATIENCE`` only turns a test
that would hang for ever into one that fails.
"""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

#: the program under test; Tests/run hands over the release build
BINARY = os.environ.get("MCP_SESSION_STORE_BINARY") or str(
    Path(__file__).parents[2] / ".build" / "release" / "mcp-session-store"
)

#: seconds until a wait is given up; long enough for a machine that does other things
PATIENCE = float(os.environ.get("WIRE_TEST_PATIENCE", "120"))

JSON = Any

# Who runs the tests under nohup, or behind a shell script, ignores signals, and every process inherits that. A signal
# that is handled, be it by doing nothing, is not inherited.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


CONTRACT = Path(__file__).parents[2] / "protocol" / "openrpc.json"

#: what the wire answers before it knows of a method
BEFORE_ANY_METHOD = {"parse_error", "invalid_request", "method_not_found"}


@functools.cache
def listed_errors() -> dict[str, set[str]]:
    """The kinds of errors that the contract lists, by method."""
    methods = json.loads(CONTRACT.read_text())["methods"]
    return {method["name"]: {error["$ref"].rsplit("/", 1)[1] for error in method["errors"]} for method in methods}


class Refused(Exception):
    """The sidecar answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']} {error['data']['kind']}: {error['message']}")
        self.code: int = error["code"]
        self.kind: str = error["data"]["kind"]
        self.message: str = error["message"]
        self.data: dict[str, Any] = error["data"]


def request(method: str, id: JSON, **params: JSON) -> dict[str, JSON]:
    """A request as an object. Python's keywords are no parameter names of the contract."""
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def notification(method: str, **params: JSON) -> dict[str, JSON]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def line(message: JSON) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without options for the sidecar that the tester's own shell may hold."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MCP_SESSION_STORE_")}
    return inherited | extra


class Sidecar:
    """One process. Bytes that it wrote and nobody has asked for yet wait here, so that neither side can block the
    other: whenever this side writes, it also reads."""

    def __init__(
        self,
        *options: str,
        database: str | os.PathLike[str] | None = None,
        env: dict[str, str] | None = None,
        wrapper: list[str] | None = None,
        binary: str = BINARY,
        **popen: Any,
    ) -> None:
        """Starts the binary on ``database``; ``wrapper`` goes in front of the command (strace, setpriv)."""
        command = [*(wrapper or []), binary]
        if database is not None:
            command += ["--database", os.fspath(database)]
        self._stderr = tempfile.TemporaryFile()
        arguments = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": self._stderr,
            "env": clean_environment() if env is None else env,
        }
        self.process = subprocess.Popen([*command, *options], bufsize=0, **(arguments | popen))
        self._buffer = bytearray()
        self._ended = False
        self._last_id = 0
        #: by id as JSON: the methods that were called with it
        self._called: dict[str, set[str]] = {}
        #: notifications that came while an answer was awaited, oldest first
        self.notifications: list[dict[str, JSON]] = []

    # --- Writing

    def send_bytes(self, data: bytes) -> None:
        """Writes all of ``data``, and keeps what comes back meanwhile."""
        assert self.process.stdin is not None
        target = self.process.stdin.fileno()
        os.set_blocking(target, False)  # this end only: the two ends of a pipe do not share their flags
        rest = memoryview(data)
        deadline = time.monotonic() + PATIENCE
        while rest:
            self._wait(deadline, writing=target)
            try:
                rest = rest[os.write(target, rest[: 1 << 16]) :]
            except BlockingIOError:
                pass

    def send(self, *messages: JSON) -> None:
        """Writes the messages, one line each, in one go."""
        for message in messages:
            for call in message if isinstance(message, list) else [message]:
                if isinstance(call, dict) and "id" in call and isinstance(call.get("method"), str):
                    self._called.setdefault(json.dumps(call["id"]), set()).add(call["method"])
        self.send_bytes(b"".join(line(message) for message in messages))

    def notify(self, method: str, **params: JSON) -> None:
        self.send(notification(method, **params))

    def close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    # --- Reading

    def _wait(self, deadline: float, writing: int | None = None) -> None:
        """Waits until something can be read (and keeps it) or written."""
        assert self.process.stdout is not None
        source = self.process.stdout.fileno()
        poll = select.poll()
        if not self._ended:
            poll.register(source, select.POLLIN)
        if writing is not None:
            poll.register(writing, select.POLLOUT)
        ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
        if not ready:
            raise TimeoutError(f"nothing happened for {PATIENCE:.0f} s; stderr: {self.stderr()!r}")
        if source in ready:
            chunk = os.read(source, 1 << 16)
            self._buffer += chunk
            self._ended = not chunk

    def read_line(self) -> bytes | None:
        """The next line without its newline; None when the output has ended."""
        deadline = time.monotonic() + PATIENCE
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            if self._ended:
                assert not self._buffer, f"the output ends within a line: {bytes(self._buffer)!r}"
                return None
            searched = len(self._buffer)
            self._wait(deadline)
        found = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return found

    def receive(self) -> JSON:
        """The next line as JSON."""
        text = self.read_line()
        assert text is not None, f"the output has ended; stderr: {self.stderr()!r}"
        message = json.loads(text)
        self._check(message)
        return message

    def _check(self, message: JSON) -> None:
        """No method ever answers with a kind of error that its entry in the contract does not list."""
        for answer in message if isinstance(message, list) else [message]:
            if not isinstance(answer, dict) or "method" in answer:
                continue
            # An id may be used again once it is answered, also by a line that is written as it is.
            called = self._called.pop(json.dumps(answer.get("id")), set())
            if "error" not in answer:
                continue
            kind = answer["error"]["data"]["kind"]
            for method in called:
                listed = listed_errors().get(method, set()) | BEFORE_ANY_METHOD
                assert kind in listed, f"{method} answered {kind}, which openrpc.json does not list: {answer}"

    def receive_answer(self) -> JSON:
        """The next answer (or array of answers); notifications before it are kept."""
        while True:
            message = self.receive()
            if not isinstance(message, dict) or "method" not in message:
                return message
            self.notifications.append(message)

    def receive_notification(self) -> dict[str, JSON]:
        """The oldest notification that was not asked for yet."""
        if self.notifications:
            return self.notifications.pop(0)
        message = self.receive()
        assert "method" in message, f"an answer where a notification was expected: {message}"
        return message

    def is_silent(self) -> bool:
        """Whether everything that the process wrote so far has been asked for. Proves nothing about the future: put a
        request before it whose answer comes later than what must not come."""
        return not self._buffer and not self.notifications

    # --- Conversations

    def call(self, method: str, **params: JSON) -> JSON:
        """The result of one call. Raises Refused when the answer is an error."""
        answer = self.ask(method, **params)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def ask(self, method: str, **params: JSON) -> dict[str, JSON]:
        """The whole answer to one call."""
        self._last_id += 1
        self.send(request(method, self._last_id, **params))
        answer = self.receive_answer()
        assert answer["id"] == self._last_id, answer
        return answer

    def refusal(self, method: str, **params: JSON) -> Refused:
        """The error that one call is answered with."""
        answer = self.ask(method, **params)
        assert "error" in answer, f"{method} was expected to be refused: {answer}"
        return Refused(answer["error"])

    # --- Ending

    def stderr(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")

    def rest(self) -> list[bytes]:
        """All lines until the output ends."""
        lines = []
        while (text := self.read_line()) is not None:
            lines.append(text)
        return lines

    def remains(self) -> list[JSON]:
        """What a process that was killed had written, without a last line that it had not finished."""
        while not self._ended:
            self._wait(time.monotonic() + PATIENCE)
        *lines, _ = bytes(self._buffer).split(b"\n")
        self._buffer.clear()
        return [json.loads(text) for text in lines]

    def wait(self) -> int:
        """The exit status: negative for a signal."""
        return self.process.wait(PATIENCE)

    def finish(self) -> list[JSON]:
        """Ends the input. Returns what still came, and insists on a good end."""
        self.close_input()
        messages = [json.loads(text) for text in self.rest()]
        status = self.wait()
        assert status == 0, f"exit status {status}; stderr: {self.stderr()!r}"
        return messages

    def children(self) -> list[int]:
        """The processes that the wrapper started."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    def kill(self) -> None:
        """Ends the process as a crash would, and takes its descriptors away. May be called twice."""
        if self.process.poll() is None:
            for child in self.children():  # a wrapper that is killed would leave it behind
                os.kill(child, signal.SIGKILL)
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout, self._stderr):
            if stream is not None:
                stream.close()


def converse(*lines: bytes | JSON, options: tuple[str, ...] = (), database: str = ":memory:") -> list[bytes]:
    """What a process answers to a whole input: the lines of its output. It must end well and say nothing to stderr."""
    data = b"".join(entry if isinstance(entry, bytes) else line(entry) for entry in lines)
    done = subprocess.run(
        [BINARY, "--database", database, *options],
        input=data, capture_output=True, timeout=PATIENCE, env=clean_environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert done.stderr == b"", done
    assert done.stdout == b"" or done.stdout.endswith(b"\n")
    return done.stdout.split(b"\n")[:-1]
