"""Sessions of an MCP server that outlive its process: real servers, killed in the middle, and real clients."""

from __future__ import annotations

import asyncio
import inspect
import json
import random
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from http_server import serving
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import RequestBodyLimitMiddleware
from server_process import HEADERS, WAIT, Frame, RawClient, ServerProcess, frames, running

from mcp_session_store import Store
from mcp_session_store.mcp_sessions import DurableSessions, streamable_http_app
from mcp_session_store.sdk_internals import UnsupportedSDK

FLAVORS = ["sdk", *(["fastmcp"] if find_spec("fastmcp") else [])]


@pytest.fixture
def setup(binary: Path, database: Path, tmp_path: Path) -> dict[str, Any]:
    gates = tmp_path / "gates"
    gates.mkdir()
    return {"flavor": "sdk", "binary": str(binary), "database": str(database), "gates": str(gates)}


def open_gate(setup: dict[str, Any], name: str) -> None:
    (Path(setup["gates"]) / name).touch()


async def stored(setup: dict[str, Any], session_id: str, count: int) -> None:
    """Waits until the session has had so many events."""
    async with Store(setup["database"], binary=setup["binary"]) as store, asyncio.timeout(WAIT):
        while True:
            session = await store.get_session(session_id)
            if session is not None and session["last_event_id"] >= count:
                return
            await asyncio.sleep(0.01)


def across_a_restart(
    setup: dict[str, Any],
    before: Callable[[RawClient], Coroutine[Any, Any, str]],
    after: Callable[[RawClient, str], Coroutine[Any, Any, None]],
) -> None:
    """One client with a server that is killed, then with the next one on the same file."""
    client = RawClient("")
    with running(setup) as server:
        client.url = server.url
        last = asyncio.run(before(client))
    with running(setup) as server:
        client.url = server.url
        asyncio.run(after(client, last))


def progress(frame: Frame) -> int:
    assert frame.data["method"] == "notifications/progress"
    return int(frame.data["params"]["progress"])


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_killed_server_resumes_a_stream(setup: dict[str, Any], flavor: str) -> None:
    setup.update(flavor=flavor, sessions={"fail_interrupted": False})

    async def before(client: RawClient) -> str:
        await client.initialize()
        first = client.call(1, "count", steps=[1, 2, "first", 3, 4, "never"])
        async with client.request("POST", first) as response:
            events = frames(response)
            assert (await anext(events)).data is None  # a place to resume from
            assert progress(await anext(events)) == 1
            last = await anext(events)
            assert progress(last) == 2
        open_gate(setup, "first")
        assert client.session_id is not None
        await stored(setup, client.session_id, 7)  # the handshake's two, and five
        return last.id

    async def after(client: RawClient, last: str) -> None:
        whoami = await client.result(2, "whoami")
        assert whoami == {"client": "raw client", "session_id": client.session_id}
        async with client.request("GET", last_event_id=last) as response:
            assert response.status_code == 200
            events = frames(response)
            assert [progress(await anext(events)) for _ in range(2)] == [3, 4]
        answer = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}
        async with client.request("GET", last_event_id=last) as response:  # as often as the client likes
            async with Store(setup["database"], binary=setup["binary"]) as store:
                assert client.session_id is not None
                # Somebody takes the work up again and answers: nothing may stand between.
                await store.store_event(client.session_id, data=answer, stream_id="1")
            seen = [frame.data async for frame in frames(response)]
        assert [message["params"]["progress"] for message in seen[:2]] == [3, 4]
        assert seen[2:] == [answer]
        assert await client.result(3, "count", steps=[]) == {"result": "counted []"}

    across_a_restart(setup, before, after)


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18"])
def test_an_interrupted_request_is_answered_with_an_error(setup: dict[str, Any], version: str) -> None:
    """With an id of the same type, also for clients of before 2025-11-25, which get no place to resume from first."""
    ids = (7, "9", -3, "seven", "007", 0, 10 ** 20, "a.b/c %41", "x" * 1_000)

    async def before(client: RawClient) -> list[str]:
        client.version = version
        await client.initialize()
        last = []
        for request_id in ids:
            async with client.request("POST", client.call(request_id, "count", steps=[1, "never"])) as response:
                async for frame in frames(response):
                    last.append(frame.id)
                    if frame.data is not None:
                        break
                else:
                    raise AssertionError("nothing came")
        return last[1::2] if version == "2025-11-25" else last

    async def after(client: RawClient, last: list[str]) -> None:
        for request_id, cursor in reversed(list(zip(ids, last, strict=True))):
            async with client.request("GET", last_event_id=cursor) as response:
                [answer] = [frame.data async for frame in frames(response)]
            assert (answer["id"], type(answer["id"])) == (request_id, type(request_id))
            assert answer["error"]["code"] == -32603 and "restarted" in answer["error"]["message"]
        # What this process works on is not interrupted.
        async with client.request("POST", client.call(8, "count", steps=[1, "gate", 2])) as response:
            cursor = ""
            async for frame in frames(response):
                if frame.data is not None:
                    cursor = frame.id
                    break
        async with client.request("GET", last_event_id=cursor) as response:
            open_gate(setup, "gate")
            seen = [frame.data async for frame in frames(response)]
        assert [message.get("id") for message in seen] == [None, 8]
        assert "result" in seen[1]

    across_a_restart(setup, before, after)


