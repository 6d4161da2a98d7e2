"""Sessions of the Streamable HTTP transport as ASGI middleware, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_server import serving
from mcp.server.mcpserver import MCPServer
from mcp_session_store import Store
from mcp_session_store.contract import SessionNotFound
from mcp_session_store.http_sessions import HTTPSessions, Owner, RateLimit
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.authentication import BaseUser
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

ACCEPT = {"Accept": "application/json, text/event-stream"}


def owner(scope: Any) -> Owner:
    """Who the headers say it is, as whatever authenticates would have found out."""
    headers = Request(scope).headers
    return Owner(headers.get("x-user"), headers.get("x-tenant"))


class Endpoint:
    """An MCP endpoint of few words: it gives out ids, echoes bodies and streams."""

    def __init__(self) -> None:
        self.gives = "session-1"
        self.delete_status = 200
        self.bodies: list[bytes] = []
        self.go_on = asyncio.Event()

    def app(self, store: Store, **options: Any) -> Starlette:
        routes = [
            Route("/mcp", self.post, methods=["POST"]), Route("/mcp", self.get, methods=["GET"]),
            Route("/mcp", self.delete, methods=["DELETE"]), Route("/other", self.other),
        ]
        middleware = [Middleware(HTTPSessions, store=store, owner=owner, **options)]  # type: ignore[arg-type]
        return Starlette(routes=routes, middleware=middleware)

    async def post(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        new = "mcp-session-id" not in request.headers
        return JSONResponse({"length": len(self.bodies[-1])}, headers={"Mcp-Session-Id": self.gives} if new else {})

    async def get(self, request: Request) -> Response:

        async def events() -> AsyncIterator[str]:
            yield "data: first\n\n"
            await self.go_on.wait()
            yield "data: second\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def delete(self, request: Request) -> Response:
        return Response(status_code=self.delete_status)

    async def other(self, request: Request) -> Response:
        return PlainTextResponse("other")


def run(
    binary: Path, database: Path, work: Callable[[Endpoint, Store, httpx.AsyncClient], Awaitable[None]],
    **options: Any,
) -> None:
    """Does the work with an endpoint behind the middleware."""

    async def main() -> None:
        endpoint = Endpoint()
        async with Store(database, binary=binary, options={"require_owner": True, "retain_ended": "1h"}) as store:
            async with serving(endpoint.app(store, **options)) as address:
                async with httpx.AsyncClient(base_url=address, timeout=60) as http:
                    await work(endpoint, store, http)

    asyncio.run(asyncio.wait_for(main(), 120))


def headers(session_id: str | None = None, user: str | None = None, tenant: str | None = None) -> dict[str, str]:
    named = {"Mcp-Session-Id": session_id, "x-user": user, "x-tenant": tenant}
    return {name: value for name, value in named.items() if value is not None}


# --- Who may pass

def test_a_session_is_made_touched_and_deleted_with_what_the_server_answers(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        async def session() -> Any:
            return await store.get_session("session-1", principal="alice", tenant_id="north")

        alice = headers(user="alice", tenant="north")
        assert (await http.post("/mcp", headers=alice, json={})).headers["mcp-session-id"] == "session-1"
        made = await session()
        assert (made["status"], made["principal"], made["tenant_id"]) == ("active", "alice", "north")
        alice["Mcp-Session-Id"] = "session-1"
        while (await session())["last_activity"] == made["last_activity"]:
            assert (await http.post("/mcp", headers=alice, json={})).status_code == 200
        endpoint.delete_status = 405
        assert (await http.delete("/mcp", headers=alice)).status_code == 405
        assert await session() is not None, "what the server keeps stays"
        endpoint.delete_status = 204
        assert (await http.delete("/mcp", headers=alice)).status_code == 204
        assert await session() is None
        assert (await http.delete("/mcp", headers=alice)).status_code == 404

    run(binary, database, work)


def test_a_session_that_is_deleted_can_be_kept(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        alice = headers(user="alice", tenant="north")
        assert (await http.post("/mcp", headers=alice, json={})).headers["mcp-session-id"] == "session-1"
        alice["Mcp-Session-Id"] = "session-1"
        assert (await http.delete("/mcp", headers=alice)).is_success
        kept = await store.get_session("session-1", principal="alice", tenant_id="north", include_ended=True)
        assert kept is not None and kept["status"] == "resolved" and kept["ended_at"] is not None
        assert await store.get_session("session-1", principal="alice", tenant_id="north") is None
        assert (await http.post("/mcp", headers=alice, json={})).status_code == 404

    run(binary, database, work, resolve_on_delete=True)


def test_whatever_is_no_session_of_the_caller_gets_the_same_404(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        alice = {"principal": "alice", "tenant_id": None}
        await store.create_session(session_id="hers", status="active", principal="alice", tenant_id="north")
        await store.create_session(session_id="short", status="active", ttl=1, **alice)
        await store.create_session(session_id="invalid", status="active", **alice)
        await store.invalidate_session("invalid", **alice)
        await store.create_session(session_id="suspended", status="active", **alice)
        await store.suspend_session("suspended", **alice)
        while await store.get_session("short", **alice) is not None:
            await asyncio.sleep(0.01)
        refused = [
            headers("unknown", "alice"), headers("short", "alice"), headers("invalid", "alice"),
            headers("suspended", "bob"), headers("hers", "bob", "north"), headers("hers"), headers("hers", "alice"),
            headers("hers", "alice", "south"), headers("hers", None, "north"), headers("with blank", "alice"),
            headers("ü", "alice"), headers("x" * 5_000, "alice"), headers("", "alice"),
        ]
        bodies = set()
        for each in refused:
            encoded = {name: value.encode("latin-1") for name, value in each.items()}
            for method in ("GET", "POST", "DELETE"):
                answer = await http.request(method, "/mcp", headers=encoded)
                assert answer.status_code == 404, (method, each)
                bodies.add(answer.text)
        assert endpoint.bodies == [], "the server saw none of them"
        assert [json.loads(body) for body in bodies] == [{"jsonrpc": "2.0", "id": None, "error": {
            "code": 1003, "message": "There is no such session; initialize a new one.",
            "data": {"kind": "session_expired", "retry": "re-initialize"},
        }}]
        assert (await http.post("/mcp", headers=headers("hers", "alice", "north"))).status_code == 200
        answer = await http.post("/mcp", headers=headers("suspended", "alice"))
        assert answer.status_code == 403 and "suspended" in answer.json()["error"]["message"]
        await store.resume_session("suspended", **alice)
        assert (await http.post("/mcp", headers=headers("suspended", "alice"))).status_code == 200

    run(binary, database, work)


def test_an_id_that_is_said_twice_is_refused(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        for session_id in ("hers", "his"):
            await store.create_session(session_id=session_id, status="active", principal=None, tenant_id=None)
        twice = [("Mcp-Session-Id", "hers"), ("Mcp-Session-Id", "his")]
        assert (await http.post("/mcp", headers=twice)).status_code == 400
        assert endpoint.bodies == []

    run(binary, database, work)


def test_what_is_not_meant_passes_by(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        assert (await http.get("/other", headers=headers("unknown"))).text == "other"
        assert (await http.options("/mcp", headers=headers("unknown"))).status_code == 405
        assert (await http.get("/mcp/", headers=headers("unknown"))).status_code == 404

    run(binary, database, work)


# --- However it is mounted

def reached(path: str) -> Route:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("reached")

    return Route(path, endpoint, methods=["GET", "HEAD", "POST", "DELETE", "PUT"])


def mounted(store: Store) -> dict[str, tuple[Any, dict[str, Any], list[str]]]:
    """Ways to serve an endpoint behind the middleware: the application, uvicorn's options, and the paths that reach."""
    around: Any = Middleware(HTTPSessions, store=store)  # type: ignore[arg-type]

    def inner(at: str = "/mcp", **options: Any) -> Starlette:
        return Starlette(routes=[reached(at)], middleware=[
            Middleware(HTTPSessions, store=store, **options)])  # type: ignore[arg-type]

    outer = Starlette(routes=[Mount("/v1", Mount("/v2", Starlette(routes=[reached("/mcp")])))], middleware=[around])
    sub, api, deep = FastAPI(), FastAPI(), FastAPI()
    for each in (sub, api):
        each.add_route("/mcp", reached("/mcp").endpoint, methods=["GET", "HEAD", "POST", "DELETE", "PUT"])
        each.add_middleware(HTTPSessions, store=store)
    deep.mount("/sub", sub)

    async def whatever(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("reached")(scope, receive, send)

    below = Starlette(routes=[Mount("/mcp", whatever)], middleware=[around])
    return {
        "plain": (inner(), {}, ["/mcp"]),
        "behind --root-path": (inner(), {"root_path": "/api"}, ["/mcp"]),
        "mounted": (Starlette(routes=[Mount("/v1", inner())]), {}, ["/v1/mcp", "/v1%2Fmcp"]),
        "mounted behind --root-path": (Starlette(routes=[Mount("/v1", inner())]), {"root_path": "/a/b"}, ["/v1/mcp"]),
        "around what is mounted": (outer, {}, ["/v1/v2/mcp", "/v1/v2/%6dcp"]),
        "at the root of a mount": (Starlette(routes=[Mount("/mcp", inner("/", path="/"))]), {}, ["/mcp/"]),
        "all that is below a mount": (below, {}, ["/mcp", "/mcp/", "/mcp/messages", "/mcp//x", "/mcp/%2e%2e/mcp"]),
        "FastAPI below FastAPI": (deep, {}, ["/sub/mcp"]),
        "FastAPI with a root path": (api, {"root_path": "/api"}, ["/mcp"]),
        "anything at all": (HTTPSessions(whatever, store, path=None), {}, ["/", "/x", "//"]),
        "a host of its own ways": (HTTPSessions(whatever, store), {}, [
            "/mcp", "//mcp", "/mcp/", "/mcp//", "/x/../mcp", "/./mcp", "/MCP", "/x//mcp", "/%256dcp", "/mcp%2F"]),
    }


def test_no_way_to_mount_it_lets_unknown_sessions_through(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary, options={"require_owner": True}) as store:
            known = (await store.create_session(status="active", principal=None, tenant_id=None))["session_id"]
            for name, (app, options, paths) in mounted(store).items():
                async with serving(app, **options) as address, httpx.AsyncClient(timeout=60) as http:
                    for path in paths:
                        for method in ("POST", "GET", "HEAD", "PUT", "DELETE"):
                            answer = await http.request(method, address + path, headers=headers("made-up"))
                            assert answer.status_code == 404 and answer.text != "reached", (name, method, path)
                            assert "application/json" in answer.headers["content-type"], (name, method, path)
                        answer = await http.post(address + path, headers=headers(known), follow_redirects=True)
                        assert answer.text == "reached", (name, path)

    asyncio.run(asyncio.wait_for(main(), 120))


@pytest.mark.parametrize("root", ["/m", "/mc", "/mcp", "mcp", "/", "//", "/api/", None, "/v1"])
def test_a_root_path_that_is_none_opens_nothing(root: str | None, binary: Path, database: Path) -> None:
    async def reached(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("reached")

    async def main() -> None:
        async with Store(database, binary=binary) as store:
            sessions = HTTPSessions(reached, store)

            async def rooted(scope: Any, receive: Any, send: Any) -> None:
                await sessions({**scope, "root_path": root} if root is not None else scope, receive, send)

            async with httpx.AsyncClient(transport=httpx.ASGITransport(rooted), base_url="http://test") as http:
                for path in ("/mcp", "/mcp/x", "/v1/mcp", "/mcp/mcp"):
                    assert (await http.post(path, headers=headers("made-up"))).status_code == 404

    asyncio.run(asyncio.wait_for(main(), 120))


def test_other_protocols_and_paths(binary: Path, database: Path) -> None:
    async def main() -> None:
        seen: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["type"])

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async with Store(database, binary=binary) as store:
            told: list[Any] = []

            async def send(message: Any) -> None:
                told.append(message)

            sessions = HTTPSessions(app, store)
            await sessions({"type": "lifespan"}, receive, send)
            socket = {"type": "websocket", "path": "/v1/mcp", "headers": [(b"Mcp-Session-Id", b"made-up")]}
            await sessions(socket, receive, send)
            assert seen == ["lifespan"] and told[0]["type"] == "websocket.close" and told[0]["code"] == 1008
            await sessions({**socket, "headers": []}, receive, send)
            for path in ("/", "/mcpx", "/other/mcp2", "/xmcp"):
                await sessions({**socket, "path": path}, receive, send)
            assert seen == ["lifespan", *["websocket"] * 5]

    asyncio.run(asyncio.wait_for(main(), 120))


# --- Whose fault it is

class Unsure(BaseUser):
    """Somebody of whom only the middleware that authenticates knows."""

    is_authenticated = True
    identity = "alice"
    display_name = "Alice"


def test_who_is_authenticated_is_the_owner_where_nobody_says_another(binary: Path, database: Path) -> None:
    class Token:
        client_id, subject, claims = "client", "alice", {"iss": "issuer"}

    async def main() -> None:
        users: list[Any] = [None, Unsure(), type("User", (), {"access_token": Token()})()]

        async def app(scope: Any, receive: Any, send: Any) -> None:
            new = {"Mcp-Session-Id": f"session-{users.index(scope['user'])}"}
            await PlainTextResponse("reached", headers=new)(scope, receive, send)

        async with Store(database, binary=binary, options={"require_owner": True}) as store:
            who = 0
            sessions = HTTPSessions(app, store)

            async def authenticating(scope: Any, receive: Any, send: Any) -> None:
                await sessions({**scope, "user": users[who]}, receive, send)

            transport = httpx.ASGITransport(authenticating)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                for who in range(3):
                    assert (await http.post("/mcp")).status_code == 200
                for who in range(3):
                    told = [(await http.post("/mcp", headers=headers(f"session-{other}"))).status_code
                            for other in range(3)]
                    # What belongs to nobody answers to whoever knows its id.
                    assert told == [200, 200 if who == 1 else 404, 200 if who == 2 else 404]
            principals = {name: (await store.get_session(f"session-{number}", principal=name, tenant_id=None))
                          for number, name in ((1, "alice"), (2, '["client", "issuer", "alice"]'))}
            assert all(session and session["principal"] == name for name, session in principals.items())

    asyncio.run(asyncio.wait_for(main(), 120))


def failing(scope: Any) -> Owner:
    raise KeyError("user")


async def later(scope: Any) -> Owner:
    await asyncio.sleep(0)
    return Owner("alice")


@pytest.mark.parametrize("function, status", [
    (failing, 500), (lambda scope: None, 500), (lambda scope: Owner(""), 500), (lambda scope: Owner("p" * 1_025), 500),
    (lambda scope: Owner("\ud800"), 500), (lambda scope: Owner(7), 500), (later, 404),  # type: ignore[arg-type]
], ids=["raises", "gives nothing", "empty", "too long", "no text", "number", "async"])
def test_a_failure_of_the_hosts_function_is_told_as_that(
    function: Any, status: int, binary: Path, database: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("reached")

    async def main() -> None:
        async with Store(database, binary=binary, options={"require_owner": True}) as store:
            transport = httpx.ASGITransport(HTTPSessions(app, store, owner=function))
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                answer = await http.post("/mcp", headers=headers("made-up"))
                assert answer.status_code == status
                assert "store" not in answer.text and "KeyError" not in answer.text and "user" not in answer.text

    asyncio.run(asyncio.wait_for(main(), 120))
    said = [record.getMessage() for record in caplog.records if record.name == "mcp_session_store"]
    assert ["`owner`" in line for line in said] == ([True] if status == 500 else [])


def test_what_is_sent_is_never_told_as_an_outage(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        deep = b"[" * 5_000 + b"]" * 5_000
        for body in (b'{"text":"x\\ud800y"}', b'{"n":' + b"9" * 6_000 + b"}", b'{"n":1e400}', deep, b'"\\',
                     b'"' * 99_999, b'{"a":"b","a":"c"}', '{"text":"\u2028\u0130"}'.encode(),
                     '"text"'.encode("utf-16")):
            assert (await http.post("/mcp", content=body)).status_code == 200, body[:40]
        hidden = b'"<script>x</script>"'
        for body in (b'{"n":' + b"9" * 6_000 + b',"a":' + hidden + b"}", b"[" * 5_000 + hidden + b"]" * 5_000,
                     b'{"a":' + hidden + b',"a":"b"}', hidden[:-1], hidden.decode().encode("utf-16"), b"," + hidden):
            assert (await http.post("/mcp", content=body)).status_code == 400, body[:40]

    run(binary, database, work, max_text=200_000, creates=False)


def test_a_server_that_opens_more_than_there_may_be(binary: Path, database: Path) -> None:
    async def main() -> None:
        endpoint = Endpoint()
        async with Store(database, binary=binary, options={"max_sessions": 1}) as store:
            async with serving(endpoint.app(store)) as address, httpx.AsyncClient(base_url=address) as http:
                assert (await http.post("/mcp")).status_code == 200
                endpoint.gives = "session-2"
                answer = await http.post("/mcp")
                assert answer.status_code == 503 and answer.json()["error"]["data"]["kind"] == "max_sessions_reached"
                for wrong in ("with blank", "x" * 300):
                    endpoint.gives = wrong
                    assert (await http.post("/mcp")).status_code == 500

    asyncio.run(asyncio.wait_for(main(), 120))


# --- What the server gives out

def test_an_id_that_is_taken_is_given_out_only_to_whom_it_belongs(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        await store.create_session(session_id="session-1", status="active", principal="alice", tenant_id=None)
        assert (await http.post("/mcp", headers=headers(user="alice"))).headers["mcp-session-id"] == "session-1"
        answer = await http.post("/mcp", headers=headers(user="bob"))
        assert answer.status_code == 500 and "mcp-session-id" not in answer.headers
        assert answer.json()["error"]["data"]["kind"] == "internal_error", "it is the server that failed"

    run(binary, database, work)


def test_a_server_may_make_its_sessions_itself(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        assert (await http.post("/mcp")).headers["mcp-session-id"] == "session-1"
        with pytest.raises(SessionNotFound):
            await store.touch_session("session-1", principal=None, tenant_id=None)

    run(binary, database, work, creates=False)


def test_a_stream_is_not_held_back(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        async with http.stream("GET", "/mcp") as answer:
            pieces = answer.aiter_text()
            assert await anext(pieces) == "data: first\n\n"
            endpoint.go_on.set()  # the server says the second only after the first has arrived
            assert await anext(pieces) == "data: second\n\n"

    run(binary, database, work, max_text=10_000)


@pytest.mark.parametrize("end", ["delete_session", "invalidate_session", "expire_session"])
def test_a_stream_ends_with_its_session(end: str, binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        alice: Any = {"principal": "alice", "tenant_id": None}
        await store.create_session(session_id="hers", status="active", **alice)
        async with http.stream("GET", "/mcp", headers=headers("hers", "alice")) as answer:
            pieces = answer.aiter_text()
            assert await anext(pieces) == "data: first\n\n"
            while (await store.get_metrics())["subscriptions"] == 0:
                await asyncio.sleep(0.01)
            begun = asyncio.get_running_loop().time()
            await getattr(store, end)("hers", **alice)
            assert [piece async for piece in pieces] == []
            assert asyncio.get_running_loop().time() - begun < 10  # one, on a machine that has the time
        assert (await http.get("/mcp", headers=headers("hers", "alice"))).status_code == 404
        while (await store.get_metrics())["subscriptions"] > 0:
            await asyncio.sleep(0.01)

    run(binary, database, work)


def test_a_session_lives_as_long_as_its_stream_is_open(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        nobody: Any = {"principal": None, "tenant_id": None}
        made = await store.create_session(session_id="s", status="active", inactivity_timeout=3_000, **nobody)
        async with http.stream("GET", "/mcp", headers=headers("s")):
            while (session := await store.get_session("s", **nobody)) is not None:
                if session["last_activity"] > made["created_at"] + 4_000:
                    return
                await asyncio.sleep(0.05)
        raise AssertionError("it lapsed")

    run(binary, database, work)


def test_a_store_that_is_gone_is_a_503(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        await store.close()
        answer = await http.post("/mcp", headers=headers("session-1"))
        assert answer.status_code == 503 and answer.headers["retry-after"] == "1" and endpoint.bodies == []
        answer = await http.post("/mcp")
        assert answer.status_code == 503 and "mcp-session-id" not in answer.headers

    run(binary, database, work)


# --- How often, and what

def test_too_many_requests_of_one_owner(binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        async def statuses(count: int, **named: str) -> list[int]:
            return [(await http.post("/mcp", headers=headers(**named))).status_code for _ in range(count)]

        await store.create_session(session_id="session-1", status="active", principal=None, tenant_id=None)
        endpoint.gives = "session-1"
        for named in ({}, {"user": "alice"}, {"user": "alice", "tenant": "north"}, {"user": "u" * 1_000}):
            if named:
                endpoint.gives = f"session-{len(str(named))}"
            assert await statuses(4, **named) == [200, 200, 200, 429]
        refused = await http.post("/mcp", headers=headers(user="alice"))
        # a burst of three, then one every hour
        wait = refused.json()["error"]["data"]["retryAfterMs"]
        assert 3_500_000 < wait <= 3_600_000 and abs(int(refused.headers["retry-after"]) - wait / 1_000) < 1
        assert refused.json()["error"]["data"]["kind"] == "rate_limit_exceeded"
        assert (await http.get("/other", headers=headers(user="alice"))).status_code == 200

    run(binary, database, work, rate_limit=RateLimit(limit=3, window=3 * 3_600_000))


@pytest.mark.parametrize("argument, reason", [
    ("<script>alert(1)</script>", "script"), ("see javascript:alert(1)", "script"), ("bell \x07", "control_character"),
    ("x" * 2_000, "too_large"),
], ids=["script", "address", "control", "large"])
def test_input_is_screened_wherever_it_stands(argument: str, reason: str, binary: Path, database: Path) -> None:
    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        await store.create_session(session_id="session-1", status="active", principal=None, tenant_id=None)
        for arguments in ({"text": argument}, {"list": [1, None, {"deep": argument}]}, {argument: True}):
            # Escapes do not hide it.
            body = json.dumps({"method": "tools/call", "params": {"name": "t", "arguments": arguments}})
            for written in (body, body.replace("<", "\\u003c").replace("j", "\\u006a")):
                answer = await http.post("/mcp", headers=headers("session-1"), content=written)
                assert answer.status_code == 400
                error = answer.json()["error"]
                assert error["data"]["kind"] == "invalid_input" and reason in error["message"]
                assert argument not in answer.text
        assert endpoint.bodies == []
        trail = await store.list_audit_events(session_id="session-1", type="invalid_input")
        assert len(trail["events"]) == 6

    run(binary, database, work, max_text=1_000)


def test_what_passes_the_screen_arrives_as_it_was_sent(binary: Path, database: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"par', b'ams": {"text": "a < b', b'"}}'):
            yield piece
            await asyncio.sleep(0)

    async def work(endpoint: Endpoint, store: Store, http: httpx.AsyncClient) -> None:
        bodies: list[Any] = [b'{"params": {"text": "a < b, c > d"}}\n', b"no json <", b"", b"[" * 100_000, b"\xff\xfe"]
        await store.create_session(session_id="session-1", status="active", principal=None, tenant_id=None)
        for body in [*bodies, pieces()]:
            answer = await http.post("/mcp", headers=headers("session-1"), content=body)
            assert answer.status_code == 200
        assert endpoint.bodies == [*bodies, b'{"params": {"text": "a < b"}}']
        answer = await http.post("/mcp", headers=headers("session-1"), content=b'"' + b" " * 200_000 + b'"')
        assert answer.status_code == 413 and len(endpoint.bodies) == 6

    run(binary, database, work, max_text=1_000, max_body=200_000)


# --- With the SDK

def test_in_front_of_a_server_of_the_sdk(binary: Path, database: Path) -> None:
    """The session's life as a client of 2025-11-25 sees it."""

    async def main() -> None:
        server = MCPServer("echo")
        server.add_tool(lambda text: text, name="echo", description="Says it again.")
        async with Store(database, binary=binary) as store:
            app = server.streamable_http_app()
            app.add_middleware(HTTPSessions, store=store, max_text=10_000)
            async with serving(app) as address, httpx.AsyncClient(base_url=address, timeout=60) as http:

                async def post(method: str, params: dict[str, Any], **more: str) -> httpx.Response:
                    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                    return await http.post("/mcp", headers={**ACCEPT, **more}, json=body)

                answer = await post("initialize", {
                    "protocolVersion": "2025-11-25", "capabilities": {},
                    "clientInfo": {"name": "test", "version": "1"},
                })
                session_id = answer.headers["mcp-session-id"]
                assert (await store.list_session_ids())["session_ids"] == [session_id]
                named = {"Mcp-Session-Id": session_id, "MCP-Protocol-Version": "2025-11-25"}
                notification = {"jsonrpc": "2.0", "method": "notifications/initialized"}
                assert (await http.post("/mcp", headers={**ACCEPT, **named}, json=notification)).status_code == 202
                answer = await post("tools/call", {"name": "echo", "arguments": {"text": "hello"}}, **named)
                assert answer.headers["content-type"].startswith("text/event-stream") and "hello" in answer.text
                script = {"name": "echo", "arguments": {"text": "<script>"}}
                assert (await post("tools/call", script, **named)).status_code == 400
                assert (await http.delete("/mcp", headers=named)).status_code == 200
                assert (await store.list_session_ids())["session_ids"] == []
                answer = await post("tools/call", {"name": "echo", "arguments": {"text": "hello"}}, **named)
                assert answer.status_code == 404
                assert answer.json()["error"]["data"] == {"kind": "session_expired", "retry": "re-initialize"}

    asyncio.run(asyncio.wait_for(main(), 120))
