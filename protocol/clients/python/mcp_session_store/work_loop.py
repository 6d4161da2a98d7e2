"""Leased work, claimed and done as long as somebody wants: by one process among many, any of which may be killed."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from .contract import RequirementFailed
from .errors import RequestError, StoreError
from .policy import whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .store import Store

#: milliseconds for which an item is held without a sign of life
LEASE = 30_000
#: seconds until the store is asked again where it failed, or had nothing when it should have
PAUSE = 1.0
BREATH = 0.05
#: seconds after which it is asked in any case: what wakes is a hint
LONGEST = 30.0

Outcome = Literal["done", "retry", "dead", "release"]

logger = logging.getLogger("mcp_session_store")


class LeaseLost(StoreError):
    """Somebody else has the item, or nobody any more: what was to be written was not, and nothing more can be."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"The item '{lease.work_id}' of the queue '{lease.queue}' is no longer held.")


class Lease:
    """An item of work that is held, as long as its worker lives and the item is wanted."""

    def __init__(self, store: Store, item: Mapping[str, Any], lease: int, claimed_at: int = 0) -> None:
        self._store = store
        self._lease = lease
        #: by the store's clock, Unix milliseconds
        self.claimed_at = claimed_at
        #: as the store gave it
        self.item: Mapping[str, Any] = item
        self.queue: str = item["queue"]
        self.work_id: str = item["work_id"]
        self.payload: Any = item["payload"]
        #: how often it was claimed, this time included
        self.attempt: int = item["attempt"]
        self.fence: int = item["fence"]
        #: what it was settled as here; None: it was not
        self.outcome: Outcome | None = None
        #: whether it is known to be lost
        self.lost = False

    @property
    def _name(self) -> dict[str, Any]:
        return {"queue": self.queue, "work_id": self.work_id, "fence": self.fence}

    async def settle(self, outcome: Outcome, *, delay: int | None = None, error: str | None = None) -> dict[str, Any]:
        """Ends it alone. Raises LeaseLost, StoreError."""
        settled: dict[str, Any] = (await self.transact(outcome, delay=delay, error=error))[0]
        return settled

    async def transact(
        self, outcome: Outcome | None, *calls: Mapping[str, Any], delay: int | None = None, error: str | None = None,
    ) -> list[Any]:
        """Ends it together with calls of your own, or holds on to it (None): all of it, or nothing.

        Gives the results, that of the item first. Raises LeaseLost when it is no longer held, and nothing was done;
        what a call of yours raises has its `call_index` counted with the item's as 0.

        delay: milliseconds, for `retry` and `release`.
        """
        own: dict[str, Any]
        if outcome is None:
            own = {"method": "renew_work", "params": {**self._name, "lease": self._lease}, "require": True}
        else:
            said = {"outcome": outcome, "delay": delay, "error": error}
            params = {**self._name, **{name: value for name, value in said.items() if value is not None}}
            own = {"method": "settle_work", "params": params, "require": True}
        try:
            results = (await self._store.transaction([own, *calls]))["results"]  # type: ignore[list-item]
        except RequirementFailed as refused:
            if refused.data.get("call_index", 0) != 0:
                raise
            self.lost = True
            raise LeaseLost(self) from None
        self.outcome = self.outcome or outcome
        return results

    async def renew(self) -> bool:
        """Whether it is still held, for another lease from now. Raises StoreError."""
        held: bool = (await self._store.call("renew_work", {**self._name, "lease": self._lease}))["held"]
        self.lost = self.lost or not held
        return held