def test_sessions_with_the_same_request_ids_see_their_own_events(setup: dict[str, Any]) -> None:
    async def begin(client: RawClient, steps: list[int | str]) -> list[str]:
        async with client.request("POST", client.call(1, "count", steps=steps)) as response:
            events = frames(response)
            return [(await anext(events)).id for _ in range(2)]

    async def resumed(client: RawClient, cursor: str) -> list[Any]:
        async with client.request("GET", last_event_id=cursor) as response:
            return [frame.data async for frame in frames(response)]

    async def run(url: str) -> None:
        one, two = RawClient(url), RawClient(url)
        await asyncio.gather(one.initialize(), two.initialize())
        assert one.session_id != two.session_id
        cursors = await asyncio.gather(
            begin(one, [10, "gate", 11, 12]), begin(two, [20, "gate", 21, 22]))
        assert [cursor.split(".")[0] for cursor in cursors[0]] == [cursor.split(".")[0] for cursor in cursors[1]]
        open_gate(setup, "gate")
        for client, [first, second], numbers in [(one, cursors[0], [10, 11, 12]), (two, cursors[1], [20, 21, 22])]:
            for cursor, expected in [(first, numbers), (second, numbers[1:])]:
                *progresses, answer = await resumed(client, cursor)
                assert [message["params"]["progress"] for message in progresses] == expected
                assert answer["id"] == 1 and str(numbers[0]) in answer["result"]["structuredContent"]["result"]
        for client, others in [(one, cursors[1]), (two, cursors[0])]:
            for cursor in others:
                assert await resumed(client, cursor) == []

    with running(setup) as server:
        asyncio.run(run(server.url))


@pytest.mark.parametrize("flavor", FLAVORS)
def test_another_owner_is_told_that_there_is_no_such_session(setup: dict[str, Any], flavor: str) -> None:
    setup.update(flavor=flavor, auth=True)
    ping = {"jsonrpc": "2.0", "id": 5, "method": "ping"}

    async def refused(url: str, session_id: str | None) -> None:
        mallory = RawClient(url, token="bob", session_id=session_id)
        unknown = RawClient(url, token="bob", session_id="x" * 43)
        for method, message, headers in [
            ("POST", ping, {}), ("GET", None, {}), ("GET", None, {"last_event_id": "1.x.1"}), ("DELETE", None, {}),
        ]:
            async with mallory.request(method, message, **headers) as response:
                told = response.status_code, (await response.aread()).replace(b"x" * 43, b"")
            async with unknown.request(method, message, **headers) as response:
                assert told == (response.status_code, await response.aread())
            assert told[0] == 404
        assert await RawClient(url, session_id=session_id).status("POST", ping) == 401

    async def before(url: str) -> RawClient:
        alice = RawClient(url, token="alice")
        await alice.initialize()
        await refused(url, alice.session_id)
        return alice

    async def after(url: str, alice: RawClient) -> None:
        alice.url = url
        await refused(url, alice.session_id)  # while the server does not have it
        assert await alice.status("POST", ping) == 200
        await refused(url, alice.session_id)
        async with Store(setup["database"], binary=setup["binary"]) as store:
            assert alice.session_id is not None
            session = await store.get_session(alice.session_id)
            assert session is not None
            assert session["principal"] == '["test", "https://issuer.test", "alice"]'
            assert session["client_capabilities"] == {"roots": {}}
            assert session["metadata"]["initialize"]["protocolVersion"] == "2025-11-25"
            assert "tools" in session["server_capabilities"]

    with running(setup) as server:
        client = asyncio.run(before(server.url))
    with running(setup) as server:
        asyncio.run(after(server.url, client))


def test_a_session_that_is_deleted_can_be_kept(setup: dict[str, Any]) -> None:
    setup["sessions"] = {"resolve_on_delete": True}
    setup["store"] = {"retain_ended": "1h"}

    async def work(url: str) -> None:
        client = RawClient(url)
        await client.initialize()
        assert await client.status("DELETE") == 200
        assert await client.status("DELETE") == 404
        async with Store(setup["database"], binary=setup["binary"], options=setup["store"]) as store:
            assert (await store.session_count())["count"] == 0
            kept = (await store.list_sessions(include_ended=True))["sessions"]
            assert [session["status"] for session in kept] == ["resolved"]

    with running(setup) as server:
        asyncio.run(work(server.url))


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_deleted_session_stays_deleted(setup: dict[str, Any], flavor: str) -> None:
    setup["flavor"] = flavor

    async def before(url: str) -> list[RawClient]:
        clients = [RawClient(url) for _ in range(2)]
        for client in clients:
            await client.initialize()
        assert await clients[0].status("DELETE") == 200
        assert await clients[0].status("DELETE") == 404
        return clients

    async def after(url: str, clients: list[RawClient]) -> None:
        for client in clients:
            client.url = url
        assert await clients[0].status("GET") == 404
        assert await clients[1].status("DELETE") == 200  # after a restart too
        assert await clients[1].status("GET") == 404
        async with Store(setup["database"], binary=setup["binary"]) as store:
            assert (await store.session_count())["count"] == 0

    with running(setup) as server:
        clients = asyncio.run(before(server.url))
    with running(setup) as server:
        asyncio.run(after(server.url, clients))


