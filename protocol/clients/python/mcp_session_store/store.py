"""The store as an asyncio server uses it."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import platform
import random
import re
import signal
import traceback
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, overload

from .call_record import CallRecord, ids_of
from .calls import JOBS, Call, CallQueue
from .child import Child, arguments
from .contract import ERRORS, NULLS
from .errors import AnswerError, ChildError, CodecError, Overloaded, RequestError, StoreError
from .json_text import decode, encode, members_of, one_object
from .methods import Methods
from .policy import Restart, Retry, one_of, seconds, whole
from .program import find_binary
from .subscription import (
    MAX_QUEUED, MAX_QUEUED_BYTES, EventSubscription, FrameSubscription, Subscription, TaskSubscription,
    WorkSubscription,
)
from .unset import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from .codec import Codec
    from .contract import ArchiveResult, BackupResult, ServerInfo
    from .rotation import Rotation
    from .subscription import Gap, Greeting

__all__ = ["Restart", "Retry", "State", "Store", "encode", "sent"]

#: of the contract that this client speaks
PROTOCOL_VERSION = "1.0"
#: exit codes that another start would only repeat: usage, a file that is not ours, configuration
FINAL = frozenset({64, 65, 78})

State = Literal["closed", "starting", "ready", "restarting", "failed"]

#: what the client does itself, and a call of one's own would upset
RESERVED = {
    "subscribe_events": "subscribe_events()", "subscribe_tasks": "subscribe_tasks()",
    "subscribe_work": "subscribe_work()",
    "unsubscribe": "aclose() of the subscription", "shutdown": "close()",
}

ANSWER = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,18})\s*[,}]')
NOTIFICATION = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"method"\s*:')


class Store(Methods):
    """A store process and everything that can be asked of it.

        async with Store("sessions.db") as store:
            session = await store.create_session(principal="alice")

    It starts with `async with`, `open()` or the first call, and belongs to the event loop in which that happens, until
    it is closed. Any number of tasks may call at once: what is written together shares one commit.

    database: the file; None: where the program keeps it by default; ":memory:" for none.
    binary: the program; else $MCP_SESSION_STORE_BINARY, else `mcp-session-store` of the PATH.
    options: of the command line, `{"session_ttl": "1h", "exclusive": True}`.
    cwd: the working directory of the process.
    env: its whole environment.
    client: `name` and `version` of who calls, for the handshake.
    require: capabilities or methods that the program must have, or `open` raises ChildError, `incompatible`.
    restart: how a process that ended by itself is started again; None: calls fail from then on. With ":memory:", where
        another process would begin empty, that is the default.
    retry: how calls are repeated that the store refused for now; None: they are not.
    timeout: seconds that a call may take, backups and integrity checks apart; None: any time.
    start_timeout: seconds that the process may take to start, which with another process on the file can be long.
    max_in_flight: bytes of calls that are written and not answered; at that, further calls wait for their turn.
    max_waiting: bytes of calls that wait; beyond it calls are refused with Overloaded.
    codec: seals payloads before they are sent and opens them when they come back; None: they go as they are.
    on_state: is told each change of `state`, and the error that is the reason.
    on_call: is told of each call, once it is over, how it went; `telemetry.Telemetry()` makes spans and metrics of it.
    logger: gets the process's standard error, as warnings; where it is enabled for DEBUG, a record of each call.
    """

    _alive: weakref.WeakSet[Store] = weakref.WeakSet()

    def __init__(
        self, database: str | os.PathLike[str] | None = None, *, binary: str | os.PathLike[str] | None = None,
        options: Mapping[str, str | int | bool | None] | None = None, cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None, client: Mapping[str, str] | None = None, require: Sequence[str] = (),
        restart: Restart | None | Unset = UNSET, retry: Retry | None = Retry(),
        timeout: float | None = 30.0, start_timeout: float | None = 10.0, max_in_flight: int = 16 << 20,
        max_waiting: int = 64 << 20, codec: Codec | None = None,
        on_state: Callable[[State, ChildError | None], object] | None = None,
        on_call: Callable[[CallRecord], object] | None = None, logger: logging.Logger | None = None,
    ) -> None:
        path = None if binary is None else os.fspath(binary)
        # A path counts from where it was said, wherever the host goes meanwhile.
        self._binary = os.path.abspath(path) if path and os.sep in path else path
        self._arguments = [*arguments({"database": str(database)} if database is not None else {}),
                           *arguments(options or {}), "--watch-parent"]
        self._cwd = None if cwd is None else os.fspath(cwd)
        self._env = env
        self._client = {"name": "python", "version": platform.python_version(), **(client or {})}
        if not all(isinstance(value, str) for value in self._client.values()):
            raise TypeError(f"client: its name and version are strings, not {client!r}.")
        if isinstance(require, str) or not all(isinstance(name, str) for name in require):
            raise TypeError(f"require: a list of names is expected, not {require!r}.")
        self._require = list(require)
        if isinstance(restart, Unset):
            restart = Restart() if database is None or os.fspath(database) != ":memory:" else None
        self._policy = one_of("restart", restart, Restart)
        self._retry = one_of("retry", retry, Retry)
        self._timeout = seconds("timeout", timeout)
        self._start_timeout = seconds("start_timeout", start_timeout)
        self._logger = logger or logging.getLogger("mcp_session_store")
        self._codec = codec
        self._on_state = on_state
        self._on_call = on_call
        whole("max_in_flight", max_in_flight, 1)
        whole("max_waiting", max_waiting, 1)
        self._queue = CallQueue(max_in_flight, max_waiting, lambda: self._wake_next())
        self._child: Child | None = None
        self._last_id = 0
        self._forget(None)
        Store._alive.add(self)

    def _forget(self, closed: ChildError | None) -> None:
        """As though it had never been opened; or closed, for that reason."""
        if self._child is not None:
            self._child.abandon()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state: State = "closed"
        self._closed = closed
        self._failure: ChildError | None = None
        self._failed_at = -math.inf
        self._child = None
        #: what starts the process, now or again; gives the error with which that failed
        self._starting: asyncio.Task[ChildError | None] | None = None
        self._openers = 0
        self._closing: asyncio.Task[None] | None = None
        self._handshake_id = 0
        self._handshake: asyncio.Future[Any] | None = None
        self._starts: deque[float] = deque()
        self._subscriptions: dict[str, Subscription] = {}
        self._watchers: list[asyncio.Future[ChildError | None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._info: ServerInfo | None = None
        self._queue.clear()

    @property
    def info(self) -> ServerInfo:
        """What the process said of itself when it was started."""
        if self._info is None:
            raise ChildError("The store is not open.", reason="closed")
        return self._info

    @property
    def pid(self) -> int | None:
        """Of the process; None when there is none now."""
        return self._child.pid if self._child is not None else None

    @property
    def state(self) -> State:
        """`closed`, `starting`, `ready`, `restarting` (another process is started) or `failed` (none is)."""
        return self._state

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of calls that are written and not answered yet."""
        return self._queue.in_flight

    _load = bytes_in_flight

    @property
    def bytes_waiting(self) -> int:
        """Bytes of calls that wait to be written."""
        return self._queue.waiting

    async def ended(self) -> ChildError | None:
        """Returns when the store is over: None once it is closed, the error once it failed."""
        if self._state != "failed" and (self._state != "closed" or self._closed is None):
            watcher = asyncio.get_running_loop().create_future()
            self._watchers.append(watcher)
            await watcher
        return self._failure

    async def __aenter__(self) -> Store:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Life

    async def open(self) -> Store:
        """Starts the process and shakes hands with it, once; again, after `close()` or when it failed.

        Raises ChildError. When it is cancelled, and nobody else waits for it, no process is left behind.
        """
        while self._closing is not None and self._loop is asyncio.get_running_loop():
            await asyncio.shield(self._closing)
        self._belong_here()
        if self._state == "ready":
            return self
        is_first = self._state in ("closed", "failed")
        if is_first:
            self._closed = None
            self._begin()
        starting = self._starting
        assert starting is not None
        self._openers += 1
        try:
            error = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Whoever is cancelled here is in no block yet that would close it.
            if self._openers == 1 and not any(self._queue) and self._closing is None:
                if not starting.done() and self._state == "starting":
                    starting.cancel()
                    self._child = None
                    self._set_state("closed")
                elif is_first and self.state == "ready":
                    self._closing = self.spawn(self._close(0))
            raise
        finally:
            self._openers -= 1
        if error is not None:
            raise error.of(None, "not_applied") from error.__cause__
        return self

    def _belong_here(self) -> None:
        """A store belongs to one event loop; when that is over without having closed it, to the next one."""
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        if self._loop is not None:
            if not self._loop.is_closed():
                raise RuntimeError("A store belongs to the event loop in which it was opened: open one in each.")
            self._forget(self._closed)
        self._loop = loop

    def _begin(self) -> None:
        self._starts.clear()
        self._handshake_id = self._next_id()
        self._set_state("starting")
        self._starting = self.spawn(self._first_start())

    async def _first_start(self) -> ChildError | None:
        try:
            await self._start()
        except ChildError as error:
            self._fail(error)
            return error
        return None

    async def _start(self) -> None:
        """Raises ChildError."""
        child = Child(lambda line: self._hear(child, line), lambda: self._lost(child), self._log,
                      lambda: self._queue.pump())
        self._child = child
        handshake = self._handshake = asyncio.get_running_loop().create_future()
        try:
            binary = find_binary(self._binary)
            await child.start([binary, *self._arguments], self._cwd, self._env)
            child.write(self._line(self._handshake_id, "initialize", encode({
                "client": self._client, "protocol_version": PROTOCOL_VERSION, "require": self._require})))
            info: ServerInfo = await asyncio.wait_for(asyncio.shield(handshake), self._start_timeout)
            if self._child is not child:
                # Before Python 3.12 wait_for keeps it to itself that it was cancelled when the answer has just come.
                raise asyncio.CancelledError
        except asyncio.TimeoutError:
            raise await self._given_up(
                child, f"'{binary}' did not answer within {self._start_timeout} s of its start.",
                "not_startable") from None
        except RequestError as refused:
            raise await self._given_up(child, f"'{binary}' does not fit: {refused}", "incompatible") from refused
        except AnswerError as error:
            raise await self._given_up(child, f"'{binary}' is no mcp-session-store: {error}", "not_a_sidecar") from None
        except asyncio.CancelledError:
            child.kill()
            await child.close(0)
            raise
        finally:
            if not handshake.cancel() and not handshake.cancelled():
                handshake.exception()  # was seen
            if self._handshake is handshake:  # and not another start's, for this one was cancelled
                self._handshake = None
        theirs = str(info.get("protocol_version", PROTOCOL_VERSION))
        if theirs.split(".")[0] != PROTOCOL_VERSION.split(".")[0]:
            raise await self._given_up(
                child, f"'{binary}' does not fit: it speaks version {theirs} of the contract, this client "
                f"{PROTOCOL_VERSION}.", "incompatible")
        self._info = info
        self._set_state("ready")
        limits: Any = info.get("limits")
        limit = limits.get("max_line_bytes") if isinstance(limits, dict) else None
        self._queue.attach(child, limit if isinstance(limit, int) else math.inf)

    async def _given_up(
        self, child: Child, text: str, reason: Literal["not_startable", "incompatible", "not_a_sidecar"],
    ) -> ChildError:
        """Ends a process that is of no use."""
        child.kill()
        await child.close(0)
        said = f" It said: {child.last_words[-1]}" if child.last_words else ""
        return ChildError(text + said, reason=reason)

    async def close(self, patience: float = 5.0) -> None:
        """Ends the process once it has done and answered what was asked; calls after this raise ChildError.

        Never raises, and may be called again. When it is cancelled, it goes on by itself.

        patience: seconds until the process is told to stop; it is killed a second later.
        """
        if self._loop is None or self._loop.is_closed() or self._state == "closed":
            self.never_open()
            return
        self._belong_here()
        if self._closing is None:
            self._closing = self.spawn(self._close(patience))
        await asyncio.shield(self._closing)

    def never_open(self) -> None:
        """What `close` does where nothing is open: calls do not start anything from now on."""
        self._forget(self._closed or ChildError("The store is closed.", reason="closed"))

    @property
    def refusal(self) -> ChildError | None:
        """What every call raises, as the store is closed; None: it is not."""
        return self._closed

    async def _close(self, patience: float) -> None:
        deadline = asyncio.get_running_loop().time() + patience

        def left() -> float:
            return max(0.0, deadline - asyncio.get_running_loop().time())

        self._closed = ChildError("The store is closed.", reason="closed")
        try:
            for subscription in list(self._subscriptions.values()):
                subscription.finish("closed")
            if self._starting is not None and not self._starting.done():
                if self._state == "starting":
                    await asyncio.wait([self._starting], timeout=patience)
                self._starting.cancel()  # a restart is not waited for
                await asyncio.wait([self._starting])
            if self._state == "ready":
                await asyncio.wait([asyncio.ensure_future(self._queue.emptied())], timeout=left())
            if self._child is not None:
                await self._child.close(left())
        except asyncio.CancelledError:
            if self._child is not None:
                self._child.kill()
            raise
        finally:
            self._queue.detach(self._closed, keep=False)
            self._queue.stop_watching()
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
            self._child = None
            self._failure = None
            self._closing = None
            self._loop = None
            self._set_state("closed")

    def _set_state(self, state: State, error: ChildError | None = None) -> None:
        if state == self._state:
            return
        self._state = state
        if state in ("closed", "failed"):
            watchers, self._watchers = self._watchers, []
            for watcher in watchers:
                if not watcher.done():
                    watcher.set_result(error)
        if self._on_state is not None:
            self.tell(self._on_state, state, error)

    def tell(self, callback: Callable[..., object], *told: object) -> None:
        """Calls back: what a callback raises is its own business."""
        try:
            callback(*told)
        except Exception:
            self._log("A callback of the store's caller failed:\n" + traceback.format_exc(), logging.ERROR)

    def _log(self, text: str, level: int = logging.WARNING) -> None:
        try:
            self._logger.log(level, "%s", text)
        except Exception:  # a handler that fails is no reason for a store to
            pass

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs something beside the calls, for subscriptions."""
        # Not by the loop's factory: an eager one runs it before whoever spawns it knows of it.
        task = asyncio.Task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Calls

    async def call(
        self, method: str, params: Mapping[str, Any] | str | None = None, *, timeout: float | None | Unset = UNSET,
        on_result: Callable[[Any], None] | None = None, on_progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """Calls a method by its name on the wire.

        A call that is cancelled before it is written is never made; later, only its answer is thrown away.
        Raises RequestError, ChildError, CallTimeout, RequestTooLarge, Overloaded, AnswerError.

        params: those that are not UNSET are sent, and None where it is a value and not another word for leaving out;
            or all of them as the text of a JSON object.
        timeout: seconds, all waiting included; None: any time; left out: the store's.
        on_result: is handed the result before anything that the store tells after it.
        on_progress: is handed what is done, and the total.
        """
        if method in RESERVED:
            raise ValueError(f"{method} cannot be called by its name: use {RESERVED[method]}.")
        if self._on_call is not None or self._logger.isEnabledFor(logging.DEBUG):
            return await self._observed(method, params, timeout, on_result, on_progress)
        # Not in a coroutine of its own, which each of very many answers would pass through.
        call = self._made(method, params, timeout, on_result, on_progress)
        self._queue.add(call)
        try:
            return await call.future
        except RequestError as error:
            refused = error
        finally:
            if not call.is_written:
                self._queue.drop(call)
        return await self._repeated(call, refused)

    async def request(
        self, method: str, params: Mapping[str, Any] | str | None, timeout: float | None | Unset,
        on_result: Callable[[Any], None] | None = None,
    ) -> Any:
        """A call, whatever the method, that no codec touches."""
        if self._on_call is not None or self._logger.isEnabledFor(logging.DEBUG):
            return await self._observed(method, params, timeout, on_result, None, is_raw=True)
        return await self._answered(self._made(method, params, timeout, on_result, None, is_raw=True))

    async def _observed(
        self, method: str, params: Mapping[str, Any] | str | None, timeout: float | None | Unset,
        on_result: Callable[[Any], None] | None, on_progress: Callable[[int, int], None] | None,
        *, is_raw: bool = False,
    ) -> Any:
        """A call of which somebody wants to know how it went."""
        record = CallRecord(method, *ids_of(params))
        call: Call | None = None
        try:
            call = self._made(method, params, timeout, on_result, on_progress, is_raw=is_raw)
            result = await self._answered(call)
            record.end(None, "ok")
            return result
        except StoreError as error:
            record.end(error, error.outcome)
            raise
        except BaseException as error:
            record.end(error, "not_applied" if call is None else call.outcome)
            raise
        finally:
            self._log(str(record), logging.DEBUG)
            if self._on_call is not None:
                self.tell(self._on_call, record)

    async def _answered(self, call: Call) -> Any:
        """The result of a call, which is made again where that is due."""
        self._queue.add(call)
        try:
            return await call.future
        except RequestError as error:
            refused = error
        finally:
            if not call.is_written:
                self._queue.drop(call)
        return await self._repeated(call, refused)

    async def _repeated(self, call: Call, refused: RequestError) -> Any:
        """The result of a call that was refused, from another attempt."""
        repeated = 0
        while True:
            pause = self._pause(call, refused, repeated)
            if pause is None:
                raise refused
            await self._sleep(call, pause)
            repeated += 1
            try:
                self._admit(call.method)
                self._queue.add(call)
            except (Overloaded, ChildError):
                raise refused from None
            try:
                return await call.future
            except RequestError as error:
                refused = error
            finally:
                if not call.is_written:
                    self._queue.drop(call)

    def _made(
        self, method: str, params: Mapping[str, Any] | str | None, timeout: float | None | Unset,
        on_result: Callable[[Any], None] | None = None, on_progress: Callable[[int, int], None] | None = None,
        *, is_raw: bool = False,
    ) -> Call:
        if isinstance(timeout, Unset):
            timeout = None if method in JOBS else self._timeout
        elif timeout is not None:
            seconds("timeout", timeout)
        opens = None
        if self._codec is not None and not is_raw:
            text, opens = self._sealed(self._codec, method, params)
        else:
            text = one_object(params) if isinstance(params, str) else encode(given(method, params or {}))
        if method not in NULLS:
            method = encode(method)[1:-1]  # another program's, with who knows what in it
        if self._closed is not None or self._state != "ready":
            self._admit(method)
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._admit(method)
        self._last_id = number = self._last_id + 1
        call = Call(number, method, self._line(number, method, text), loop.create_future(), timeout, on_result,
                    on_progress)
        call.opens = opens
        if timeout is not None:
            call.deadline = loop.time() + timeout
        return call

    def _sealed(
        self, codec: Codec, method: str, params: Mapping[str, Any] | str | None,
    ) -> tuple[str, Callable[[Any], Any] | None]:
        """The parameters as they are sent, and what opens the result."""
        members = members_of(params) if isinstance(params, str) else given(method, params or {})
        try:
            sealed, opens = codec.sealed(method, members)
        except CodecError as error:
            error.method = method
            raise
        return encode(sealed), opens

    @property
    def has_codec(self) -> bool:
        """Whether payloads are sealed here."""
        return self._codec is not None

    def opened(self, kind: Literal["Event", "Task"], record: Any, around: Mapping[str, Any]) -> Any:
        """What a subscription was told, for who reads it. Raises CodecError."""
        return record if self._codec is None else self._codec.told(kind, record, around)

    def _admit(self, method: str) -> None:
        """Raises ChildError when there is no process and none to come; starts one where that is due."""
        if self._closed is not None:
            raise self._closed.of(method, "not_applied")
        if self._state == "ready" and asyncio.get_running_loop() is self._loop:
            return
        self._belong_here()
        if self._state == "failed":
            assert self._failure is not None and self._loop is not None
            pause = self._policy.pause if self._policy is not None else None
            if pause is None or self._loop.time() < self._failed_at + pause:
                raise self._failure.of(method, "not_applied")
            self._begin()
        elif self._state == "closed":
            self._begin()

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    @staticmethod
    def _line(number: int, method: str, params: str) -> bytes:
        line = f'{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":{params}}}\n'
        # Half a surrogate pair, which UTF-8 cannot spell, becomes an escape of JSON.
        return line.encode("utf-8", "backslashreplace")

    def _pause(self, call: Call, error: RequestError, repeated: int) -> float | None:
        """How long to wait before the call is made again; None: it is not."""
        policy = self._retry
        if policy is None or not error.retryable or error.outcome != "not_applied" or repeated >= policy.attempts:
            return None
        pause = random.uniform(0, min(policy.max_delay, policy.delay * 2**repeated))
        # Where the store says when it may succeed, sooner is in vain; what takes long is for the caller to wait for.
        wait = error.data.get("retry_after")
        if isinstance(wait, int):
            if wait / 1_000 > policy.max_delay:
                return None
            pause = max(pause, wait / 1_000)
        if self._closed is not None or asyncio.get_running_loop().time() + pause >= call.deadline:
            return None
        return pause

    async def _sleep(self, call: Call, pause: float) -> None:
        """It keeps its bytes meanwhile, which count."""
        call.future = asyncio.get_running_loop().create_future()
        call.is_written = False
        self._queue.waiting += len(call.line)
        try:
            await asyncio.sleep(pause)
        finally:
            self._queue.waiting -= len(call.line)

    def _wake_next(self) -> None:
        """There is room: lets in who waits."""
        self._queue.pump()

    # What comes in

    def _hear(self, child: Child, line: bytes) -> None:
        if child is not self._child:
            return
        try:
            message = decode(line)
            kind = message.get("method")
            if kind is None:
                self._answer(message["id"], message, line)
                return
        except ValueError as error:
            self._unreadable(line, f"{error}: {line[:100]!r}")
            return
        except (KeyError, TypeError, AttributeError):
            self._unreadable(line, f"no message of JSON-RPC: {line[:100]!r}")
            return
        except Exception as error:  # whatever one line does, the next one is heard
            self._unreadable(line, f"{error!r}: {line[:100]!r}")
            return
        try:
            self._tell(kind, message["params"], len(line))
        except Exception:
            self._log(f"The store's process told what is not understood: {line[:200]!r}", logging.INFO)

    def _answer(self, number: Any, message: dict[str, Any], line: bytes) -> None:
        if number == self._handshake_id and self._handshake is not None:
            if not self._handshake.done():
                if "error" in message:
                    self._handshake.set_exception(error_of("initialize", message["error"]))
                else:
                    message["result"].get("limits")
                    self._handshake.set_result(message["result"])
            return
        if number is None:
            # It could not read a line: 128 levels are its limit.
            number = self._queue.oldest
        call = self._queue.get(number)
        if call is None:
            self._log(f"The store answered what nobody waits for: {line[:200]!r}", logging.INFO)
            return
        if "error" in message:
            error = error_of(call.method, message["error"])
            if error.kind == "shutting_down" and self._policy is not None and self._closed is None:
                self._queue.refuse(call)
                return
            self._queue.take(number)
            if not call.future.done():
                call.future.set_exception(error)
            return
        result = message["result"]
        if call.on_result is not None:
            call.on_result(result)
        self._queue.take(number)
        if call.future.done():
            return
        if call.opens is not None:
            try:
                result = call.opens(result)
            except CodecError as unreadable:
                unreadable.method, unreadable.outcome = call.method, call.outcome
                call.future.set_exception(unreadable)
                return
            except Exception as error:  # an answer that is none of the contract's
                call.future.set_exception(AnswerError(call.method, repr(error), call.outcome))
                return
        call.future.set_result(result)

    def _unreadable(self, line: bytes, why: str) -> None:
        """Fails the call that the line was to answer, and no other."""
        self._log(f"The store's process said what cannot be read: {why}", logging.ERROR)
        if self._handshake is not None:
            if not self._handshake.done():
                self._handshake.set_exception(AnswerError("initialize", why, "not_applied"))
            return
        if NOTIFICATION.match(line):
            return
        found = ANSWER.match(line)
        number = int(found[1]) if found else self._queue.oldest
        call = self._queue.take(number) if number is not None else None
        if call is not None and not call.future.done():
            call.future.set_exception(AnswerError(call.method, why, call.outcome))

    def _tell(self, kind: str, params: dict[str, Any], size: int) -> None:
        if kind == "progress":
            call = self._queue.get(params["id"])
            if call is not None and call.on_progress is not None:
                self.tell(call.on_progress, params["done"], params["total"])
            return
        subscription = self._subscriptions.get(params.get("subscription_id", ""))
        if subscription is not None:
            subscription.hear(kind, params, size)

    # The end of the process

    def _lost(self, child: Child) -> None:
        if child is not self._child:
            return
        self._child = None
        error = lost(child)
        if self._handshake is not None:
            if not self._handshake.done():
                self._handshake.set_exception(error)
            return
        again = self._policy is not None and self._closed is None and error.exit_code not in FINAL
        self._queue.detach(error, keep=again)
        subscriptions, self._subscriptions = list(self._subscriptions.values()), {}
        for subscription in subscriptions:
            subscription.lose_child()
        if self._closed is not None:
            return  # `_close` goes on
        if again:
            self._set_state("restarting", error)
            self._starting = self.spawn(self._restart(error, subscriptions))
        else:
            self._fail(error, subscriptions)

    async def _restart(self, error: ChildError, subscriptions: list[Subscription]) -> ChildError | None:
        assert self._policy is not None
        loop = asyncio.get_running_loop()
        delay = self._policy.delay
        try:
            while True:
                while self._starts and self._starts[0] < loop.time() - self._policy.within:
                    self._starts.popleft()
                count = len(self._starts)
                if count >= self._policy.attempts:
                    error = gave_up(error, count, self._policy.within)
                    break
                self._starts.append(loop.time())
                self._log(f"{error} Starting it again.")
                await asyncio.sleep(delay * random.uniform(0.5, 1))
                delay = min(delay * 2, self._policy.max_delay)
                self._handshake_id = self._next_id()
                try:
                    await self._start()
                except ChildError as failed:
                    error = failed
                    if failed.exit_code in FINAL or failed.reason == "incompatible":
                        break
                    continue
                for subscription in subscriptions:
                    self.spawn(subscription.attach_again())
                return None
        except asyncio.CancelledError:
            for subscription in subscriptions:
                subscription.finish("closed")
            raise
        self._fail(error, subscriptions)
        return error

    def _fail(self, error: ChildError, subscriptions: Sequence[Subscription] = ()) -> None:
        """Nothing will be answered any more, until it is opened again."""
        self._failure = error
        self._failed_at = asyncio.get_running_loop().time()
        self._child = None
        self._queue.detach(error, keep=False)
        for subscription in subscriptions:
            subscription.fail(error)
        self._set_state("failed", error)

    # What comes with notifications

    @overload
    async def subscribe_events(
        self, session_id: str, *, after_event_id: int | None = None, stream_id: str | None = None,
        format: Literal["json"] | None = None, heartbeat: int | None = None, init: bool | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        on_gap: Callable[[Gap], object] | None = None, on_init: Callable[[Greeting], object] | None = None,
        on_heartbeat: Callable[[int], object] | None = None, max_queued: int = MAX_QUEUED,
        max_queued_bytes: int = MAX_QUEUED_BYTES, timeout: float | None | Unset = UNSET,
    ) -> EventSubscription: ...

    @overload
    async def subscribe_events(
        self, session_id: str, *, after_event_id: int | None = None, stream_id: str | None = None,
        format: Literal["sse", "sse_typed"], heartbeat: int | None = None, init: bool | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        on_gap: Callable[[Gap], object] | None = None, on_init: Callable[[Greeting], object] | None = None,
        on_heartbeat: Callable[[int], object] | None = None, max_queued: int = MAX_QUEUED,
        max_queued_bytes: int = MAX_QUEUED_BYTES, timeout: float | None | Unset = UNSET,
    ) -> FrameSubscription: ...

    async def subscribe_events(
        self, session_id: str, *, after_event_id: int | None = None, stream_id: str | None = None,
        format: Literal["json", "sse", "sse_typed"] | None = None, heartbeat: int | None = None,
        init: bool | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        on_gap: Callable[[Gap], object] | None = None, on_init: Callable[[Greeting], object] | None = None,
        on_heartbeat: Callable[[int], object] | None = None, max_queued: int = MAX_QUEUED,
        max_queued_bytes: int = MAX_QUEUED_BYTES, timeout: float | None | Unset = UNSET,
    ) -> EventSubscription:
        """Sends the session's events, the backlog after the cursor first, then live.

            async with await store.subscribe_events(session_id, after_event_id=0) as events:
                async for event in events:

        after_event_id: The last id that was seen; from now on when None.
        stream_id: Only events of this stream.
        format: With `sse` or `sse_typed` each item is the text to write to an SSE response, gaps included.
        heartbeat: Milliseconds between two signs of life; none when None.
        init: Whether `on_init` is told first, each time that it is opened.
        on_gap: is told, between the events, of what no longer existed when its turn came.
        on_init: is told what it follows, whose that is, and the store's time.
        on_heartbeat: is told the store's time, Unix milliseconds.
        max_queued: events that wait for a slow reader; behind them it goes on once it has taken them.
        max_queued_bytes: the same in bytes.
        """
        kind = EventSubscription if format in (None, "json") else FrameSubscription
        subscription = kind(self, {
            "session_id": session_id, "after_event_id": after_event_id, "stream_id": stream_id, "format": format,
            "heartbeat": heartbeat, "init": init, "tenant_id": tenant_id, "principal": principal,
        }, max_queued, max_queued_bytes, on_gap, on_init, on_heartbeat)
        await subscription.attach(timeout)
        return subscription

    async def subscribe_tasks(
        self, *, task_id: str | None = None, session_id: str | None = None, heartbeat: int | None = None,
        init: bool | None = None, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        on_init: Callable[[Greeting], object] | None = None, on_heartbeat: Callable[[int], object] | None = None,
        max_queued: int = MAX_QUEUED, max_queued_bytes: int = MAX_QUEUED_BYTES,
        timeout: float | None | Unset = UNSET,
    ) -> TaskSubscription:
        """Tells a task, or all tasks of a session, as they are and then whenever they change."""
        subscription = TaskSubscription(self, {
            "task_id": task_id, "session_id": session_id, "heartbeat": heartbeat, "init": init, "tenant_id": tenant_id,
            "principal": principal,
        }, max_queued, max_queued_bytes, on_init, on_heartbeat)
        await subscription.attach(timeout)
        return subscription

    async def subscribe_work(
        self, queue: str, *, per_group: int | None = None, heartbeat: int | None = None, init: bool | None = None,
        on_init: Callable[[Greeting], object] | None = None, on_heartbeat: Callable[[int], object] | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> WorkSubscription:
        """Tells when work of a queue may be there to be claimed.

            async with await store.subscribe_work("mail") as due:
                async for queue in due:

        per_group: As the one with which it is claimed.
        heartbeat: Milliseconds between two signs of life; none when None.
        init: Whether `on_init` is told first, each time that it is opened.
        """
        subscription = WorkSubscription(
            self, {"queue": queue, "per_group": per_group, "heartbeat": heartbeat, "init": init}, on_init, on_heartbeat)
        await subscription.attach(timeout)
        return subscription

    async def backup(
        self, path: str | os.PathLike[str], *, on_progress: Callable[[int, int], None] | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> BackupResult:
        """Copies the database as it is at one moment to a new file; nothing is ever overwritten.

        path: Where there is no file yet; relative to the process's working directory.
        on_progress: is handed pages that are done, and the total.
        """
        result: BackupResult = await self.call("backup", {"path": str(path)}, timeout=timeout, on_progress=on_progress)
        return result

    async def archive(
        self, path: str | os.PathLike[str], *, ended_before: int, on_progress: Callable[[int, int], None] | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> ArchiveResult:
        """Moves sessions that have ended to a compressed file, and deletes them when they are on disk there.

        path: Made when missing, else appended to; relative to the process's working directory.
        ended_before: Unix milliseconds.
        on_progress: is handed sessions that are done, and the total.
        """
        result: ArchiveResult = await self.call(
            "archive", {"path": str(path), "ended_before": ended_before}, timeout=timeout, on_progress=on_progress)
        return result

    async def rotate(
        self, codec: Codec | None = None, *, cursor: str | None = None,
        on_page: Callable[[Rotation], object] | None = None, rounds: int = 10,
    ) -> Rotation:
        """Seals with the key that the codec writes with what is under another or under none; a codec without keys
        compresses what it would. Gives what the last round found.

        It may be stopped and begun again at any time, with the `cursor` that it told last or without one: what is done
        is done. Others may read and write meanwhile: a payload that they change first is theirs, and is looked at again
        in another round. Let all who write have the new key before, or what they write comes under the old one again.

        codec: has all keys that payloads may be under; the store's own when None.
        on_page: is told after each page.
        rounds: how often to begin anew, at most, when something was changed meanwhile.
        """
        from .rotation import rotate  # which few need

        if codec is None and self._codec is None:
            raise ValueError("rotate: the store has no codec; say which one seals.")
        return await rotate(self, codec or self._codec, cursor, on_page, rounds)

    def route(self, subscription_id: str, subscription: Subscription) -> None:
        """Sends a subscription's notifications there."""
        self._subscriptions[subscription_id] = subscription

    def unroute(self, subscription_id: str) -> None:
        """Ends that."""
        self._subscriptions.pop(subscription_id, None)

    async def unsubscribe(self, subscription_id: str) -> None:
        """Ends a subscription of the present process; of another one, which counts from one again, never."""
        try:
            call = self._made("unsubscribe", {"subscription_id": subscription_id}, None)
            call.is_perishable = True
            self._queue.add(call)
            await call.future
        except StoreError:
            pass  # the process is gone, and its subscriptions with it

    # After a fork

    @classmethod
    def _forget_all(cls) -> None:
        for store in list(cls._alive):
            if store._loop is not None:
                store._forget(ChildError(
                    "The store belongs to the process that this one was forked from: open one after the fork.",
                    reason="forked"))