class WorkLoop:
    """Claims items of a queue and does them, some at once, until it is stopped.

        async def send(lease: Lease) -> None:
            await mail(lease.payload)          # settled as done when it returns; repeated later when it raises

        async with WorkLoop(store, "mail", send):
            …

    While an item is being done its lease is renewed; when it is lost, because the process stood still, say, the work is
    cancelled, for another has begun it. A worker that is killed keeps its items from the others for one lease.

    work: does one item. It may settle it itself, with what it writes in the same transaction.
    lease: milliseconds.
    concurrency: items at once.
    per_group: of one group, or one subscription, in all processes together.
    back_off: milliseconds until an item whose work raised is repeated, by its attempt.
    """

    def __init__(
        self, store: Store, queue: str, work: Callable[[Lease], Awaitable[object]], *, lease: int = LEASE,
        concurrency: int = 8, per_group: int = 1, include_subscription: bool = False,
        back_off: Callable[[int], int] = lambda attempt: min(1_000 * 2 ** (attempt - 1), 300_000),
    ) -> None:
        whole("lease", lease, 1)
        whole("concurrency", concurrency, 1)
        whole("per_group", per_group, 1)
        self._store = store
        self._queue = queue
        self._work = work
        self._lease = lease
        self._concurrency = concurrency
        self._per_group = per_group
        self._include_subscription = include_subscription
        self._back_off = back_off
        self._name = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._running: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> WorkLoop:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> None:
        """Begins, beside everything else."""
        if self._task is None or self._task.done():
            self._stopping = False
            self._task = asyncio.ensure_future(self._run())
            self._task.add_done_callback(_report)

    async def stop(self, patience: float = 5.0) -> None:
        """Claims nothing more, waits for what is being done, and after its patience hands that back undone."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping = True
        self._changed.set()
        if self._running:
            await asyncio.wait(self._running, timeout=patience)
        for running in list(self._running):
            running.cancel()
        if self._running:
            await asyncio.wait(self._running)
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task

    async def run(self) -> None:
        """Goes on until it is cancelled, or the store is closed. Raises RequestError when the store cannot do it."""
        self.start()
        assert self._task is not None
        try:
            await asyncio.shield(self._task)
        finally:
            await self.stop()

    async def once(self) -> int:
        """Does all that can be claimed now, and gives how many items that were: for work by the clock."""
        count = 0
        while True:
            answer = await self._claimed(self._concurrency)
            leases = self._leases(answer)
            if not leases:
                return count
            count += len(leases)
            await asyncio.gather(*map(self._do, leases))

    async def _claimed(self, limit: int) -> dict[str, Any]:
        params: dict[str, Any] = {
            "queue": self._queue, "worker": self._name, "lease": self._lease, "limit": min(limit, 1_000),
            "per_group": self._per_group}
        if self._include_subscription:
            params["include_subscription"] = True
        answer: dict[str, Any] = await self._store.call("claim_work", params)
        return answer

    def _leases(self, answer: Mapping[str, Any]) -> list[Lease]:
        return [Lease(self._store, item, self._lease, answer["timestamp"]) for item in answer["work"]]

    async def _run(self) -> None:
        listening = asyncio.ensure_future(self._listen())
        try:
            while not self._stopping:
                free = self._concurrency - len(self._running)
                self._changed.clear()
                if free <= 0:
                    await self._changed.wait()
                    continue
                try:
                    answer = await self._claimed(free)
                except StoreError as error:
                    if self._store.refusal is not None:
                        return
                    if isinstance(error, RequestError) and not error.retryable:
                        raise
                    logger.warning("Work of the queue '%s' waits for the store: %s", self._queue, error)
                    await asyncio.sleep(PAUSE)
                    continue
                for lease in self._leases(answer):
                    self._begin(lease)
                if len(answer["work"]) < free:
                    await self._wait(answer, bool(answer["work"]))
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _wait(self, answer: Mapping[str, Any], has_work: bool) -> None:
        """Until more may be there: by a hint, by the time, or because something here is done."""
        pause = LONGEST
        if answer["next_due"] is not None:
            pause = min(pause, max(0.0, (answer["next_due"] - answer["timestamp"]) / 1_000))
        if pause <= 0 and has_work:
            return
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), max(pause, BREATH))

    async def _listen(self) -> None:
        while True:
            try:
                due = await self._store.subscribe_work(self._queue, per_group=self._per_group)
                async with due:
                    async for _ in due:
                        self._changed.set()
                    if due.ended == "closed":
                        break
            except StoreError as error:
                if self._store.refusal is not None:
                    break
                logger.warning("What wakes the work of '%s' is not heard for now: %s", self._queue, error)
            await asyncio.sleep(PAUSE)
        self._changed.set()  # the loop ends with the store, and not when it would have looked again

    def _begin(self, lease: Lease) -> None:
        running = asyncio.ensure_future(self._do(lease))
        self._running.add(running)

        def over(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            self._changed.set()

        running.add_done_callback(over)

    async def _do(self, lease: Lease) -> None:
        """One item, whatever becomes of it."""
        work = asyncio.ensure_future(self._work(lease))
        holding = asyncio.ensure_future(self._hold(lease))
        try:
            await asyncio.wait({work, holding}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():  # the lease is lost
                work.cancel()
                await asyncio.wait({work})
            holding.cancel()
            if not work.cancelled():
                work.result()
            if lease.outcome is None and not lease.lost:
                await lease.settle("done")
        except LeaseLost as lost:
            logger.info("%s", lost)
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await _quietly(lease, "release")
            raise
        except Exception as error:
            delay = self._back_off(lease.attempt)
            logger.warning("The item '%s' of the queue '%s' failed, and is repeated after %d ms.", lease.work_id,
                           self._queue, delay, exc_info=error)
            await _quietly(lease, "retry", delay=delay, error=type(error).__name__)
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)

    async def _hold(self, lease: Lease) -> None:
        """Renews it; returns when it is lost."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._lease / 1_000
        while not lease.lost and loop.time() < until:
            await asyncio.sleep(self._lease / 3_000)
            asked = loop.time()
            try:
                if lease.outcome is not None or await lease.renew():
                    until = asked + self._lease / 1_000
            except StoreError as error:
                logger.info("The lease of '%s' could not be renewed: %s", lease.work_id, error)
        lease.lost = True


async def _quietly(lease: Lease, outcome: Outcome, **more: Any) -> None:
    """Ends an item that somebody else may have, or that comes back by itself."""
    if lease.outcome is not None or lease.lost:
        return
    try:
        await lease.settle(outcome, **more)
    except StoreError as error:
        logger.info("The item '%s' could not be settled: %s", lease.work_id, error)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("A loop of work has ended.", exc_info=task.exception())