def test_what_others_do_to_a_session_counts_at_once(setup: dict[str, Any]) -> None:
    async def run(url: str) -> None:
        async with Store(setup["database"], binary=setup["binary"]) as store:
            for end in (store.delete_session, store.invalidate_session, store.suspend_session, store.expire_session):
                client = RawClient(url)
                await client.initialize()
                assert client.session_id is not None
                assert await client.result(1, "count", steps=[]) == {"result": "counted []"}
                await end(client.session_id)
                for _ in range(2):
                    status = 403 if end == store.suspend_session else 404
                    assert await client.status("POST", client.call(2, "count", steps=[])) == status
            await store.resume_session((await store.list_sessions(status="suspended"))["sessions"][0]["session_id"])

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_nobody_may_use_what_is_not_his_own(setup: dict[str, Any]) -> None:
    setup["auth"] = True

    async def run(url: str) -> None:
        async with Store(setup["database"], binary=setup["binary"]) as store:
            info = {"name": "x", "version": ""}
            handshake = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
            session = await store.create_session(  # answers to everybody in the contract
                status="active", is_initialized=True, principal=None, metadata={"initialize": handshake})
            alice = RawClient(url, token="alice", session_id=session["session_id"])
            assert await alice.status("GET") == 404
            elsewhere = await store.create_session(
                status="active", is_initialized=True, principal='["test", "https://issuer.test", "alice"]',
                tenant_id="another server", metadata={"initialize": handshake})
            alice.session_id = elsewhere["session_id"]
            assert await alice.status("GET") == 404

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_a_manager_that_cannot_be_kept_is_refused() -> None:
    server: Any = Server("test")
    events = cast("Any", object())
    for options in ({"stateless": True}, {"event_store": events}):
        manager = StreamableHTTPSessionManager(server, **options)
        with pytest.raises(ValueError):
            DurableSessions(manager, Store(":memory:"))
    manager = StreamableHTTPSessionManager(server)
    DurableSessions(manager, Store(":memory:"))
    with pytest.raises(ValueError, match="already"):
        DurableSessions(manager, Store(":memory:"))


def test_the_sdk_is_what_this_relies_on() -> None:
    """Named here, so that it is plain what an SDK changed when the tests above fail."""
    manager: Any = StreamableHTTPSessionManager(Server("test"))
    assert isinstance(manager.asgi_app, RequestBodyLimitMiddleware)  # handle_request goes through this attribute
    assert manager._server_instances == {} and manager._session_owners == {}
    manager.event_store = object()
    transport = manager._admit_session({"client_id": "c", "issuer": None, "subject": None})
    assert manager._server_instances == {transport.mcp_session_id: transport}
    assert set(manager._session_owners) == {transport.mcp_session_id}
    assert transport._event_store is manager.event_store
    assert transport.idle_scope is None and not transport.is_terminated
    transport.close_sse_stream("1")
    source = inspect.getsource(StreamableHTTPSessionManager)
    assert "self._admit_session(requestor)" in source and "self.asgi_app(scope" in source
    assert "self.close_sse_stream(request_id)" in inspect.getsource(StreamableHTTPServerTransport)


def test_a_session_lives_as_long_as_it_is_used(setup: dict[str, Any]) -> None:
    setup["sessions"] = {"inactivity_timeout": 4}

    async def run(url: str) -> None:
        client = RawClient(url)
        await client.initialize()
        assert client.session_id is not None
        async with Store(setup["database"], binary=setup["binary"]) as store:

            async def session() -> Any:
                assert client.session_id is not None
                return await store.get_session(client.session_id)

            begun = (await session())["created_at"]
            async with client.request("GET") as response, asyncio.timeout(WAIT):
                assert response.status_code == 200
                while (await session())["last_activity"] < begun + 5_000:
                    await asyncio.sleep(0.1)
            async with asyncio.timeout(WAIT):
                while await session() is not None:
                    await asyncio.sleep(0.1)
        assert await client.status("GET") == 404

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_an_idle_session_that_the_manager_dropped_comes_back(setup: dict[str, Any]) -> None:
    setup["options"] = {"session_idle_timeout": 0.2}

    async def run(url: str) -> None:
        client = RawClient(url)
        await client.initialize()
        for request_id in range(1, 6):
            assert await client.result(request_id, "count", steps=[]) == {"result": "counted []"}
            await asyncio.sleep(0.5)  # in which the manager may drop it; it must not show whether it did

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_two_servers_serve_one_session(setup: dict[str, Any]) -> None:
    async def run(url: str, other: str) -> None:
        client = RawClient(url)
        await client.initialize()
        async with client.request("POST", client.call(1, "count", steps=[1, "gate", 2, 3])) as response:
            events = frames(response)
            await anext(events)
            cursor = (await anext(events)).id
        client.url = other
        async with client.request("GET", last_event_id=cursor) as response:
            open_gate(setup, "gate")
            *progresses, answer = [frame.data async for frame in frames(response)]
        assert [message["params"]["progress"] for message in progresses] == [2, 3]
        assert answer["id"] == 1 and "result" in answer
        assert await client.status("DELETE") == 200
        client.url = url
        assert await client.status("GET") == 404

    with running(setup) as server, running(setup) as other:
        asyncio.run(run(server.url, other.url))


