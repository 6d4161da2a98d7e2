"""What `client_soak.py` soaks in Python: flows that share one store, each with a session of its own.

It is told what to do as JSON, prints a line each time that a goal is reached and nothing is under way, and goes on
when it reads one. `server.mjs` is the same in Node.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import os
import random
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "protocol/clients/python"))

from mcp_session_store import CallTimeout, ChildError, RequestError, Restart, Store  # noqa: E402

KINDS = ("stored", "refused", "cancelled", "overdue", "unsayable", "subscribed", "lived", "deleted", "lost", "killed")


class Server:
    def __init__(self, setup: dict[str, Any]) -> None:
        self.calls = 0
        self.kinds = Counter({kind: 0 for kind in KINDS})
        self._kill_every = setup["kill_every"]
        self._killed_at = 0
        quiet = logging.getLogger("quiet")
        quiet.disabled = True
        self.store = Store(
            setup["database"], binary=setup["binary"], options={"max_events_per_session": 200}, logger=quiet,
            restart=Restart(attempts=1_000_000_000, delay=0.01))

    def counted(self) -> None:
        """One more call is made; now and then the process dies of it."""
        self.calls += 1
        if self.calls >= self._killed_at + self._kill_every and self.store.pid is not None:
            self._killed_at = self.calls
            self.kinds["killed"] += 1
            os.kill(self.store.pid, signal.SIGKILL)

    def held(self) -> dict[str, int]:
        """When nothing is under way."""
        assert self.store.bytes_in_flight == 0 and self.store.bytes_waiting == 0
        gc.collect()
        return {
            "tasks": len(asyncio.all_tasks()), "threads": threading.active_count(), "objects": len(gc.get_objects()),
        }


class Flow:
    """One thing after the other, in one session."""

    def __init__(self, server: Server, number: int) -> None:
        self._server = server
        self._store = server.store
        self._number = number
        self._chance = random.Random(number)
        self._session = ""
        self._made = 0
        #: the newest id of an event that is known, and what the state may be
        self._newest = 0
        self._values: list[Any] = [None]

    async def begin(self) -> None:
        self._made += 1
        self._session = f"flow-{self._number}-{self._made}"
        self._newest, self._values = 0, [None]
        self._server.counted()
        await self._store.create_session(session_id=self._session, status="active")

    async def step(self) -> None:
        try:
            await self._step()
        except ChildError as error:
            # It was killed: a write is done or is not, and a session that was being made or deleted is made anew.
            assert error.reason == "exited" and self._server.kinds["killed"], error
            self._server.kinds["lost"] += 1
            while True:
                try:
                    return await self.begin()
                except ChildError:
                    continue

    async def _step(self) -> None:
        kind, store, session = self._chance.random(), self._store, self._session
        if not session:
            return await self.begin()
        self._server.counted()
        if kind < 0.30:
            await self._append()
        elif kind < 0.45:
            found = await store.get_session(session)
            assert found is not None and found["session_id"] == session
        elif kind < 0.55:
            value = {"at": self._server.calls, "text": "ü" * self._chance.randrange(100)}
            await store.set_session_state(session, key="key", value=value)
            self._values = [value]
        elif kind < 0.65:
            assert (await store.get_session_state(session, key="key"))["value"] in self._values
        elif kind < 0.75:
            page = await store.get_events_after(session, after_event_id=max(self._newest - 10, 0), limit=10)
            ids = [event["id"] for event in page["events"]]
            assert ids == sorted(set(ids)) and (self._newest == 0 or self._newest in ids), (ids, self._newest)
        elif kind < 0.80:
            await self._refused()
        elif kind < 0.85:
            await self._cancelled()
        elif kind < 0.88:
            await self._overdue()
        elif kind < 0.90:
            await self._unsayable()
        elif kind < 0.93:
            await self._subscribed()
        elif kind < 0.97:
            await self._lived()
        else:
            assert (await store.delete_session(session, delete_tasks=True))["deleted"]
            self._server.kinds["deleted"] += 1
            await self.begin()

    async def _append(self) -> None:
        data = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 200}}
        stored = await self._store.store_event(self._session, data=data)
        assert stored["id"] > self._newest
        self._newest = stored["id"]
        self._server.kinds["stored"] += 1

    async def _refused(self) -> None:
        try:
            await self._store.store_event("nobody's", data=1)
        except RequestError as error:
            assert error.kind == "session_not_found"
            self._server.kinds["refused"] += 1
        else:
            raise AssertionError("an unknown session takes events")

    async def _cancelled(self) -> None:
        task = asyncio.ensure_future(self._store.set_session_state(self._session, key="other", value=1))
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            self._server.kinds["cancelled"] += 1

    async def _overdue(self) -> None:
        try:
            await self._store.set_session_state(self._session, key="other", value=2, timeout=1e-6)
        except CallTimeout:
            self._server.kinds["overdue"] += 1

    async def _unsayable(self) -> None:
        try:
            await self._store.store_event(self._session, data={"number": math.nan})
        except ValueError:
            self._server.kinds["unsayable"] += 1
        else:
            raise AssertionError("NaN was stored")

    async def _subscribed(self) -> None:
        async with await self._store.subscribe_events(self._session, after_event_id=self._newest) as events:
            self._server.counted()
            await self._append()
            async for event in events:
                assert event["id"] <= self._newest
                if event["id"] == self._newest:
                    break
        self._server.kinds["subscribed"] += 1

    async def _lived(self) -> None:
        task = await self._store.create_task(
            session_id=self._session, original_method="tools/call", original_params={"a": [1]})
        self._server.counted()
        await self._store.update_task_status(task["task_id"], status="input_required", status_message="half")
        self._server.counted()
        found = await self._store.get_task(task["task_id"])
        assert found is not None and found["status_message"] == "half"
        self._server.counted()
        assert (await self._store.delete_task(task["task_id"]))["deleted"]
        self._server.kinds["lived"] += 1


async def main() -> None:
    setup = json.loads(sys.argv[1])
    server = Server(setup)
    async with server.store:
        flows = [Flow(server, number) for number in range(setup["flows"])]
        for goal in setup["goals"]:

            async def until(flow: Flow, goal: int) -> None:
                while server.calls < goal:
                    await flow.step()

            await asyncio.gather(*[until(flow, goal) for flow in flows])
            await server.store.health()  # behind whatever was given up
            print(json.dumps({"calls": server.calls, "held": server.held(), "kinds": server.kinds}), flush=True)
            sys.stdin.readline()


asyncio.run(main())
