"""The calls of one store in their order: those that wait, and those that are written and wait for their answer."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from .contract import REPEATABLE
from .errors import CallTimeout, Overloaded, RequestTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .child import Child
    from .errors import ChildError, Outcome

#: bytes that are handed to the system at once
CHUNK = 65_536
#: answered when they are done, however long that takes
JOBS = frozenset({"backup", "check_integrity", "archive"})
#: a subscription ends with its process, so that making it again makes no second one
SUBSCRIBING = frozenset({"subscribe_events", "subscribe_tasks"})
#: times that a call may be on its way when the process ends; the last time it is there alone, and so was the reason
LOSSES = 3


class Call:
    """One request: waiting, then written, then settled."""

    __slots__ = (
        "deadline", "future", "id", "is_perishable", "is_written", "line", "losses", "method", "on_progress",
        "on_result", "opens", "timeout",
    )

    def __init__(
        self, number: int, method: str, line: bytes, future: asyncio.Future[Any], timeout: float | None,
        on_result: Callable[[Any], None] | None, on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self.id = number
        self.method = method
        self.line = line
        self.future = future
        self.on_result = on_result
        self.on_progress = on_progress
        #: makes of the result what the caller gets, where the store has a codec
        self.opens: Callable[[Any], Any] | None = None
        #: means something to this process only
        self.is_perishable = False
        self.is_written = False
        self.losses = 0
        self.timeout = timeout
        self.deadline = math.inf

    @property
    def is_repeatable(self) -> bool:
        return not self.is_written or self.method in REPEATABLE or self.method in SUBSCRIBING

    @property
    def outcome(self) -> Outcome:
        """What the store has of it when nothing more is heard."""
        return "not_applied" if self.is_repeatable else "unknown"


class CallQueue:
    """What is on its way is bounded, what waits is bounded, and what may be written together goes in one piece.

    The queue outlives a process: `attach` gives it one, `detach` takes it away.
    """

    def __init__(self, max_in_flight: int, max_waiting: int, on_room: Callable[[], None]) -> None:
        self._max_in_flight = max_in_flight
        self._max_waiting = max_waiting
        self._on_room = on_room
        self._waiting: OrderedDict[int, Call] = OrderedDict()
        self._written: dict[int, Call] = {}
        #: bytes that wait, and bytes that are written and not answered
        self.waiting = 0
        self.in_flight = 0
        self._child: Child | None = None
        self._max_line = math.inf
        #: what is on its way alone, as it may be what ends the process
        self._suspect: Call | None = None
        self._is_ticking = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._emptied: asyncio.Future[None] | None = None

    def clear(self) -> None:
        """Forgets everything, and tells nobody: those who waited are of another event loop, or another process."""
        self._waiting.clear()
        self._written.clear()
        self.waiting = self.in_flight = 0
        self._child = self._suspect = self._alarm = self._emptied = None
        self._alarm_at = math.inf
        self._is_ticking = False

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Call]:
        """All of them, in their order."""
        yield from list(self._written.values())
        yield from list(self._waiting.values())

    # In and out

    def add(self, call: Call) -> None:
        """Raises Overloaded, RequestTooLarge."""
        size = len(call.line)
        if size - 1 > self._max_line:
            raise RequestTooLarge(call.method, size - 1, int(self._max_line))
        if call.deadline < self._alarm_at:
            self._watch(call.deadline)
        # At once what comes alone, and in one piece what comes beside others in one turn of the event loop.
        child = self._child
        if not self._written and not self._waiting and child is not None and child.is_writable and not call.losses:
            call.is_written = True
            self._written[call.id] = call
            self.in_flight += size
            child.write(call.line)
            return
        if self.waiting and self.waiting + size > self._max_waiting:
            raise Overloaded(call.method, self.waiting, self._max_waiting)
        self._waiting[call.id] = call
        self.waiting += size
        if not self._written or self.waiting >= CHUNK:
            self.pump()
        elif not self._is_ticking:
            self._is_ticking = True
            call.future.get_loop().call_soon(self._tick)

    def drop(self, call: Call) -> None:
        """Forgets a call that nobody waits for: what is not written is not sent."""
        if self._waiting.pop(call.id, None) is not None:
            self.waiting -= len(call.line)
            self._tell_emptied()

    def take(self, number: int) -> Call | None:
        """The call that was answered; it is forgotten."""
        call = self._written.pop(number, None)
        if call is not None:
            self.in_flight -= len(call.line)
            if call is self._suspect:
                self._suspect = None
            if self._waiting and self._child is not None and self._child.is_writable:
                self._on_room()
        return call

    def get(self, number: int) -> Call | None:
        """One that is written."""
        return self._written.get(number)

    @property
    def oldest(self) -> int | None:
        """The call whose turn it is to be answered: answers come in the order of the calls, jobs apart."""
        return next((call.id for call in self._written.values() if call.method not in JOBS), None)

    # The process

    def attach(self, child: Child, max_line: float) -> None:
        """A process that is ready to take calls."""
        self._child = child
        self._max_line = max_line
        self.pump()

    def refuse(self, call: Call) -> None:
        """The process is about to exit and did nothing of the call, which keeps its place for the next one."""
        self._child = None
        call.is_written = False

    def detach(self, error: ChildError, keep: bool) -> None:
        """The process is gone. With `keep`, what was not written waits for the next one, and so does what may be
        repeated; all else fails with the error."""
        self._child = None
        self._suspect = None
        kept: list[Call] = []
        for call in list(self._written.values()):
            call.losses += 1
            stays = keep and call.is_repeatable and call.losses < LOSSES and not call.is_perishable
            if call.future.done():
                continue
            if stays:
                call.is_written = False
                kept.append(call)
            else:
                call.future.set_exception(error.of(call.method, call.outcome))
        self._written.clear()
        self.in_flight = 0
        for call in reversed(kept):
            self._waiting[call.id] = call
            self._waiting.move_to_end(call.id, last=False)
            self.waiting += len(call.line)
        for call in list(self._waiting.values()):
            if call.is_perishable or not keep:
                self.drop(call)
                if not call.future.done():
                    call.future.set_exception(error.of(call.method, call.outcome))

    def pump(self) -> None:
        """Writes what waits, as far as there is room and the system takes it."""
        waiting, written = self._waiting, self._written
        while waiting and self._child is not None and self._child.is_writable and self._suspect is None:
            lines: list[bytes] = []
            size = 0
            while waiting and size < CHUNK and self._suspect is None:
                number, call = waiting.popitem(last=False)
                length = len(call.line)
                if written and (self.in_flight + length > self._max_in_flight or call.losses == LOSSES - 1):
                    if not call.future.done():
                        waiting[number] = call
                        waiting.move_to_end(number, last=False)
                        break
                self.waiting -= length
                if call.future.done():  # its turn to be dropped comes in this turn of the event loop
                    continue
                if length - 1 > self._max_line:
                    call.future.set_exception(RequestTooLarge(call.method, length - 1, int(self._max_line)))
                    continue
                if call.losses == LOSSES - 1:
                    self._suspect = call
                call.is_written = True
                written[number] = call
                self.in_flight += length
                lines.append(call.line)
                size += length
            if not lines:
                break
            self._child.write(b"".join(lines))
        self._tell_emptied()

    def _tick(self) -> None:
        self._is_ticking = False
        self.pump()

    # Time

    def _watch(self, deadline: float) -> None:
        """One alarm for all calls, at the earliest deadline: a timer for each would cost a tenth of the call."""
        if deadline < self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = asyncio.get_running_loop().call_at(deadline, self._expire)
            self._alarm_at = deadline

    def _expire(self) -> None:
        """Ends calls whose time is over, and sets the alarm for the next one."""
        self._alarm = None
        self._alarm_at = math.inf
        now = asyncio.get_running_loop().time()
        next_one = math.inf
        for call in self:
            if call.future.done():
                continue
            if call.deadline <= now:
                call.future.set_exception(CallTimeout(call.method, call.timeout, call.outcome))
                self.drop(call)
            else:
                next_one = min(next_one, call.deadline)
        if next_one < math.inf:
            self._watch(next_one)

    def stop_watching(self) -> None:
        """No call is on its way any more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
            self._alarm_at = math.inf

    async def emptied(self) -> None:
        """Returns when nothing waits to be written."""
        if self._waiting:
            self._emptied = self._emptied or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._emptied)

    def _tell_emptied(self) -> None:
        if self._emptied is not None and not self._waiting:
            if not self._emptied.done():
                self._emptied.set_result(None)
            self._emptied = None