def test_a_tool_may_close_its_stream_again_and_again(setup: dict[str, Any]) -> None:
    async def run(url: str) -> None:
        client = RawClient(url)
        await client.initialize()
        steps = [1, "a", "close", 2, "b", "close", 3, "c"]
        async with client.request("POST", client.call(1, "count", steps=steps)) as response:
            open_gate(setup, "a")
            seen = [frame async for frame in frames(response)]
        async with client.request("GET", last_event_id=seen[-1].id) as response:
            events = frames(response)
            seen.append(await anext(events))
            open_gate(setup, "b")
            seen += [frame async for frame in events]  # ends, though no answer came
        open_gate(setup, "c")
        async with client.request("GET", last_event_id=seen[-1].id) as response:
            seen += [frame async for frame in frames(response)]
        assert [progress(frame) for frame in seen[1:-1]] == [1, 2, 3]
        assert "result" in seen[-1].data

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_who_resumes_takes_the_stream_over(setup: dict[str, Any]) -> None:
    async def run(url: str) -> None:
        client = RawClient(url)
        await client.initialize()
        async with client.request("POST", client.call(1, "count", steps=[1, "gate", 2])) as first:
            old = frames(first)
            await anext(old)
            cursor = (await anext(old)).id
            async with client.request("GET", last_event_id=cursor) as second:
                assert [frame async for frame in old] == []  # ends, though no answer came
                async with client.request("GET", last_event_id=cursor) as third:
                    assert [frame async for frame in frames(second)] == []
                    open_gate(setup, "gate")
                    *progresses, answer = [frame async for frame in frames(third)]
            assert [progress(frame) for frame in progresses] == [2]
            assert "result" in answer.data

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_an_answer_that_is_too_large_to_keep_reaches_who_is_connected(setup: dict[str, Any]) -> None:
    setup["store"] = {"max_payload_bytes": 2_000}
    steps: list[int | str] = [1, *[2] * 1_000]

    async def run(url: str) -> None:
        client = RawClient(url)
        await client.initialize()
        assert await client.result(1, "count", steps=steps) == {"result": f"counted {steps}"}
        async with client.request("POST", client.call(2, "count", steps=[1, "gate", *steps])) as response:
            events = frames(response)
            await anext(events)
            cursor = (await anext(events)).id
        open_gate(setup, "gate")
        async with client.request("GET", last_event_id=cursor) as response:
            *_, answer = [frame.data async for frame in frames(response)]
        assert answer["id"] == 2 and "too large" in answer["error"]["message"]

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_what_the_server_refuses_leaves_no_session(setup: dict[str, Any]) -> None:
    setup["options"] = {"max_sessions": 1}
    setup["store"] = {"max_sessions": 2}
    initialize = {"jsonrpc": "2.0", "id": 0, "method": "initialize"}

    async def run(url: str) -> None:
        async with Store(setup["database"], binary=setup["binary"]) as store:

            async def sessions(count: int) -> None:
                async with asyncio.timeout(WAIT):
                    while (await store.session_count())["count"] != count:
                        await asyncio.sleep(0.01)

            client = RawClient(url)
            assert await client.status("POST", initialize, accept="text/plain") == 406
            assert await client.status("POST", initialize, host="evil.test") == 421
            ping = {"jsonrpc": "2.0", "id": 0, "method": "ping"}
            for message in (ping, [], 5, "initialize", {"method": "initialize"}):
                assert await client.status("POST", message) == 400
            await sessions(0)
            await client.initialize()
            await sessions(1)
            assert await RawClient(url).status("POST", initialize) == 503  # the manager has one already
            await sessions(1)
            await store.create_session(status="active")
            assert await RawClient(url).status("POST", initialize) == 503  # and so has the store
            for unknown in ("nobody", "x" * 300, "a b"):
                assert await RawClient(url, session_id=unknown).status("GET") == 404

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_without_its_store_a_server_says_so(setup: dict[str, Any]) -> None:
    async def run(server: ServerProcess) -> None:
        client = RawClient(server.url)
        await client.initialize()
        async with client.request("POST", client.call(1, "count", steps=[1, "gate", 2])) as response:
            events = frames(response)
            await anext(events)
            assert (await anext(events)).id != ""
            server.kill_child()
            open_gate(setup, "gate")
            rest = [frame async for frame in events]  # who is connected is served to the end
            assert [frame.data.get("id") for frame in rest] == [None, 1]
        for again in (client, RawClient(server.url, session_id="x" * 43), RawClient(server.url)):
            message = {"jsonrpc": "2.0", "id": 2, "method": "initialize"}
            async with again.request("POST", message) as response:
                assert response.status_code == 503
                assert "store" in (await response.aread()).decode()

    setup["client"] = {"restart": None}
    with running(setup) as server:
        asyncio.run(run(server))


