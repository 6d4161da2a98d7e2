"""The store's process: found, started, spoken to in lines, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import weakref
from collections import deque
from typing import TYPE_CHECKING, cast

from .errors import ChildError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: bytes that are read at once; a pipe holds no more
CHUNK = 65_536
#: bytes of a line that never ends, after which it is no line of the store's
LONGEST_LINE = 256 << 20
#: characters of one line of standard error that are handed on
STDERR_LINE = 4_096
#: bytes that a pipe may still hold when its process is gone; what comes behind is somebody else's
PIPE = 1 << 20
#: seconds that a process which cannot be spoken to any more may take to end
LAST_WORDS = 1.0


def arguments(options: Mapping[str, str | int | bool | None]) -> list[str]:
    """`{"session_ttl": "1h", "exclusive": True}` as a command line has it."""
    found = []
    for name, value in options.items():
        if value is not False and value is not None:
            found.append("--" + name.replace("_", "-"))
            if value is not True:
                found.append(str(value))
    return found


class Child(asyncio.SubprocessProtocol):
    """One process. What it says arrives at `on_line`; `on_end` is called once, when it has ended and all was heard.

    The pipes are its own, and not those of the event loop: loops differ in how they read them, in whether a forked
    process can let go of them, and in what they raise when the other end is gone.
    """

    _alive: weakref.WeakSet[Child] = weakref.WeakSet()

    #: descriptors of ours; None once they are closed
    _stdin: int | None = None
    _stdout: int | None = None
    _stderr: int | None = None

    def __init__(
        self, on_line: Callable[[bytes], None], on_end: Callable[[], None], on_stderr: Callable[[str], None],
        on_writable: Callable[[], None],
    ) -> None:
        self._on_line = on_line
        self._on_end = on_end
        self._on_stderr = on_stderr
        self._on_writable = on_writable
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.SubprocessTransport | None = None
        self._pieces: list[bytes] = []
        self._length = 0
        self._remark = b""
        #: what the system did not take yet
        self._unwritten = memoryview(b"")
        self._is_closing_stdin = False
        self._doom: asyncio.TimerHandle | None = None
        self._has_ended = asyncio.Event()
        #: whether more may be written now
        self.is_writable = False
        #: why it was ended from here
        self.fault: str | None = None
        #: the last lines of standard error
        self.last_words: deque[str] = deque(maxlen=5)

    async def start(self, command: Sequence[str], cwd: str | None = None, env: Mapping[str, str] | None = None) -> None:
        """Starts the process. Raises ChildError when the system refuses."""
        theirs: list[int] = []
        try:
            stdin, self._stdin = os.pipe()
            theirs.append(stdin)
            self._stdout, stdout = os.pipe()
            theirs.append(stdout)
            self._stderr, stderr = os.pipe()
            theirs.append(stderr)
            # A session of its own: Ctrl-C on a terminal goes to the whole group, and the host shall be able to finish
            # its work on it. The end of the input ends the program in any case.
            await self._loop.subprocess_exec(
                lambda: self, *command, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, cwd=cwd,
                env=None if env is None else dict(env))
        except (OSError, ValueError, TypeError) as error:  # the environment, too, may be none
            self._let_go()
            why = getattr(error, "strerror", None) or error
            where = f" in '{cwd}'" if cwd is not None and not os.path.isdir(cwd) else ""
            raise ChildError(f"'{command[0]}' cannot be run{where}: {why}.", reason="not_startable") from error
        except BaseException:
            self._let_go()
            self.kill()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        for descriptor in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(descriptor, False)
        self._loop.add_reader(self._stdout, self._read_stdout)
        self._loop.add_reader(self._stderr, self._read_stderr)
        self.is_writable = True
        Child._alive.add(self)
        if self.exit_code is not None:  # already
            self.process_exited()

    @property
    def pid(self) -> int | None:
        return self._transport.get_pid() if self._transport is not None else None

    @property
    def exit_code(self) -> int | None:
        """As the system tells it: negative for a signal; None as long as it runs."""
        return self._transport.get_returncode() if self._transport is not None else None

    # What is written

    def write(self, data: bytes) -> None:
        """What the system does not take yet stays here, and `is_writable` is false until it has."""
        if self._stdin is None or self._is_closing_stdin:
            return
        if self._unwritten:
            self._unwritten = memoryview(bytes(self._unwritten) + data)
            return
        try:
            size = os.write(self._stdin, data)
        except OSError:
            size = 0  # once more below, where it is told why
        if size == len(data):
            return
        self._unwritten = memoryview(data)[size:]
        self._flush()
        if self._unwritten and self._stdin is not None:
            self.is_writable = False
            self._loop.add_writer(self._stdin, self._on_room)

    def _flush(self) -> None:
        assert self._stdin is not None
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._stdin, self._unwritten):]
        except BlockingIOError:
            pass
        except OSError:
            # It reads no more: it has ended, or will not do what it is for.
            self._close_stdin()
            self._end_soon()

    def _on_room(self) -> None:
        if self._stdin is None:
            return
        self._flush()
        if self._unwritten or self._stdin is None:
            return
        self._loop.remove_writer(self._stdin)
        if self._is_closing_stdin:
            self._close_stdin()
        else:
            self.is_writable = True
            self._on_writable()

    def _close_stdin(self) -> None:
        self.is_writable = False
        self._unwritten = memoryview(b"")
        if self._stdin is not None:
            self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    # What is read

    def _read_stdout(self) -> None:
        data = self._read(self._stdout)
        if data:
            self._cut(data)
        elif data is not None:
            self._close_stdout()
            self._end_soon()

    def _cut(self, data: bytes) -> None:
        """At newlines and nowhere else."""
        # To split looks at each byte: of one long line that takes ten times as long as to find its end.
        line, newline, rest = data.partition(b"\n")
        lines: list[bytes] = []
        if newline:
            lines.append(b"".join((*self._pieces, line)))
            self._pieces.clear()
            self._length = 0
            *others, rest = rest.split(b"\n")
            lines += others
        else:
            rest = line
        if rest:
            self._pieces.append(rest)
            self._length += len(rest)
        for line in lines:
            self._on_line(line)
        if self._length > LONGEST_LINE:
            self._pieces.clear()
            self._length = 0
            self.fail(f"It wrote a line of more than {LONGEST_LINE} bytes.")

    def _read_stderr(self) -> None:
        data = self._read(self._stderr)
        if data:
            self._hear(data)
        elif data is not None:
            self._close_stderr()

    def _hear(self, data: bytes) -> None:
        *lines, self._remark = (self._remark + data).split(b"\n")
        if len(self._remark) > STDERR_LINE:
            lines.append(self._remark)
            self._remark = b""
        for line in lines:
            self._say(line)

    def _say(self, line: bytes) -> None:
        text = line[:STDERR_LINE].decode("utf-8", "replace").rstrip("\r")
        self.last_words.append(text)
        self._on_stderr(text)

    @staticmethod
    def _read(descriptor: int | None) -> bytes | None:
        """What is there; nothing at the end; None when there is nothing yet."""
        if descriptor is None:
            return None
        try:
            return os.read(descriptor, CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    # Its end

    async def close(self, patience: float, force: float = LAST_WORDS) -> None:
        """Closes its input, after which it finishes what it was told and ends; helps it after `patience` seconds, and
        once more after `force`.

        Returns when it has ended and all that it said was handed on.
        """
        if self._transport is None:
            return
        self._is_closing_stdin = True
        self.is_writable = False
        if not self._unwritten:
            self._close_stdin()
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, force)):
            try:
                await asyncio.wait_for(self._has_ended.wait(), seconds)
                return
            except asyncio.TimeoutError:
                self._send_signal(number)
        await self._has_ended.wait()

    def kill(self) -> None:
        """Ends it at once, without waiting."""
        self._send_signal(signal.SIGKILL)

    def fail(self, why: str) -> None:
        """It is of no use any more."""
        self.fault = self.fault or why
        self.kill()

    def _send_signal(self, number: signal.Signals) -> None:
        if self._transport is not None and self.exit_code is None:
            try:
                self._transport.send_signal(number)
            except ProcessLookupError:
                pass  # it has ended in this moment

    def _end_soon(self) -> None:
        """It closed a pipe, so it has ended, or cannot be spoken to."""
        if self._doom is None and not self._is_closing_stdin and not self._has_ended.is_set():
            self._doom = self._loop.call_later(LAST_WORDS, self.kill)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def process_exited(self) -> None:
        if self._transport is None or self._has_ended.is_set():
            return
        self._transport.close()
        if self not in Child._alive:  # `start` has not come so far, or was given up
            return
        # All that it said is in the pipes, whoever else holds them open.
        self._drain(lambda: self._read(self._stdout), self._cut)
        self._drain(lambda: self._read(self._stderr), self._hear)
        if self._remark:
            self._say(self._remark)
        self._let_go()
        self._has_ended.set()
        self._on_end()

    @staticmethod
    def _drain(read: Callable[[], bytes | None], hear: Callable[[bytes], None]) -> None:
        size = 0
        while size < PIPE and (data := read()):
            size += len(data)
            hear(data)

    def _let_go(self) -> None:
        Child._alive.discard(self)
        if self._doom is not None:
            self._doom.cancel()
        self._close_stdin()
        self._close_stdout()
        self._close_stderr()

    def _close_stdout(self) -> None:
        if self._stdout is not None:
            self._loop.remove_reader(self._stdout)
            os.close(self._stdout)
            self._stdout = None

    def _close_stderr(self) -> None:
        if self._stderr is not None:
            self._loop.remove_reader(self._stderr)
            os.close(self._stderr)
            self._stderr = None

    def abandon(self) -> None:
        """Lets go of it where its event loop is gone, or another process's: the end of the input ends the process."""
        Child._alive.discard(self)
        for descriptor in (self._stdin, self._stdout, self._stderr):
            if descriptor is not None:
                os.close(descriptor)
        self._stdin = self._stdout = self._stderr = None

    def __del__(self) -> None:
        self.abandon()

    # After a fork

    @classmethod
    def forget_all(cls) -> None:
        """In a forked process: lets go of the pipes, or the store would never see the end of its input."""
        children = list(cls._alive)
        if not children:
            return
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for child in children:
            for descriptor in (child._stdin, child._stdout, child._stderr):
                if descriptor is not None:
                    # The number stays taken, for whoever closes it later closes this.
                    os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)


os.register_at_fork(after_in_child=Child.forget_all)
