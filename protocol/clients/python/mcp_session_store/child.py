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
    from collections.abc import Callable, Sequence

#: characters of one line of standard error that are handed on
STDERR_LINE = 4_096
#: seconds that a process which closed its output may take to say how it ended
LAST_WORDS = 0.1
STDIN, STDERR = 0, 2


class Lines(asyncio.Protocol):
    """What is read from a pipe, line by line."""

    def __init__(self, on_line: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_line = on_line
        self._on_end = on_end
        self._pieces: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        if lines and self._pieces:
            lines[0] = b"".join((*self._pieces, lines[0]))
            self._pieces.clear()
        if rest:
            self._pieces.append(rest)
        for line in lines:
            self._on_line(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_end()


class Child(asyncio.SubprocessProtocol):
    """One process. What it says arrives at `on_line`; `on_end` is called once, when nothing more will come."""

    _alive: weakref.WeakSet[Child] = weakref.WeakSet()

    def __init__(
        self, on_line: Callable[[bytes], None], on_end: Callable[[], None], on_stderr: Callable[[str], None],
        on_writable: Callable[[], None],
    ) -> None:
        self._on_line = on_line
        self._on_end = on_end
        self._on_stderr = on_stderr
        self._on_writable = on_writable
        self._stderr = b""
        self._ended = False
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._stdout: asyncio.ReadTransport | None = None
        #: the process and its standard output
        self._left = 2
        self._is_over = asyncio.Event()
        #: whether more may be written now
        self.is_writable = False
        #: the last lines of standard error
        self.last_words: deque[str] = deque(maxlen=5)

    async def start(self, command: Sequence[str]) -> None:
        """Starts the process. Raises ChildError when the system refuses."""
        loop = asyncio.get_running_loop()
        try:
            # A pipe of our own: what comes through asyncio's pipe to a process is handed on a turn of the loop later.
            stdout, stdout_of_child = os.pipe()
            try:
                await loop.subprocess_exec(lambda: self, *command, stdout=stdout_of_child)
            except BaseException:
                os.close(stdout)
                self._lose()
                raise
            finally:
                os.close(stdout_of_child)
        except OSError as error:
            raise ChildError(f"'{command[0]}' cannot be run: {error.strerror or error}.") from error
        self._stdout, _ = await loop.connect_read_pipe(
            lambda: Lines(self._on_line, self._stdout_lost), open(stdout, "rb", 0))
        Child._alive.add(self)

    @property
    def exit_code(self) -> int | None:
        return self._transport.get_returncode() if self._transport else None

    def write(self, data: bytes) -> None:
        if self._stdin is not None:
            self._stdin.write(data)

    async def close(self, patience: float) -> None:
        """Closes its input, after which it finishes what it was told and ends; helps it after `patience` seconds.

        Returns when it has ended and all that it said was handed on.
        """
        if self._transport is None:
            return
        if self._stdin is not None:
            self._stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                await asyncio.wait_for(self._is_over.wait(), patience)
                return
            except asyncio.TimeoutError:
                if self.exit_code is None:
                    self._transport.send_signal(number)
        await self._is_over.wait()

    def kill(self) -> None:
        """Ends it at once, without waiting."""
        if self._transport is not None and self.exit_code is None:
            self._transport.kill()

    # What asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self._stdin = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(STDIN))
        # What the system does not take yet stays here, where it is known not to be written.
        self._stdin.set_write_buffer_limits(high=0)
        self.is_writable = True

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        self._on_writable()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == STDERR:
            self._hear(data)

    def _hear(self, data: bytes) -> None:
        *lines, self._stderr = (self._stderr + data).split(b"\n")
        if len(self._stderr) > STDERR_LINE:
            lines.append(self._stderr)
            self._stderr = b""
        for line in lines:
            text = line[:STDERR_LINE].decode("utf-8", "replace")
            self.last_words.append(text)
            self._on_stderr(text)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == STDIN:
            self.is_writable = False

    def _stdout_lost(self) -> None:
        asyncio.get_running_loop().call_later(LAST_WORDS, self._end)
        self._lose()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()

    def _lose(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._end()
            self._is_over.set()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self.is_writable = False
            self._on_end()

    # After a fork

    @classmethod
    def forget_all(cls) -> None:
        """In a forked process: lets go of the pipes, or the store would never see the end of its input."""
        for child in cls._alive:
            pipes = [child._transport.get_pipe_transport(fd) for fd in (STDIN, STDERR)] if child._transport else []
            for pipe in (*pipes, child._stdout):
                if pipe is not None:
                    pipe.get_extra_info("pipe").close()


os.register_at_fork(after_in_child=Child.forget_all)