def test_json_answers_survive_too(setup: dict[str, Any]) -> None:
    setup["options"] = {"json_response": True}

    async def call(client: RawClient) -> Any:
        async with client.request("POST", client.call(1, "whoami")) as response:
            return (await response.aread()).decode()

    async def before(url: str) -> RawClient:
        client = RawClient(url)
        info = {"name": "json client", "version": "1"}
        params = {"protocolVersion": client.version, "capabilities": {}, "clientInfo": info}
        async with client.request(
            "POST", {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        ) as response:
            client.session_id = response.headers["mcp-session-id"]
        return client

    async def after(url: str, client: RawClient) -> None:
        client.url = url
        assert "json client" in await call(client)

    with running(setup) as server:
        client = asyncio.run(before(server.url))
    with running(setup) as server:
        asyncio.run(after(server.url, client))


def test_many_requests_at_once_restore_a_session(setup: dict[str, Any]) -> None:
    async def before(url: str) -> RawClient:
        client = RawClient(url)
        await client.initialize()
        return client

    async def after(url: str, client: RawClient) -> None:
        client.url = url
        results = await asyncio.gather(*[client.result(number, "whoami") for number in range(20)])
        assert results == [{"client": "raw client", "session_id": client.session_id}] * 20

    with running(setup) as server:
        client = asyncio.run(before(server.url))
    with running(setup) as server:
        asyncio.run(after(server.url, client))


# --- Answers that are hard to keep, ids and handshakes of all kinds

def test_whatever_the_answer_is_who_is_connected_gets_it_and_who_resumes_gets_one(setup: dict[str, Any]) -> None:
    async def run(url: str) -> None:
        client, other = RawClient(url), RawClient(url)
        await asyncio.gather(client.initialize(), other.initialize())
        kinds = ("large", "deep", "number", "half", "plain")
        for kind, request_id in [(kind, request_id) for kind in kinds for request_id in (1, "one")]:
            call = client.call(request_id, "odd", kind=kind, gates=[])
            async with client.request("POST", call) as response:
                live = [line async for line in response.aiter_lines()]
            assert any('"result"' in line and ('"content"' in line) for line in live), [line[:200] for line in live]
            cursor = next(line.removeprefix("id: ") for line in live if line.startswith("id: "))
            async with client.request("GET", last_event_id=cursor) as response:
                *_, answer = [frame.data async for frame in frames(response)]
            assert answer["id"] == request_id and type(answer["id"]) is type(request_id)
            assert ("error" in answer) == (kind in ("large", "deep", "number")), str(answer)[:200]
            if "error" in answer:
                assert answer["error"]["code"] == -32603 and "kept" in answer["error"]["message"]
        assert await other.result(2, "count", steps=[]) == {"result": "counted []"}, "others notice nothing"
        assert await client.result(3, "count", steps=[]) == {"result": "counted []"}

    with running(setup) as server:
        asyncio.run(run(server.url))


IDS = (0, 1, -1, "", "1", "0", "-0", "1.0", "a b", "ü🙂", "_GET", "x" * 5_000, 2 ** 53 + 1, 10 ** 30, "null", "a.b%2Fc")


def test_request_ids_keep_their_type_and_value(setup: dict[str, Any]) -> None:
    async def run(url: str) -> None:
        client = RawClient(url)
        await client.initialize()
        for number, request_id in enumerate(IDS):
            call = client.call(request_id, "odd", kind="plain", gates=[f"gate {number}"])
            async with client.request("POST", call) as response:
                cursor = (await anext(frames(response))).id
            assert cursor
            open_gate(setup, f"gate {number}")
            async with client.request("GET", last_event_id=cursor) as response:
                assert response.status_code == 200
                [answer] = [frame.data async for frame in frames(response)]
            assert (answer["id"], type(answer["id"])) == (request_id, type(request_id))
            assert "result" in answer

    with running(setup) as server:
        asyncio.run(run(server.url))


def handshakes() -> dict[str, bytes]:
    def initialize(**more: Any) -> bytes:
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        return json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {**params, **more}}).encode()

    plain = initialize()

    def capable(text: str) -> bytes:
        more = b'"capabilities": {"experimental": {"x": {"y": %s}}}' % text.encode()
        return plain.replace(b'"capabilities": {}', more)

    return {
        "plain": plain, "spelled with escapes": plain.replace(b"initialize", b"initiali\\u007ae"),
        "infinite": capable("1e400"), "no number": capable("NaN"), "deep": capable("[" * 130 + "]" * 130),
        "too deep": capable("[" * 300 + "]" * 300), "half a pair": capable('"\\ud800"'),
        "huge number": capable("9" * 6_000), "large": capable('"' + "x" * 1_500_000 + '"'),
        "more members": initialize(unknown={"a": [1]}, _meta={"progressToken": 1}),
        "twice": plain.replace(b'"id": 0', b'"id": 0, "id": 5'), "text for an id": plain.replace(b": 0", b': "0"'),
        "null for an id": plain.replace(b'"id": 0', b'"id": null'), "no id": plain.replace(b'"id": 0, ', b""),
        "unknown version": initialize(protocolVersion="1999-01-01"), "no version": initialize(protocolVersion=None),
        "number for a version": initialize(protocolVersion=7), "unknown capabilities": capable("{}"),
        "no capabilities": initialize(capabilities=None),
        "no parameters": b'{"jsonrpc":"2.0","id":0,"method":"initialize"}',
        "a list for parameters": b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":[]}',
        "batch": b"[" + plain + b"]", "blanks": b" \n" + plain + b"\n",
        "byte order mark": b"\xef\xbb\xbf" + plain, "UTF-16": plain.decode().encode("utf-16"),
        "another method": plain.replace(b"initialize", b"Initialize"), "cut": plain[:-3], "nothing": b"",
    }


