"""The store as an asyncio server uses it."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .child import Child
from .contract import ERRORS, REPEATABLE
from .errors import CallTimeout, ChildError, RequestError, RequestTooLarge, StoreError
from .methods import Methods
from .program import find_binary
from .subscription import EventSubscription, Subscription, TaskSubscription
from .unset import UNSET, Unset

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from .contract import BackupResult, ServerInfo
    from .errors import Outcome

#: of the contract that this client speaks
PROTOCOL_VERSION = "1.0"
#: bytes that are handed to the system at once
CHUNK = 65_536
#: answered when they are done, however long that takes
JOBS = frozenset({"backup", "check_integrity"})
#: exit codes that another start would only repeat: usage, a file that is not ours, configuration
FINAL = frozenset({64, 65, 78})

encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class Restart:
    """How a process that ended by itself is started again.

    Reads, and calls that were not written yet, are sent to the new one; every other call that was on its way fails with
    the outcome `unknown`. Subscriptions go on behind what they told last.
    """

    #: starts within `within` seconds after which it gives up
    attempts: int = 5
    within: float = 60.0
    #: seconds before the first start; doubles with each one that fails, and varies by half
    delay: float = 0.05
    max_delay: float = 5.0


class _Call:
    __slots__ = ("deadline", "future", "id", "is_sent", "line", "method", "on_progress", "on_result", "timeout")

    def __init__(
        self, number: int, method: str, line: bytes, future: asyncio.Future[Any],
        on_result: Callable[[Any], None] | None, on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self.id = number
        self.method = method
        self.line = line
        self.future = future
        self.on_result = on_result
        self.on_progress = on_progress
        self.is_sent = False
        self.timeout: float | None = None
        self.deadline = math.inf

    @property
    def is_repeatable(self) -> bool:
        return not self.is_sent or self.method in REPEATABLE

    @property
    def outcome(self) -> Outcome:
        return "not_applied" if self.is_repeatable else "unknown"


class Store(Methods):
    """A store process and everything that can be asked of it.

        async with Store("sessions.db") as store:
            session = await store.create_session(principal="alice")

    It starts with `async with`, `open()` or the first call, and belongs to the event loop in which that happens. Any
    number of tasks may call at once: what is written together shares one commit.

    database: the file; None: where the program keeps it by default; ":memory:" for none.
    binary: the program; else $MCP_SESSION_STORE_BINARY, else `mcp-session-store` of the PATH.
    options: of the command line, `{"session_ttl": "1h", "exclusive": True}`.
    require: capabilities or methods that the program must have, or `open` raises RequirementFailed.
    restart: whether a process that ended by itself is started again; None: calls fail from then on.
    timeout: seconds that an answer may take, backups and integrity checks apart; None: any time.
    start_timeout: seconds that the process may take to start, which with another process on the file can be long.
    max_in_flight: bytes of calls without an answer; at that, further calls wait for their turn.
    """

    def __init__(
        self, database: str | os.PathLike[str] | None = None, *, binary: str | os.PathLike[str] | None = None,
        options: Mapping[str, str | int | bool] | None = None, require: Sequence[str] = (),
        restart: Restart | None = None, timeout: float | None = 30.0, start_timeout: float = 10.0,
        max_in_flight: int = 16 << 20, logger: logging.Logger | None = None,
    ) -> None:
        self._binary = binary
        self._arguments = [*arguments({"database": str(database)} if database is not None else {}),
                           *arguments(options or {}), "--watch-parent"]
        self._require = list(require)
        self._policy = restart
        self._timeout = timeout
        self._start_timeout = start_timeout
        self._max_load = max_in_flight
        self._logger = logger or logging.getLogger("mcp_session_store")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Future[Store] | None = None
        self._child: Child | None = None
        self._is_ready = False
        self._is_closed = False
        self._failure: ChildError | None = None
        self._starts: deque[float] = deque()
        self._last_id = 0
        #: not written yet
        self._queue: deque[_Call] = deque()
        #: written, not answered
        self._calls: dict[int, _Call] = {}
        #: bytes of both
        self._load = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_ticking = False
        self._subscriptions: dict[str, Subscription] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._max_line = 0
        self._info: ServerInfo | None = None

    @property
    def info(self) -> ServerInfo:
        """What the process said of itself when it was started."""
        if self._info is None:
            raise ChildError("The store is not open.")
        return self._info

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of calls that are not answered yet."""
        return self._load

    async def __aenter__(self) -> Store:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Life

    async def open(self) -> Store:
        """Starts the process and shakes hands with it, once. Raises ChildError, or RequirementFailed."""
        if self._opening is None:
            self._loop = asyncio.get_running_loop()
            self._opening = self.spawn(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Store:
        try:
            await self._start()
        except StoreError as error:
            self._failure = error if isinstance(error, ChildError) else ChildError(str(error))
            raise
        return self

    async def _start(self) -> None:
        child = Child(self._hear, lambda: self._end(child), self._logger.warning, self._pump)
        self._child = child
        await child.start([find_binary(self._binary), *self._arguments])
        shaking = self._call("initialize", {
            "client": {"name": "mcp-session-store-python"}, "protocol_version": PROTOCOL_VERSION,
            "require": self._require,
        })
        self._send(child, [shaking])
        try:
            info: ServerInfo = await asyncio.wait_for(shaking.future, self._start_timeout)
        except asyncio.TimeoutError:
            child.kill()
            await child.close(1.0)
            raise ChildError(f"The store did not answer within {self._start_timeout} s of its start.") from None
        except RequestError:
            await child.close(1.0)
            raise
        self._info = info
        self._max_line = info["limits"]["max_line_bytes"]
        self._is_ready = True
        self._pump()

    async def close(self, patience: float = 5.0) -> None:
        """Ends the process once it has done and answered what was asked; calls after this raise ChildError.

        patience: seconds until it is told to stop, and as many more until it is killed.
        """
        self._is_closed = True
        if self._opening is None:
            return
        if self._info is not None:
            self._opening.cancel()  # a restart
        await asyncio.wait([self._opening])
        deadline = asyncio.get_running_loop().time() + patience
        while self._queue and self._is_ready and asyncio.get_running_loop().time() < deadline:
            await asyncio.wait([call.future for call in self._queue], timeout=patience, return_when="FIRST_COMPLETED")
        if self._child is not None:
            await self._child.close(patience)
        self._fail_all(ChildError("The store is closed."))
        if self._alarm is not None:
            self._alarm.cancel()
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs something beside the calls, for subscriptions."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Calls

    async def call(
        self, method: str, params: Mapping[str, Any] | str | None = None, *, timeout: float | None = None,
        on_result: Callable[[Any], None] | None = None, on_progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """Calls a method by its name on the wire.

        A call that is cancelled before it is written is never made; later, only its answer is thrown away.
        Raises RequestError, ChildError, CallTimeout, RequestTooLarge.

        params: those that are not UNSET are sent; or all of them as JSON on one line, which is sent as it is.
        on_result: is handed the result before anything that the store tells after it.
        on_progress: is handed what is done, and the total.
        """
        if self._info is None and not self._is_closed and self._failure is None:
            await self.open()
        if self._failure is not None and not self._is_closed:
            raise ChildError(str(self._failure), exit_code=self._failure.exit_code)
        if self._is_closed:
            raise ChildError("The store is closed.")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise RuntimeError("A store belongs to the event loop in which it was opened: open one in each.")
        if timeout is None and method not in JOBS:
            timeout = self._timeout
        if self._load >= self._max_load or self._waiting:
            await self._wait_for_room(method, timeout)
        call = self._call(method, params, on_result, on_progress)
        if len(call.line) > self._max_line > 0:
            raise RequestTooLarge(
                f"The call of {method} has {len(call.line)} bytes, the store takes {self._max_line} (max_line_bytes).")
        self._queue.append(call)
        self._load += len(call.line)
        self._wake_next()
        self._tick()
        if timeout is not None:
            call.timeout, call.deadline = timeout, loop.time() + timeout
            self._watch(call.deadline)
        try:
            return await call.future
        finally:
            if not call.is_sent and call.line:
                self._drop(call)

    def _call(
        self, method: str, params: Mapping[str, Any] | str | None, on_result: Callable[[Any], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> _Call:
        self._last_id += 1
        if not isinstance(params, str):
            params = encode(sent(params or {}))
        line = f'{{"jsonrpc":"2.0","id":{self._last_id},"method":{encode(method)},"params":{params}}}\n'
        future = asyncio.get_running_loop().create_future()
        # Half a surrogate pair, which UTF-8 cannot spell, becomes an escape of JSON.
        return _Call(self._last_id, method, line.encode("utf-8", "backslashreplace"), future, on_result, on_progress)

    async def _wait_for_room(self, method: str, timeout: float | None) -> None:
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(room)
        try:
            await asyncio.wait_for(room, timeout)
        except asyncio.TimeoutError:
            raise CallTimeout(f"{method} found no room beside other calls in {timeout} s.", "not_applied") from None
        finally:
            if room.cancelled():
                self._wake_next()

    def _wake_next(self) -> None:
        """Lets one more call in; it lets the next one in."""
        while self._waiting and self._load < self._max_load:
            room = self._waiting.popleft()
            if not room.done():
                room.set_result(None)
                return

    def _watch(self, deadline: float) -> None:
        """One alarm for all calls, at the earliest deadline: a timer for each would cost a tenth of the call."""
        if self._alarm is None or deadline < self._alarm.when():
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = asyncio.get_running_loop().call_at(deadline, self._expire)

    def _expire(self) -> None:
        """Ends calls whose time is over, and sets the alarm for the next one."""
        self._alarm = None
        now = asyncio.get_running_loop().time()
        left = [call for call in [*self._calls.values(), *self._queue] if not call.future.done()]
        for call in left:
            if call.deadline <= now:
                message = f"{call.method} had no answer after {call.timeout} s."
                call.future.set_exception(CallTimeout(message, call.outcome))
        deadline = min((call.deadline for call in left if call.deadline > now), default=math.inf)
        if deadline < math.inf:
            self._watch(deadline)

    def _drop(self, call: _Call) -> None:
        """Forgets a call that was not written, and will not be."""
        self._load -= len(call.line)
        call.line = b""
        self._wake_next()

    # The pipe

    def _tick(self) -> None:
        """Writes at once what comes alone, and in one piece what comes beside others in one turn of the event loop."""
        if not self._calls:
            self._pump()
        elif not self._is_ticking:
            self._is_ticking = True
            asyncio.get_running_loop().call_soon(self._tock)

    def _tock(self) -> None:
        self._is_ticking = False
        self._pump()

    def _pump(self) -> None:
        """Writes what is waiting as long as the system takes it."""
        child = self._child
        while self._queue and self._is_ready and child is not None and child.is_writable:
            calls, size = [], 0
            while self._queue and size < CHUNK:
                call = self._queue.popleft()
                if call.line and not call.future.done():
                    calls.append(call)
                    size += len(call.line)
            if calls:
                self._send(child, calls)

    def _send(self, child: Child, calls: list[_Call]) -> None:
        for call in calls:
            call.is_sent = True
            self._calls[call.id] = call
        child.write(b"".join([call.line for call in calls]))

    def _hear(self, line: bytes) -> None:
        try:
            message = json.loads(line.decode())
        except ValueError:
            self._logger.error("The store's process said what is no JSON: %s", line[:200])
            if self._child is not None:
                self._child.last_words.append(repr(line[:200]))
                self._child.kill()
            return
        if "method" in message:
            self._tell(message["method"], message["params"])
            return
        number = message["id"]
        if number is None:
            # It could not read a line: 128 levels are its limit. Answers come in the order of the calls, jobs apart.
            number = next((call.id for call in self._calls.values() if call.method not in JOBS), None)
        call = self._calls.pop(number, None)
        if call is None:
            self._logger.error("The store answered what was not asked: %s", line[:200])
            return
        self._release(call)
        if "error" in message:
            error = message["error"]
            if not call.future.done():
                kind = (error.get("data") or {}).get("kind", "")
                call.future.set_exception(ERRORS.get(kind, RequestError)(call.method, error))
            return
        if call.on_result is not None:
            call.on_result(message["result"])
        if not call.future.done():
            call.future.set_result(message["result"])

    def _tell(self, kind: str, params: dict[str, Any]) -> None:
        if kind == "progress":
            call = self._calls.get(params["id"])
            if call is not None and call.on_progress is not None:
                call.on_progress(params["done"], params["total"])
            return
        subscription = self._subscriptions.get(params["subscription_id"])
        if subscription is not None:
            subscription.hear(kind, params)

    def _release(self, call: _Call) -> None:
        if call.method != "initialize":
            self._load -= len(call.line)
            self._wake_next()

    # The end of the process

    def _end(self, child: Child) -> None:
        self._is_ready = False
        code = child.exit_code
        error = ChildError(ended(code, child), exit_code=code)
        sent, self._calls = list(self._calls.values()), {}
        again = self._policy is not None and self._info is not None and not self._is_closed and code not in FINAL
        for call in reversed(sent):
            if again and call.is_repeatable and call.method != "initialize" and not call.future.done():
                call.is_sent = False
                self._queue.appendleft(call)
                continue
            self._release(call)
            if not call.future.done():
                call.future.set_exception(ChildError(str(error), call.outcome, exit_code=code))
        for subscription in self._subscriptions.values():
            subscription.lose_child()
        if not again:
            self._fail_all(error)
        elif self._opening is None or self._opening.done():
            self._opening = self.spawn(self._restart(error))

    async def _restart(self, error: ChildError) -> Store:
        assert self._policy is not None
        loop = asyncio.get_running_loop()
        delay = self._policy.delay
        while True:
            while self._starts and self._starts[0] < loop.time() - self._policy.within:
                self._starts.popleft()
            if len(self._starts) >= self._policy.attempts or error.exit_code in FINAL:
                self._fail_all(error)
                return self
            self._starts.append(loop.time())
            self._logger.warning("%s Starting it again.", error)
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 2, self._policy.max_delay)
            try:
                await self._start()
                break
            except ChildError as failed:
                error = failed
            except RequestError as refused:
                self._fail_all(ChildError(str(refused)))
                return self
        subscriptions, self._subscriptions = list(self._subscriptions.values()), {}
        for subscription in subscriptions:
            self.spawn(subscription.attach_again())
        return self

    def _fail_all(self, error: ChildError) -> None:
        """Nothing will be answered any more."""
        self._failure = self._failure or error
        for call in [*self._calls.values(), *self._queue]:
            if not call.future.done():
                call.future.set_exception(ChildError(str(error), call.outcome, exit_code=error.exit_code))
        self._calls.clear()
        self._queue.clear()
        while self._waiting:
            room = self._waiting.popleft()
            if not room.done():
                room.set_exception(ChildError(str(error), exit_code=error.exit_code))
        subscriptions, self._subscriptions = list(self._subscriptions.values()), {}
        for subscription in subscriptions:
            subscription.fail(error)

    # What comes with notifications

    async def subscribe_events(
        self, session_id: str, *, after_event_id: int | None = None, stream_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
    ) -> EventSubscription:
        """Sends the session's events, the backlog after the cursor first, then live.

            async with await store.subscribe_events(session_id, after_event_id=0) as events:
                async for event in events:

        after_event_id: The last id that was seen; from now on when None.
        stream_id: Only events of this stream.
        """
        subscription = EventSubscription(self, {
            "session_id": session_id, "after_event_id": after_event_id, "stream_id": stream_id, "tenant_id": tenant_id,
            "principal": principal,
        })
        await subscription.attach()
        return subscription

    async def subscribe_tasks(
        self, *, task_id: str | None = None, session_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
    ) -> TaskSubscription:
        """Tells a task, or all tasks of a session, as they are and then whenever they change."""
        subscription = TaskSubscription(self, {
            "task_id": task_id, "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
        })
        await subscription.attach()
        return subscription

    async def backup(
        self, path: str | os.PathLike[str], *, on_progress: Callable[[int, int], None] | None = None,
        timeout: float | None = None,
    ) -> BackupResult:
        """Copies the database as it is at one moment to a new file; nothing is ever overwritten.

        path: Where there is no file yet; relative to the process's working directory.
        on_progress: is handed pages that are done, and the total.
        """
        result: BackupResult = await self.call("backup", {"path": str(path)}, timeout=timeout, on_progress=on_progress)
        return result

    def route(self, subscription_id: str, subscription: Subscription) -> None:
        """Sends a subscription's notifications there."""
        self._subscriptions[subscription_id] = subscription

    def unroute(self, subscription_id: str) -> None:
        """Ends that."""
        self._subscriptions.pop(subscription_id, None)


def sent(params: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not left out."""
    return {name: value for name, value in params.items() if value is not UNSET}


def arguments(options: Mapping[str, str | int | bool]) -> list[str]:
    """`{"session_ttl": "1h", "exclusive": True}` as a command line has it."""
    found = []
    for name, value in options.items():
        if value is not False:
            found.append("--" + name.replace("_", "-"))
            if value is not True:
                found.append(str(value))
    return found


def ended(code: int | None, child: Child) -> str:
    how = "closed its output"
    if code is not None:
        how = f"ended with {code}" if code >= 0 else f"was killed by signal {-code}"
    said = f": {child.last_words[-1]}" if child.last_words else "."
    return f"The store's process {how}{said}"
