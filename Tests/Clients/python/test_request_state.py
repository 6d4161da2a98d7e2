"""Request state that is used once, alone and behind a server of the SDK."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_server import modern, serving
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.request_state import AESGCMRequestStateCodec, RequestStateSecurity
from mcp_session_store import Store
from mcp_session_store.contract import ConcurrentModification
from mcp_session_store.request_state import SingleUse, SingleUseState, nonce_of
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult

CLIENTS = Path(__file__).parents[3] / "protocol/clients"
SECRET = "of thirty-two bytes, or some more than that"


def run(binary: Path, database: Path, work: Callable[[Store], Awaitable[None]]) -> None:

    async def main() -> None:
        async with Store(database, binary=binary, options={"require_owner": True}) as store:
            await work(store)

    asyncio.run(asyncio.wait_for(main(), 120))


def test_a_token_is_used_once_by_each_principal_across_restarts(binary: Path, database: Path) -> None:
    long = "token" * 10_000

    async def first(store: Store) -> None:
        once = SingleUse(store, ttl=60_000)
        tries = await asyncio.gather(*(once.consume(long, "alice") for _ in range(20)))
        assert sorted(tries) == [False] * 19 + [True]
        assert await once.consume(long, "bob") and await once.consume(long, None)
        assert await once.consume("another", "alice") and await once.consume("\ud800", None)

    async def second(store: Store) -> None:
        assert not await SingleUse(store, ttl=60_000).consume(long, "alice")

    run(binary, database, first)
    run(binary, database, second)


def test_it_is_forgotten_in_time(binary: Path) -> None:
    async def main(store: Store) -> None:
        once = SingleUse(store, ttl=50)
        assert await once.consume("token", None)
        while not await once.consume("token", None):
            await asyncio.sleep(0.01)

    run(binary, Path(":memory:"), main)


def test_using_and_writing_are_one_step(binary: Path) -> None:
    def order(value: Any, **more: Any) -> dict[str, Any]:
        return {"method": "put_value", "params": {
            "collection": "orders", "key": "1", "value": value, "principal": "alice", "tenant_id": None, **more}}

    async def main(store: Store) -> None:
        once = SingleUse(store, ttl=60_000)
        with pytest.raises(ConcurrentModification):
            await once.transact("token", "alice", [order("never", if_revision=99)])
        done = await once.transact("token", "alice", [order("paid"), order("sent")])
        assert done is not None and [each["stored"] for each in done] == [True, True]
        assert await once.transact("token", "alice", [order("paid twice")]) is None
        found = await store.get_value("orders", key="1", principal="alice", tenant_id=None)
        assert found["value"] == "sent"

    run(binary, Path(":memory:"), main)


def test_all_clients_remember_a_state_by_the_same_nonce(binary: Path, database: Path) -> None:
    vectors = json.loads((CLIENTS / "behaviour/request-state.json").read_text())["vectors"]
    for each in vectors:
        assert nonce_of(each["request_state"], each["tenant_id"]) == each["nonce"], each
    assert len({each["nonce"] for each in vectors}) == len(vectors)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
@pytest.mark.parametrize("tenant_id", [None, "north"])
def test_a_state_is_used_once_among_python_and_node(tenant_id: str | None, binary: Path, database: Path) -> None:
    script = """
        const [clients, database, binary, states, tenant_id] = JSON.parse(process.argv[1])
        const { SessionStore } = await import(clients + '/node/index.mjs')
        const { useRequestState } = await import(clients + '/node/task-service.mjs')
        const store = await SessionStore.open({ database, binary })
        const told = []
        for (const state of states) {
          told.push(await useRequestState(store, state, { ttlMs: 60_000, principal: 'alice', tenant_id }))
        }
        await store.close()
        console.log(JSON.stringify(told))
    """

    def node(states: list[str]) -> Any:
        setup = json.dumps([str(CLIENTS), str(database), str(binary), states, tenant_id])
        command = ["node", "--input-type=module", "-e", script, setup]
        return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)

    async def use(store: Store) -> list[bool]:
        once = SingleUse(store, ttl=60_000)
        return [await once.consume(state, "alice", tenant_id=tenant_id) for state in states]

    states = ["one", "ü \u2028 🙂", "half a pair \ud800"]

    async def main(store: Store) -> None:
        assert await use(store) == [True, True, True]
        assert node(states) == [False, False, False]
        assert node(["two"]) == [True]
        assert not await SingleUse(store, ttl=60_000).consume("two", "alice", tenant_id=tenant_id)
        assert await SingleUse(store, ttl=60_000).consume("two", "alice", tenant_id="south")

    run(binary, database, main)


def test_malformed_state_is_refused_and_never_told_as_an_outage(binary: Path) -> None:
    async def main(store: Store) -> None:
        async with serving(shop(store, []).streamable_http_app()) as address:
            async with httpx.AsyncClient(base_url=address) as http:
                for state in ("", "x", "x" * 100_000, "\u0000", "ü", "v1." * 1_000, 7, None, {}, [], True):
                    params = {"name": "order", "arguments": {"paper": 1}, "requestState": state}
                    answer = await http.post("/mcp", **modern("tools/call", params))
                    if state is None:  # as though it had not been said
                        assert answer.json()["result"]["requestState"]
                    else:
                        assert answer.json()["error"]["code"] == -32602, state
                assert "consume_nonce" not in (await store.get_metrics())["methods"]

    run(binary, Path(":memory:"), main)


def shop(store: Store, orders: list[int]) -> MCPServer:
    """A tool that asks before it acts, and carries what it needs through the client."""
    once = SingleUseState(SingleUse(store, ttl=660_000), AESGCMRequestStateCodec([SECRET]))
    server = MCPServer("shop", request_state_security=RequestStateSecurity(codec=once), middleware=[once])

    @server.tool()
    async def order(paper: int, ctx: Context) -> str | InputRequiredResult:
        if ctx.request_state is None:
            question = ElicitRequestFormParams(message="Sure?", requested_schema={"type": "object", "properties": {}})
            return InputRequiredResult(
                input_requests={"sure": ElicitRequest(params=question)}, request_state=json.dumps({"paper": paper}))
        orders.append(json.loads(ctx.request_state)["paper"])
        return "ordered"

    return server


def test_behind_the_sdk_each_state_passes_once_whichever_process_it_asks(binary: Path, database: Path) -> None:
    sealed: list[str] = []
    orders: list[int] = []

    async def ask(http: httpx.AsyncClient, state: str | None) -> dict[str, Any]:
        params: dict[str, Any] = {"name": "order", "arguments": {"paper": 500}}
        if state is not None:
            params |= {"requestState": state, "inputResponses": {"sure": {"action": "accept", "content": {}}}}
        answer: dict[str, Any] = (await http.post("/mcp", **modern("tools/call", params))).json()
        return answer

    def refuses(answer: dict[str, Any]) -> None:
        assert answer["error"]["code"] == -32602
        assert answer["error"]["message"] == "Invalid or expired requestState"
        assert answer["error"]["data"] == {"reason": "invalid_request_state"}

    async def first(store: Store) -> None:
        async with serving(shop(store, orders).streamable_http_app()) as address:
            async with httpx.AsyncClient(base_url=address) as http:
                for _ in range(2):
                    sealed.append((await ask(http, None))["result"]["requestState"])
                assert "500" not in sealed[0] and sealed[0] != sealed[1]
                refuses(await ask(http, sealed[0][:-2] + "AA"))
                calls = (await store.get_metrics())["methods"]
                assert "consume_nonce" not in calls, "what was not minted is not remembered"
                assert (await ask(http, sealed[0]))["result"]["content"][0]["text"] == "ordered"
                assert orders == [500]
                at_once = await asyncio.gather(*(ask(http, state) for state in [sealed[0], sealed[1], sealed[1]]))
                assert sum("result" in answer for answer in at_once) == 1 and orders == [500, 500]
                refuses(at_once[0])

    async def second(store: Store) -> None:
        async with serving(shop(store, orders).streamable_http_app()) as address:
            async with httpx.AsyncClient(base_url=address) as http:
                for state in sealed:
                    refuses(await ask(http, state))
                assert len(orders) == 2

    run(binary, database, first)
    run(binary, database, second)