def test_odd_handshakes_are_answered_as_the_sdk_alone_answers_them(binary: Path, database: Path) -> None:
    async def answer(http: httpx.AsyncClient, body: bytes, session_id: str | None = None) -> Any:
        headers = {**HEADERS, "mcp-protocol-version": "2025-11-25"} if session_id else HEADERS
        if session_id:
            headers["mcp-session-id"] = session_id
        response = await http.post("/mcp", content=body, headers=headers)
        text = response.text
        made = response.headers.get("mcp-session-id")
        told = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")] or text
        return response.status_code, made, told if not made else str(told).replace(made, "")

    async def main() -> None:
        kept, alone = new_server(), new_server()
        ping = b'{"jsonrpc":"2.0","id":5,"method":"ping"}'
        async with (
            serving(streamable_http_app(kept, Store(database, binary=binary))) as address,
            serving(alone.streamable_http_app()) as other,
            httpx.AsyncClient(base_url=address, timeout=WAIT) as http, httpx.AsyncClient(base_url=other) as plain,
        ):
            for name, body in handshakes().items():
                here, there = await answer(http, body), await answer(plain, body)
                assert (here[0], here[1] is None, here[2]) == (there[0], there[1] is None, there[2]), name
                if here[1] is not None:
                    after = (await answer(http, ping, here[1]))[0], (await answer(plain, ping, there[1]))[0]
                    assert after[0] == after[1], (name, after)

    asyncio.run(asyncio.wait_for(main(), WAIT * 2))


def new_server(**options: Any) -> Any:
    try:
        from mcp.server.mcpserver import MCPServer
    except ImportError:
        from mcp.server.fastmcp import FastMCP as MCPServer  # type: ignore[no-redef]
    return MCPServer("test", **options)


def test_odd_handshakes_outlive_the_process_too(setup: dict[str, Any]) -> None:
    names = ("plain", "spelled with escapes", "infinite", "no number", "deep", "more members", "unknown version")

    async def before(url: str) -> list[str]:
        made = []
        async with httpx.AsyncClient() as http:
            for name in names:
                response = await http.post(url, content=handshakes()[name], headers=HEADERS)
                made.append(response.headers["mcp-session-id"])
        return made

    async def after(url: str, made: list[str]) -> None:
        for name, session_id in zip(names, made, strict=True):
            found = await RawClient(url, session_id=session_id).result(1, "whoami")
            assert found == {"client": "x", "session_id": session_id}, name

    with running(setup) as server:
        made = asyncio.run(before(server.url))
    with running(setup) as server:
        asyncio.run(after(server.url, made))


def test_the_handshake_that_was_agreed_on_last_is_restored(setup: dict[str, Any]) -> None:
    def initialize(name: str, **more: Any) -> dict[str, Any]:
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": name, "version": "1"}}
        return {"jsonrpc": "2.0", "id": "again", "method": "initialize", "params": {**params, **more}}

    async def before(client: RawClient) -> str:
        await client.initialize()
        for message in (initialize("second"), initialize("refused", clientInfo=None)):
            async with client.request("POST", message) as response:
                assert response.status_code == 200
                answer = [frame.data async for frame in frames(response)][-1]
            assert ("error" in answer) == (message["params"]["clientInfo"] is None)
        return (await client.result(1, "whoami"))["client"]

    async def after(client: RawClient, last: str) -> None:
        assert (await client.result(1, "whoami"))["client"] == last == "second"

    across_a_restart(setup, before, after)


def test_a_session_whose_handshake_the_server_refuses_now_is_not_taken_for_restored(
    binary: Path, database: Path
) -> None:
    from mcp.server.lowlevel import server as lowlevel

    if not hasattr(lowlevel.Server("x"), "middleware"):
        pytest.skip("version 1 has nothing that refuses a handshake")
    from mcp.shared.exceptions import MCPError

    is_down = False

    async def licence(ctx: Any, call_next: Any) -> Any:
        if ctx.method == "initialize" and is_down:
            raise MCPError(code=-32603, message="The licence server is not there.")
        return await call_next(ctx)

    async def main() -> None:
        nonlocal is_down
        client = RawClient("")
        for life in range(2):
            server = new_server(middleware=[licence])
            app = streamable_http_app(server, Store(database, binary=binary))
            async with serving(app) as address:
                client.url = address + "/mcp"
                ping = {"jsonrpc": "2.0", "id": 5, "method": "ping"}
                if life == 0:
                    is_down = True
                    refused = RawClient(client.url)
                    with pytest.raises(KeyError):
                        await refused.initialize()  # with an error, and a session that can try again
                    assert refused.session_id is not None
                    is_down = False
                    await client.initialize()
                    is_down = True
                    continue
                assert await client.status("POST", ping) == 503
                assert await client.status("POST", ping) == 503
                is_down = False
                assert await client.status("POST", ping) == 200

    asyncio.run(asyncio.wait_for(main(), WAIT))


# --- One message, one connection; what is over is not served

