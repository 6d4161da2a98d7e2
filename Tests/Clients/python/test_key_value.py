"""Values as a store of py-key-value, and what FastMCP keeps in it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.server.auth.oauth_proxy import OAuthProxy
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from key_value.aio.errors import DeserializationError, InvalidTTLError, SerializationError, ValueTooLargeError
from key_value.aio.protocols.key_value import (
    AsyncCullProtocol, AsyncDestroyCollectionProtocol, AsyncEnumerateKeysProtocol, AsyncKeyValue,
)
from key_value.aio.stores.memory import MemoryStore
from mcp.shared.auth import OAuthClientInformationFull
from mcp_session_store import Store
from mcp_session_store.key_value import KeyValueStore

FASTMCP_SERVER = Path(__file__).with_name("fastmcp_server.py")


def run(binary: Path, database: Path, work: Callable[[Store], Awaitable[None]], **options: Any) -> None:
    """Does the work with a store that lives no longer."""

    async def main() -> None:
        async with Store(database, binary=binary, **options) as store:
            await work(store)

    asyncio.run(asyncio.wait_for(main(), 300))


# --- The same as the library's own store

#: plain ones, and such as the contract does not take or the hash of another looks like
NAMES = [
    "a", "b", "H_a", "S_a", "two words", "a/b:c", "line\nfeed", "nul\0", "ключ", "🔑", "k" * 1024, "k" * 1025,
    "ы" * 600, "\ud800", "sha256:", "sha256:" + "0" * 64,
]
names = st.sampled_from(NAMES)
keys = names | st.just("")
values = st.dictionaries(st.text(max_size=3), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6,
), max_size=4)
ttls = st.none() | st.sampled_from([1_000, 1_000.5, 10**9])
entries = st.lists(st.tuples(keys, values), max_size=4)
operations = st.one_of(
    st.tuples(st.just("put"), keys, values, names, ttls),
    st.tuples(st.just("put_many"), entries, names, ttls),
    st.tuples(st.sampled_from(["get", "ttl", "delete"]), keys, names),
    st.tuples(st.sampled_from(["get_many", "ttl_many", "delete_many"]), st.lists(keys, max_size=4), names),
    st.tuples(st.just("keys"), names),
)


async def perform(store: KeyValueStore | MemoryStore, operation: tuple[Any, ...]) -> Any:
    name, *given = operation
    if name == "put":
        return await store.put(given[0], given[1], collection=given[2], ttl=given[3])
    if name == "put_many":
        return await store.put_many(
            [key for key, _ in given[0]], [value for _, value in given[0]], collection=given[1], ttl=given[2])
    if name == "keys":
        return sorted(await store.keys(given[0]))
    result = await getattr(store, name)(given[0], collection=given[1])
    if name == "ttl":
        return rounded(*result)
    return [rounded(*each) for each in result] if name == "ttl_many" else result


def rounded(value: dict[str, Any] | None, ttl: float | None) -> tuple[dict[str, Any] | None, int | None]:
    """The time to live without the seconds that a test takes."""
    return value, None if ttl is None else -int(-ttl // 500)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(operations, min_size=1, max_size=25))
def test_it_does_what_the_memory_store_of_the_library_does(binary: Path, history: list[tuple[Any, ...]]) -> None:
    async def main(store: Store) -> None:
        ours, theirs = KeyValueStore(store), MemoryStore()
        for operation in history:
            assert await perform(ours, operation) == await perform(theirs, operation), operation
        for name in NAMES:
            assert sorted(await ours.keys(name)) == sorted(await theirs.keys(name))

    run(binary, Path(":memory:"), main)


def test_it_is_what_the_protocols_of_the_library_ask_for(binary: Path) -> None:
    async def main(store: Store) -> None:
        ours = KeyValueStore(store, default_collection="notes")
        for protocol in (
            AsyncKeyValue, AsyncEnumerateKeysProtocol, AsyncDestroyCollectionProtocol, AsyncCullProtocol,
        ):
            assert isinstance(ours, protocol)
        await ours.put("k", {"v": 1})
        assert await ours.get("k", collection="notes") == {"v": 1}
        assert (await store.get_value("notes", key="k"))["exists"], "where everyone with the file finds it"

    run(binary, Path(":memory:"), main)


# --- Time

def test_what_lapses_is_gone_everywhere(binary: Path) -> None:
    async def main(store: Store) -> None:
        ours = KeyValueStore(store)
        await ours.put("short", {"v": 1}, ttl=0.3)
        await ours.put_many(["many-1", "many-2"], [{}, {}], ttl=0.3)
        await ours.put("long", {"v": 2}, ttl=1_000)
        await ours.put("forever", {"v": 3})
        while await ours.get("short") is not None or await ours.keys() != ["long", "forever"]:
            await asyncio.sleep(0.05)
        assert await ours.ttl("short") == (None, None)
        assert await ours.get_many(["short", "many-1", "many-2"]) == [None, None, None]
        assert await ours.delete("short") is False
        assert await ours.put("short", {"v": 4}) is None and await ours.get("short") == {"v": 4}
        await ours.cull()
        assert (await store.get_metrics())["values"] == 3
        value, ttl = await ours.ttl("long")
        assert value == {"v": 2} and ttl is not None and 0 < ttl < 1_000
        assert await ours.ttl("forever") == ({"v": 3}, None)

    run(binary, Path(":memory:"), main)


@pytest.mark.parametrize("ttl", [0, -1, True, "soon"])
def test_a_time_to_live_that_is_none_is_refused(ttl: Any, binary: Path) -> None:
    async def main(store: Store) -> None:
        with pytest.raises((InvalidTTLError, TypeError)):
            await KeyValueStore(store).put("k", {}, ttl=ttl)
        assert await KeyValueStore(store).keys() == []

    run(binary, Path(":memory:"), main)


# --- What does not fit

DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", float("nan"), DEEP, object()], ids=lambda it: type(it).__name__)
def test_what_is_no_json_is_a_serialization_error_and_nothing_is_written(value: Any, binary: Path) -> None:
    async def main(store: Store) -> None:
        ours = KeyValueStore(store)
        with pytest.raises(SerializationError):
            await ours.put("k", {"v": value})
        with pytest.raises(SerializationError):
            await ours.put_many(["j", "k"], [{}, {"v": value}])
        assert await ours.keys() == []

    run(binary, Path(":memory:"), main)


def test_a_value_over_the_limit_says_so_and_takes_its_neighbours_back(binary: Path) -> None:
    async def main(store: Store) -> None:
        ours = KeyValueStore(store)
        for size in (2_000, 3 << 20):  # refused by the program, and never sent
            with pytest.raises(ValueTooLargeError, match="max_size: 1000"):
                await ours.put("k", {"v": "x" * size})
        with pytest.raises(ValueTooLargeError, match="max_size: 1000"):
            await ours.put_many(["j", "k"], [{"v": 1}, {"v": "x" * 2_000}])
        assert await ours.get_many(["j", "k"]) == [None, None]

    run(binary, Path(":memory:"), main, options={"max_payload_bytes": 1_000, "max_line_bytes": 1 << 20})


def test_bulk_calls_may_be_larger_than_a_line_an_answer_and_a_transaction(binary: Path, database: Path) -> None:
    async def main(store: Store) -> None:
        ours = KeyValueStore(store)
        large = [f"large-{number}" for number in range(30)]
        await ours.put_many(large, [{"v": "x" * 900_000}] * 30)
        assert [len(value["v"]) for value in await ours.get_many(large) if value] == [900_000] * 30
        assert await ours.keys() == large and await ours.keys(limit=3) == large[:3]
        assert await ours.delete_many([*large, "none"]) == 30
        many = [f"key-{number}" for number in range(2_500)]
        await ours.put_many(many, [{"v": number} for number in range(2_500)], collection="many")
        assert await ours.keys("many") == many and len(await ours.keys("many", limit=1_200)) == 1_200
        assert await ours.get_many(many[::-1], collection="many") == [{"v": 2_499 - each} for each in range(2_500)]
        assert await ours.destroy_collection("many") and await ours.keys("many") == []
        assert not await ours.destroy_collection("many")

    run(binary, database, main)


def test_what_others_keep_under_the_same_name_is_no_entry(binary: Path) -> None:
    async def main(store: Store) -> None:
        await store.put_value("notes", key="k", value={"written": "by hand"})
        ours = KeyValueStore(store, default_collection="notes")
        with pytest.raises(DeserializationError):
            await ours.get("k")
        assert await ours.keys() == ["k"]
        assert await ours.destroy_collection("notes")

    run(binary, Path(":memory:"), main)


# --- Whose it is, and how long it stays

def test_owners_share_nothing(binary: Path) -> None:
    async def main(store: Store) -> None:
        stores = [
            KeyValueStore(store, tenant_id=tenant, principal=principal)
            for tenant in (None, "north") for principal in (None, "alice")
        ]
        for number, ours in enumerate(stores):
            assert await ours.get("k") is None
            await ours.put("k", {"v": number})
        for number, ours in enumerate(stores):
            assert await ours.get("k") == {"v": number} and await ours.keys() == ["k"]
        assert await stores[1].destroy_collection("default_collection")
        assert [await ours.keys() for ours in stores] == [["k"], [], ["k"], ["k"]]

    run(binary, Path(":memory:"), main, options={"require_owner": True})


def test_what_oauth_knows_survives(binary: Path, database: Path) -> None:
    client = OAuthClientInformationFull(
        client_id="client-1", client_secret="s3cret", redirect_uris=["http://127.0.0.1:1/callback"])

    def proxy(store: Store) -> OAuthProxy:
        return OAuthProxy(
            upstream_authorization_endpoint="http://127.0.0.1:1/authorize",
            upstream_token_endpoint="http://127.0.0.1:1/token", upstream_client_id="upstream",
            upstream_client_secret="upstream-secret", token_verifier=StaticTokenVerifier({}),
            base_url="http://127.0.0.1:1", client_storage=KeyValueStore(store))

    async def register(store: Store) -> None:
        assert await proxy(store).get_client("client-1") is None
        await proxy(store).register_client(client)

    async def find(store: Store) -> None:
        found = await proxy(store).get_client("client-1")
        assert found is not None and found.client_id == "client-1"

    run(binary, database, register)
    run(binary, database, find)


def test_session_state_and_cached_responses_survive_a_restart_of_the_server(binary: Path, database: Path) -> None:
    """Each client starts a server of its own, whose process ends with it."""
    calls = Path(f"{database}.calls")

    def client() -> Client[StdioTransport]:
        return Client(StdioTransport(
            sys.executable, [str(FASTMCP_SERVER), str(binary), str(database), str(calls)], keep_alive=False))

    async def main() -> None:
        pids = set()
        async with client() as first:
            pids.add((await first.call_tool("process", {})).data)
            session_id = (await first.call_tool("create_session", {})).data
            await first.call_tool("remember", {"session_id": session_id, "fact": "the sky is blue"})
            assert (await first.call_tool("square", {"number": 12})).data == 144
            assert (await first.call_tool("square", {"number": 12})).data == 144
            tools = [tool.name for tool in await first.list_tools()]
        async with client() as second:
            pids.add((await second.call_tool("process", {})).data)
            assert (await second.call_tool("recall", {"session_id": session_id})).data == "the sky is blue"
            assert (await second.call_tool("square", {"number": 12})).data == 144
            assert [tool.name for tool in await second.list_tools()] == tools
            await second.call_tool("end_session", {"session_id": session_id})
            assert (await second.call_tool("recall", {"session_id": session_id}, raise_on_error=False)).is_error
        assert len(pids) == 2
        assert calls.read_text() == "12\n", "the second server answered from what the first one had cached"

    asyncio.run(asyncio.wait_for(main(), 300))