os.register_at_fork(after_in_child=Store._forget_all)


def sent(params: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not left out."""
    return {name: value for name, value in params.items() if value is not UNSET}


def given(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not left out. None is one way to leave out a parameter, but where it is a value."""
    nulls = NULLS.get(method)
    if nulls is None:
        return sent(params)
    return {name: value for name, value in params.items()
            if value is not UNSET and (value is not None or name in nulls)}


def error_of(method: str, error: dict[str, Any]) -> RequestError:
    data = error.get("data")
    kind = data.get("kind", "") if isinstance(data, dict) else ""
    return ERRORS.get(kind, RequestError)(method, error)


def lost(child: Child) -> ChildError:
    """What became of a process."""
    code = child.exit_code
    name = None
    how = "is gone"
    if code is not None:
        how = f"ended with {code}"
        if code < 0:
            name = signal_name(-code)
            how = f"was killed by signal {-code} ({name})"
    said = ": " + " | ".join(child.last_words) if child.last_words else "."
    fault = f" {child.fault}" if child.fault else ""
    return ChildError(
        f"The store's process {how}{said}{fault}", reason="exited",
        exit_code=code if code is not None and code >= 0 else None, signal=name)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def gave_up(error: ChildError, count: int, within: float) -> ChildError:
    return ChildError(
        f"The store's process ended {count + 1} times within {within:g} s, and is left alone for now. The last time: "
        f"{error}", reason="gave_up", exit_code=error.exit_code, signal=error.signal)