def test_two_standalone_streams_are_never_served_at_once(setup: dict[str, Any]) -> None:
    async def run(url: str) -> None:
        client = RawClient(url)
        await client.initialize()
        async with client.request("GET") as plain:
            assert plain.status_code == 200 and await client.status("GET") == 409
            await client.result(1, "notify", count=1)
            old = frames(plain)
            cursor = (await anext(old)).id
            async with client.request("GET", last_event_id=cursor) as resumed:
                assert resumed.status_code == 200
                assert [frame async for frame in old] == []  # it ends
                assert await client.status("GET") == 409
                await client.result(2, "notify", count=3)
                events = frames(resumed)
                seen = [(await anext(events)).data["params"]["uri"] for _ in range(3)]
                assert seen == ["test://0", "test://1", "test://2"]
        async with asyncio.timeout(WAIT):
            while await client.status("GET") == 409:
                await asyncio.sleep(0.01)

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_a_storm_of_reconnects_loses_and_doubles_nothing(setup: dict[str, Any]) -> None:
    """Several streams of several sessions, whose connections are cut again and again, two of which resume at once."""
    count = 60

    async def stream(client: RawClient, request_id: int, chance: random.Random) -> None:
        cursor, seen, answer = "", [], None
        steps = [step for number in range(count) for step in (number, f"pause {number % 7}")]
        request: Any = client.request("POST", client.call(request_id, "count", steps=steps))
        while answer is None:
            async with request as response:
                assert response.status_code == 200, await response.aread()
                left = chance.randrange(1, 12)
                async for frame in frames(response):
                    cursor = frame.id or cursor
                    if frame.data is not None and "method" in frame.data:
                        seen.append(progress(frame))
                    elif frame.data is not None:
                        answer = frame.data
                    left -= 1
                    if left == 0:
                        break
            if chance.random() < 0.3:  # one that never reads: the next takes the stream over
                rival = asyncio.ensure_future(client.status("GET", last_event_id=cursor))
                await asyncio.sleep(chance.random() * 0.01)
                rival.cancel()
            request = client.request("GET", last_event_id=cursor)
        assert seen == list(range(count)) and answer["id"] == request_id and "result" in answer

    async def run(url: str) -> None:
        clients = [RawClient(url) for _ in range(3)]
        await asyncio.gather(*[client.initialize() for client in clients])
        await asyncio.gather(*[
            stream(client, request_id, random.Random(f"{number} {request_id}"))
            for number, client in enumerate(clients) for request_id in (1, 2)])

    for number in range(7):
        open_gate(setup, f"pause {number}")
    with running(setup) as server:
        asyncio.run(asyncio.wait_for(run(server.url), WAIT * 2))


@pytest.mark.parametrize("end", ["delete_session", "invalidate_session", "expire_session"])
def test_open_streams_end_with_their_session(setup: dict[str, Any], end: str) -> None:
    async def run(url: str) -> None:
        client = RawClient(url)
        await client.initialize()
        assert client.session_id is not None
        async with Store(setup["database"], binary=setup["binary"]) as store:
            async with client.request("POST", client.call(1, "count", steps=[1, "never"])) as first:
                cursor = ""
                async for frame in frames(first):
                    cursor = frame.id
                    if frame.data is not None:
                        break
            async with (
                client.request("GET") as plain, client.request("GET", last_event_id=cursor) as resumed,
                client.request("POST", client.call(2, "count", steps=["never"])) as posted,
            ):
                ends = [asyncio.ensure_future(each.aread()) for each in (plain, resumed, posted)]
                await asyncio.sleep(0.5)
                assert not any(each.done() for each in ends)
                begun = asyncio.get_running_loop().time()
                await getattr(store, end)(client.session_id)
                await asyncio.wait_for(asyncio.gather(*ends), WAIT)
                assert asyncio.get_running_loop().time() - begun < 10  # one, on a machine that has the time
        assert await client.status("GET") == 404

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_what_a_client_sends_is_never_told_as_an_outage(setup: dict[str, Any]) -> None:
    async def run(url: str) -> None:
        client, other = RawClient(url), RawClient(url)
        await asyncio.gather(client.initialize(), other.initialize())
        async with other.request("POST", other.call(1, "odd", kind="plain", gates=[])) as response:
            foreign = (await anext(frames(response))).id
        for cursor in (foreign, "x", "1", "0." + foreign.partition(".")[2], "9" * 5_000, "%", "1..", "1.%ff.%ff",
                       "ü", "x" * 30_000, f"{foreign}0", f"{'9' * 15}.{foreign.partition('.')[2]}"):
            for who in (client, RawClient(url, session_id="unknown")):
                encoded: Any = cursor.encode("latin-1")
                async with who.request("GET", last_event_id=encoded) as response:
                    assert response.status_code == (400 if who is client else 404), cursor[:50]
        for session_id in ("x" * 30_000, "ü", "a b", "", "\x7f"):
            async with httpx.AsyncClient() as http:
                named = {**HEADERS, "mcp-session-id": session_id.encode("latin-1")}
                response = await http.post(url, json={}, headers=named)  # type: ignore[arg-type]
                assert response.status_code == 404
        assert await client.result(3, "count", steps=[]) == {"result": "counted []"}

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_of_two_servers_the_other_waits_for_work_and_tells_when_it_is_gone(setup: dict[str, Any]) -> None:
    async def begin(client: RawClient) -> str:
        await client.initialize()
        async with client.request("POST", client.call("17", "count", steps=[1, "never"])) as response:
            events = frames(response)
            await anext(events)
            return (await anext(events)).id

    async def resume(client: RawClient, cursor: str, server: ServerProcess) -> None:
        async with client.request("GET", last_event_id=cursor) as response:
            answer = asyncio.ensure_future(anext(frames(response)))
            await asyncio.wait([answer], timeout=1)
            assert not answer.done(), "the first server works on it"
            server.kill()
            told = (await answer).data
        assert told["id"] == "17" and "restarted" in told["error"]["message"]

    with running(setup) as server, running(setup) as other:
        client = RawClient(server.url)
        cursor = asyncio.run(begin(client))
        client.url = other.url
        asyncio.run(resume(client, cursor, server))


