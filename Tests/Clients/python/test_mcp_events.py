"""The event store for the MCP SDK: ids, replays, scopes, and what happens when the store is gone."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from mcp.server.streamable_http import EventMessage
from mcp.types import JSONRPCMessage
from pydantic import TypeAdapter

from mcp_session_store import ChildError, Restart, Store
from mcp_session_store.contract import SessionNotFound
from mcp_session_store.mcp_events import EventStore, name_of

read = TypeAdapter(JSONRPCMessage).validate_python
WAIT = 30


def progress(number: int) -> Any:
    params = {"progressToken": 1, "progress": number}
    return read({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})


def answer(request_id: int | str, text: str = "done") -> Any:
    return read({"jsonrpc": "2.0", "id": request_id, "result": {"text": text, "nothing": None}})


class Connection:
    """Takes what is replayed."""

    def __init__(self) -> None:
        self.events: list[EventMessage] = []
        self._news = asyncio.Condition()

    async def send(self, event: EventMessage) -> None:
        async with self._news:
            self.events.append(event)
            self._news.notify_all()

    async def has(self, count: int) -> None:
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: len(self.events) >= count), WAIT)

    @property
    def messages(self) -> list[Any]:
        return [event.message for event in self.events]


async def session(store: Store, session_id: str, *, principal: str | None = None, **more: Any) -> EventStore:
    await store.create_session(session_id=session_id, principal=principal, status="active")
    return EventStore(store, session_id, principal=principal, **more)


def test_replays_one_stream_from_behind_the_id(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            events = await session(store, "one", principal="alice")
            first = await events.store_event("7", None)
            sent = [(await events.store_event("7", progress(number)), progress(number)) for number in range(3)]
            await events.store_event("8", progress(100))
            await events.store_event("_GET_stream", progress(200))
            sent.append((await events.store_event("7", answer(7)), answer(7)))
            assert all(event_id.isascii() and event_id.isprintable() and " " not in event_id for event_id, _ in sent)
            for cursor, rest in [(first, sent), (sent[0][0], sent[1:]), (sent[2][0], sent[3:])]:
                connection = Connection()
                assert await events.replay_events_after(cursor, connection.send) == "7"
                assert [(event.event_id, event.message) for event in connection.events] == rest
            connection = Connection()
            assert await events.replay_events_after(sent[-1][0], connection.send) is None
            assert connection.events == []

    asyncio.run(run())


def test_each_kind_of_message_is_replayed_as_it_was_sent(binary: Path, database: Path) -> None:
    messages = [read({"jsonrpc": "2.0", **message}) for message in (
        {"method": "notifications/a"}, {"method": "notifications/b", "params": {"text": "\u2028\n\"ü😀"}},
        {"method": "sampling/c", "id": 7, "params": {"nothing": None, "list": [1, 2.5, 10**20]}},
        {"method": "roots/list", "id": "8"}, {"id": 9, "result": {}},
        {"id": "10", "error": {"code": -1, "message": "no", "data": [None, {}]}},
    )]

    async def main() -> None:
        async with Store(database, binary=binary) as store:
            events, connection = await session(store, "s"), Connection()
            ids = [await events.store_event("1", message) for message in [progress(0), *messages]]
            assert await events.replay_events_after(ids[0], connection.send) == "1"
            assert connection.messages == messages
            assert [event.event_id for event in connection.events] == ids[1:]

    asyncio.run(main())


def test_a_number_that_json_cannot_say_is_stored_as_it_is_sent(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            events, connection = await session(store, "s"), Connection()
            first = await events.store_event("1", progress(0))
            message = read({"jsonrpc": "2.0", "method": "m", "params": {"nan": float("nan"), "text": "x"}})
            assert await events.store_event("1", message)
            await events.replay_events_after(first, connection.send)
            live = json.loads(message.model_dump_json(by_alias=True))
            assert [json.loads(replayed.model_dump_json(by_alias=True)) for replayed in connection.messages] == [live]

    asyncio.run(main())


def test_a_replay_takes_as_many_pages_as_it_needs(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            events = await session(store, "one")
            first = await events.store_event("_GET_stream", None)
            ids = await asyncio.gather(
                *[events.store_event("_GET_stream", progress(number)) for number in range(2_500)])
            connection = Connection()
            assert await events.replay_events_after(first, connection.send) == "_GET_stream"
            assert [event.event_id for event in connection.events] == ids
            assert connection.messages == [progress(number) for number in range(2_500)]

    asyncio.run(run())


class Reading(EventStore):
    """Counts the pages that it asks for."""

    pages = 0

    async def _read(self, name: str, after: int, limit: int) -> Any:
        self.pages += 1
        return await super()._read(name, after, limit)


async def twelve_events(store: Store) -> tuple[Reading, str]:
    await store.create_session(session_id="one", status="active")
    events = Reading(store, "one")
    first = await events.store_event("7", None)
    for number in range(12):
        await events.store_event("7", progress(number))
    return events, first


def test_the_next_page_is_read_while_one_is_sent(
    binary: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_session_store.mcp_events.FIRST_PAGE", 3)
    monkeypatch.setattr("mcp_session_store.mcp_events.PAGE", 5)

    async def run() -> None:
        async with Store(database, binary=binary) as store:
            events, first = await twelve_events(store)
            asked: list[int] = []

            async def send(event: EventMessage) -> None:
                asked.append(events.pages)

            await events.replay_events_after(first, send)
            # The first page begins with the event that the client has; behind the last one nothing is known to be.
            assert asked == [2] * 2 + [3] * 5 + [3] * 5
            assert events.pages == 4

    asyncio.run(run())


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_replay_that_is_broken_off_leaves_nothing_behind(
    binary: Path, database: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    monkeypatch.setattr("mcp_session_store.mcp_events.FIRST_PAGE", 5)
    told: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with Store(database, binary=binary, restart=None) as store:
            events, first = await twelve_events(store)

            async def send(event: EventMessage) -> None:
                if is_killed:
                    os.kill(store.info["pid"], signal.SIGKILL)
                    await store.ended()
                raise BrokenPipeError

            with pytest.raises(BrokenPipeError):
                await events.replay_events_after(first, send)
            assert events.pages == 2
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)
        gc.collect()

    asyncio.run(run())
    assert told == []


def test_what_is_stored_during_a_replay_is_replayed_too(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            events = await session(store, "one")
            first = await events.store_event("7", None)
            await events.store_event("7", progress(0))
            seen = []

            async def send(event: EventMessage) -> None:
                seen.append(event.message)
                if len(seen) < 5:
                    await events.store_event("7", progress(len(seen)))

            assert await events.replay_events_after(first, send) == "7"
            assert seen == [progress(number) for number in range(5)]

    asyncio.run(run())


def test_a_reused_request_id_does_not_mix_requests(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            for follow in (False, True):
                events = await session(store, f"session-{follow}", follow=follow)
                old = await events.store_event("7", None)
                await events.store_event("7", progress(1))
                await events.store_event("7", answer(7, "old"))
                new = await events.store_event("7", None)
                await events.store_event("7", progress(2))
                await events.store_event("7", answer(7, "new"))
                for cursor, expected in [
                    (old, [progress(1), answer(7, "old")]), (new, [progress(2), answer(7, "new")])
                ]:
                    connection = Connection()
                    stream = await events.replay_events_after(cursor, connection.send)
                    assert (stream, connection.messages) == (None if follow else "7", expected)

    asyncio.run(run())


def test_ids_of_other_sessions_and_of_nobody_are_unknown(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            mine, yours = await session(store, "mine"), await session(store, "yours")
            for events in (mine, yours):  # the same numbers, the same stream
                await events.store_event("1", None)
                await events.store_event("1", progress(1))
            first = await mine.store_event("1", None)
            number, check, stream = first.split(".")
            connection = Connection()
            for unknown in [
                await yours.store_event("1", None), number, f"{number}.{check}", f"{int(number) + 1}.{check}.{stream}",
                f"0.{check}.{stream}", f"-1.{check}.{stream}", f"01.{check}.{stream}", f"{'9' * 30}.{check}.{stream}",
                f"².{check}.{stream}", f"{number}.{'0' * 16}.{stream}", f"{number}.{check}.2", f"{first}.", "", ".",
            ]:
                assert await mine.replay_events_after(unknown, connection.send) is None, unknown
            assert connection.events == []

    asyncio.run(run())


def test_another_owner_is_refused(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            alice = await session(store, "hers", principal="alice")
            first = await alice.store_event("1", None)
            await alice.store_event("1", progress(1))
            mallory = EventStore(store, "hers", principal="mallory")
            connection = Connection()
            assert await mallory.replay_events_after(first, connection.send) is None
            with pytest.raises(SessionNotFound):
                await mallory.store_event("1", None)
            assert connection.events == []

    asyncio.run(run())


def test_ids_hold_over_a_restart(binary: Path, database: Path) -> None:
    async def before() -> str:
        async with Store(database, binary=binary) as store:
            events = await session(store, "one")
            first = await events.store_event("1", None)
            await events.store_event("1", progress(1))
            return first

    async def after(first: str) -> None:
        async with Store(database, binary=binary) as store:
            events = EventStore(store, "one")
            await events.store_event("1", answer(1))
            connection = Connection()
            assert await events.replay_events_after(first, connection.send) == "1"
            assert connection.messages == [progress(1), answer(1)]

    asyncio.run(after(asyncio.run(before())))


def test_a_replay_that_follows_ends_with_the_answer(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store, Store(database, binary=binary) as elsewhere:
            events = await session(store, "one", follow=True)
            first = await events.store_event("1", None)
            await events.store_event("1", progress(0))
            connection = Connection()
            replay = asyncio.ensure_future(events.replay_events_after(first, connection.send))
            await connection.has(1)
            other_process = EventStore(elsewhere, "one")
            await other_process.store_event("2", progress(99))
            await other_process.store_event("1", None)
            await other_process.store_event("1", progress(1))
            await connection.has(2)
            await events.store_event("1", answer(1))
            assert await asyncio.wait_for(replay, WAIT) is None
            assert connection.messages == [progress(0), progress(1), answer(1)]

    asyncio.run(run())


def test_a_replay_that_follows_ends_when_it_is_told_or_taken_over(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            events = await session(store, "one", follow=True)
            first = await events.store_event("_GET_stream", None)
            await events.store_event("_GET_stream", progress(0))
            connections = [Connection() for _ in range(3)]
            replays = []
            for connection in connections:
                replays.append(asyncio.ensure_future(events.replay_events_after(first, connection.send)))
                await connection.has(1)
            for taken_over in replays[:2]:
                assert await asyncio.wait_for(taken_over, WAIT) is None
            events.end_replay("_GET_stream")
            assert await asyncio.wait_for(replays[2], WAIT) is None
            events.end_replay("_GET_stream")  # there is none left

    asyncio.run(run())


def test_a_connection_that_is_lost_leaves_no_subscription(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            events = await session(store, "one", follow=True)
            first = await events.store_event("_GET_stream", None)
            await events.store_event("_GET_stream", progress(0))
            connection = Connection()
            replay = asyncio.ensure_future(events.replay_events_after(first, connection.send))
            await connection.has(1)
            for expected in (1, 0):
                async with asyncio.timeout(WAIT):
                    while (await store.get_metrics())["subscriptions"] != expected:
                        await asyncio.sleep(0.01)
                replay.cancel()
            await asyncio.wait([replay])
            assert replay.cancelled()

    asyncio.run(run())


def test_the_end_of_a_session_ends_its_replays(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            events = await session(store, "one", follow=True)
            first = await events.store_event("1", None)
            await events.store_event("1", progress(0))
            connection = Connection()
            replay = asyncio.ensure_future(events.replay_events_after(first, connection.send))
            await connection.has(1)
            await store.delete_session("one")
            assert await asyncio.wait_for(replay, WAIT) is None

    asyncio.run(run())


def test_what_cannot_be_stored_goes_out_without_an_id(
    binary: Path, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with Store(database, binary=binary, options={"max_payload_bytes": 1_000}) as store:
            events = await session(store, "one")
            first = await events.store_event("1", None)
            assert await events.store_event("1", answer(1, "x" * 2_000)) == ""
            await events.store_event("2", progress(2))
            connection = Connection()
            assert await events.replay_events_after(first, connection.send) == "1"
            [message] = connection.messages
            told = json.loads(message.model_dump_json(by_alias=True))
            assert told["id"] == 1 and "too large" in told["error"]["message"]

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_when_the_process_is_gone_messages_go_out_and_nothing_new_begins(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary, restart=None) as store:
            events = await session(store, "one")
            first = await events.store_event("1", None)
            os.kill(store.info["pid"], signal.SIGTERM)
            async with asyncio.timeout(WAIT):
                while await events.store_event("1", progress(1)) != "":
                    await asyncio.sleep(0.01)
            with pytest.raises(ChildError):
                await events.store_event("1", None)
            with pytest.raises(ChildError):
                await events.replay_events_after(first, Connection().send)

    asyncio.run(run())


def test_each_message_is_stored_once_though_the_process_dies_again_and_again(binary: Path, database: Path) -> None:
    async def run() -> None:
        restart = Restart(attempts=1_000, delay=0.001)
        async with Store(database, binary=binary, restart=restart) as store:
            events = await session(store, "one", follow=True)
            first = await events.store_event("1", None)
            connection = Connection()
            replay = asyncio.ensure_future(events.replay_events_after(first, connection.send))
            ids = []
            for number in range(100):
                storing = asyncio.ensure_future(events.store_event("1", progress(number)))
                if number % 10 == 5:
                    for _ in range(number % 4):  # before it is written, and behind that
                        await asyncio.sleep(0)
                    os.kill(store.info["pid"], signal.SIGKILL)
                ids.append(await storing)
            ids.append(await events.store_event("1", answer(1)))
            assert await asyncio.wait_for(replay, WAIT) is None
            assert connection.messages == [*[progress(number) for number in range(100)], answer(1)]
            assert [event.event_id for event in connection.events] == ids

    asyncio.run(run())


def test_what_is_left_is_replayed_and_a_hole_is_told(
    binary: Path, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with Store(database, binary=binary, options={"max_events_per_session": 10}) as store:
            for follow in (False, True):
                events = await session(store, f"session-{follow}", follow=follow)
                cursor = await events.store_event("1", None)
                for number in range(5):  # these stay, and yet the cursor itself goes
                    await events.store_event("1", progress(number))
                for number in range(5):
                    await events.store_event("_GET_stream", progress(100 + number))
                first, caplog.records[:] = Connection(), []
                replay = asyncio.ensure_future(events.replay_events_after(cursor, first.send))
                await first.has(5)
                assert not caplog.records
                await events.store_event("1", answer(1))  # and this pushes out progress(0)
                assert await asyncio.wait_for(replay, WAIT) is None if follow else await replay == "1"
                second = Connection()
                await events.replay_events_after(cursor, second.send)
                expected = [*[progress(number) for number in range(1, 5)], answer(1)]
                assert second.messages == expected
                assert [record.levelname for record in caplog.records] == ["WARNING"]

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())


def test_stream_names_of_any_characters(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            events = await session(store, "one")
            for stream in ["a.b.c", "ä/ ö\n", "%31", "🙂" * 100, "", "x" * 1_024, "x" * 100_000, "-1", "\ud800",
                           "sha256:" + "0" * 64]:
                first = await events.store_event(stream, None)
                assert first.isascii() and first.isprintable() and " " not in first and len(first) < 4_000
                await events.store_event(stream, progress(1))
                connection = Connection()
                assert await events.replay_events_after(first, connection.send) in (stream, name_of(stream))
                assert connection.messages == [progress(1)]

    asyncio.run(run())