def test_a_server_whose_manager_does_not_run_says_how_to_mount_it(binary: Path, database: Path) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    async def main() -> None:
        async with Store(database, binary=binary) as store:
            inner = streamable_http_app(new_server(), store)
            transport = httpx.ASGITransport(Starlette(routes=[Mount("/", inner)]))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
                with pytest.raises(RuntimeError, match="lifespan"):
                    await http.post("/mcp", content=handshakes()["plain"], headers=HEADERS)
            assert (await store.session_count())["count"] == 0

    asyncio.run(main())


def test_what_cannot_be_served_gets_a_sentence(binary: Path) -> None:
    store = Store(":memory:", binary=binary)
    with pytest.raises(TypeError, match="fastmcp"):
        streamable_http_app(object(), store)
    if find_spec("fastmcp"):
        from fastmcp import FastMCP

        from mcp_session_store.fastmcp_events import http_app

        for options, said in (({"transport": "sse"}, "sse"), ({"stateless_http": True}, "stateless"),
                              ({"event_store": object()}, "event_store")):
            with pytest.raises(ValueError, match=said):
                http_app(FastMCP("test"), store, **options)


def test_an_sdk_that_has_changed_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    server: Any = Server("test")
    for name in ("_admit_session", "_server_instances"):
        manager: Any = StreamableHTTPSessionManager(server)
        if name == "_admit_session":
            monkeypatch.delattr(StreamableHTTPSessionManager, name)
        else:
            del manager._server_instances
        with pytest.raises(UnsupportedSDK, match="pip install mcp==") as told:
            DurableSessions(manager, Store(":memory:"))
        assert name in str(told.value) and "EventStore" in str(told.value)
        monkeypatch.undo()


def test_a_cancelled_request_is_answered_to_whoever_resumes(setup: dict[str, Any]) -> None:
    async def run(url: str) -> None:
        client = RawClient(url)
        await client.initialize()
        async with client.request("POST", client.call(1, "count", steps=[1, "never"])) as response:
            events = frames(response)
            await anext(events)
            cursor = (await anext(events)).id
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        assert await client.status("POST", cancel) == 202
        async with asyncio.timeout(WAIT), client.request("GET", last_event_id=cursor) as response:
            [answer] = [frame.data async for frame in frames(response)]
        assert answer["id"] == 1 and "cancelled" in answer["error"]["message"]
        assert await client.result(2, "count", steps=[]) == {"result": "counted []"}

    with running(setup) as server:
        asyncio.run(run(server.url))


def test_a_client_that_hangs_up_in_the_middle_of_a_body_leaves_nothing_behind(setup: dict[str, Any]) -> None:
    async def cut(port: int, body: bytes, *more: str) -> None:
        head = ["POST /mcp HTTP/1.1", f"host: 127.0.0.1:{port}", *map(": ".join, HEADERS.items()),
                f"content-length: {len(body)}", *more]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write("\r\n".join([*head, "", ""]).encode() + body[:-5])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()

    async def run(server: ServerProcess) -> None:
        client = RawClient(server.url)
        await client.initialize()
        call = json.dumps(client.call(1, "count", steps=[1])).encode()
        for _ in range(5):
            await cut(server.port, handshakes()["plain"])
            await cut(server.port, call, f"mcp-session-id: {client.session_id}", "mcp-protocol-version: 2025-11-25")
        assert await client.result(2, "count", steps=[]) == {"result": "counted []"}
        async with Store(setup["database"], binary=setup["binary"]) as store, asyncio.timeout(WAIT):
            while (await store.session_count())["count"] != 1:
                await asyncio.sleep(0.01)

    with running(setup) as server:
        asyncio.run(run(server))


@pytest.mark.parametrize("flavor", FLAVORS)
def test_all_of_it_works_where_owners_are_required(setup: dict[str, Any], flavor: str) -> None:
    setup.update(flavor=flavor, auth=True, store={"require_owner": True}, sessions={"tenant_id": "north"})

    async def before(client: RawClient) -> str:
        client.token = "alice"
        await client.initialize()
        async with client.request("GET") as stream, client.request(
            "POST", client.call(1, "count", steps=[1, "never"])
        ) as response:
            assert stream.status_code == 200
            events = frames(response)
            await anext(events)
            await asyncio.sleep(0.5)  # in which the session begins to be watched
            return (await anext(events)).id

    async def after(client: RawClient, last: str) -> None:
        async with client.request("GET", last_event_id=last) as response:
            [answer] = [frame.data async for frame in frames(response)]
        assert "restarted" in answer["error"]["message"]
        assert (await client.result(2, "whoami"))["client"] == "raw client"
        assert await client.status("DELETE") == 200

    across_a_restart(setup, before, after)
