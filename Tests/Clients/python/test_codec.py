"""Payloads that are sealed on their way to the program: all of them, at their places, and none left in clear."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.server.streamable_http import EventMessage
from mcp.types import JSONRPCMessage
from mcp_session_store import (
    BlockingStore, Codec, CodecError, RequestError, Rotation, Store, StoreError, codec as codec_module,
)
from mcp_session_store.json_text import decode, encode
from mcp_session_store.key_value import KeyValueStore
from mcp_session_store.mcp_events import EventStore
from mcp_session_store.payloads import PARAMS, RESULTS
from mcp_session_store.task_service import TaskService
from pydantic import TypeAdapter

ROOT = Path(__file__).parents[3]
NODE_CLIENT = ROOT / "protocol/clients/node/index.mjs"
VECTORS = json.loads((ROOT / "protocol/clients/codec/vectors.json").read_text(encoding="utf-8"))
CONTRACT = json.loads((ROOT / "protocol/openrpc.json").read_text(encoding="utf-8"))
CANARY = "canary"
#: the file in which what has ended is kept
ARCHIVE = "ended.gz"
OLD, NEW = b"o" * 32, b"n" * 32


def both(**options: Any) -> Codec:
    return Codec({"old": OLD, "new": NEW}, write="new", **options)


@contextlib.asynccontextmanager
async def opened(binary: Path, database: Path | str, codec: Codec | None, **more: Any) -> AsyncIterator[Store]:
    store = Store(database, binary=binary, codec=codec, **more)
    try:
        yield await store.open()
    finally:
        await store.close()


# --- The table


def leaves(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Where the contract says that payloads are."""
    if "$ref" in schema:
        yield from leaves(CONTRACT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], path)
    if schema.get("x-payload"):
        yield path
    for part in schema.get("anyOf", ()):
        yield from leaves(part, path)
    if "items" in schema:
        yield from leaves(schema["items"], path + "[]")
    for name, member in schema.get("properties", {}).items():
        yield from leaves(member, f"{path}.{name}")


def planned(plan: Any, path: str) -> Iterator[str]:
    if isinstance(plan, str):
        yield path
    elif isinstance(plan, list):
        yield from planned(plan[0], path + "[]")
    else:
        for name, member in plan.items():
            yield from planned(member, path if name == "*" else f"{path}.{name}")


def test_every_payload_of_the_contract_has_its_place() -> None:
    by_hand = {"transaction.calls[].params", "export_user_data->.records[]"}
    said = {found for method in CONTRACT["methods"] for each in method["params"]
            for found in leaves(each["schema"], f"{method['name']}.{each['name']}")}
    said |= {found for method in CONTRACT["methods"]
             for found in leaves(method["result"]["schema"], f"{method['name']}->")}
    told = {found for name, plan in PARAMS.items() for found in planned(plan, name)}
    told |= {found for name, plan in RESULTS.items() for found in planned(plan, f"{name}->")}
    # The client subscribes by hand, and opens what it is told.
    assert said - by_hand == told and len(told) > 50


def test_a_method_cannot_forget_its_payload(tmp_path: Path) -> None:
    """The generator refuses what may be anything and is not marked, and what is marked and has no place."""
    generate = ROOT / "protocol/clients/generate"
    text = "import json, sys; sys.path.insert(0, {!r}); import payloads; payloads.Plans(json.load(sys.stdin))"
    method = {"name": "new_one", "params": [{"name": "thing", "required": True, "schema": {}}],
              "result": {"schema": {"type": "object", "properties": {}}}}
    for schema, said in (({}, "may be anything"), ({"x-payload": True}, "say its place"),
                         ({"type": "object"}, "may be anything"), ({"type": "string"}, "")):
        changed = copy.deepcopy(CONTRACT)
        changed["methods"].append({**method, "params": [{"name": "thing", "required": True, "schema": schema}]})
        done = subprocess.run([sys.executable, "-c", text.format(str(generate))], input=json.dumps(changed),
                              capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == (said == ""), done.stderr
        assert said in done.stderr and (not said or "new_one.thing" in done.stderr)


# --- One payload


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda each: f"{each['about']} by {each['by']}")
def test_the_vectors_open(vector: dict[str, Any]) -> None:
    codec = Codec(VECTORS["keys"], write="2026-11")
    assert codec.open(vector["stored"], tuple(vector["place"])) == decode(vector["payload"].encode())
    stored = vector["stored"] if isinstance(vector["stored"], dict) else json.loads(vector["stored"])
    if "bound" in vector:
        said = codec_module.bound(stored["$codec"], stored["key"], tuple(vector["place"]))
        assert said.decode() == vector["bound"]


@pytest.mark.parametrize("refused", VECTORS["refused"], ids=lambda each: each["about"])
def test_what_must_not_open_does_not(refused: dict[str, Any]) -> None:
    with pytest.raises(CodecError) as raised:
        Codec(VECTORS["keys"], write="2026-11").open(refused["stored"], tuple(refused["place"]))
    assert (raised.value.reason, raised.value.key_id) == (refused["reason"], refused["key_id"])
    if refused["key_id"]:
        assert f"'{refused['key_id']}'" in str(raised.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    | st.fixed_dictionaries({"$codec": st.sampled_from(["1/plain", "1/deflate", "1/A256GCM", "2/x"]), "data": inner}),
    max_leaves=12)
PLACES = st.sampled_from([
    ("session.state", "s", "k"), ("event.data", "s", None, "message"), ("value.value", None, "p", "c", "k"),
    ("task.success", "t")])


@settings(max_examples=150, deadline=None)
@given(JSON, PLACES, PLACES, st.sampled_from(["auto", "deflate", None]), st.booleans())
def test_whatever_is_sealed_opens_at_its_place_alone(
    value: Any, place: Any, other: Any, compression: Any, has_keys: bool,
) -> None:
    if not has_keys and compression is None:
        return
    codec = Codec({"old": OLD} if has_keys else None, compression=compression)
    stored = json.loads(encode(codec.seal(value, place)).encode("utf-8", "backslashreplace"))
    assert codec.open(stored, place) == value
    if has_keys:
        assert set(stored) == {"$codec", "key", "nonce", "data"}
        assert codec.seal(value, place) != stored  # the nonce is fresh
        if other != place:
            with pytest.raises(CodecError, match="old"):
                codec.open(stored, other)
        again = both(compression=compression).seal_again(stored, place)
        assert Codec({"new": NEW}).open(again, place) == value
        broken = {**stored, "data": base64.b64encode(
            bytes([base64.b64decode(stored["data"])[0] ^ 1]) + base64.b64decode(stored["data"])[1:]).decode()}
        with pytest.raises(CodecError):
            codec.open(broken, place)


def test_only_what_shrinks_is_compressed() -> None:
    place = ("value.value", None, None, "c", "k")
    codec = Codec()
    assert codec.seal("short", place) == "short"
    noise = base64.b64encode(os.urandom(300)).decode()
    assert codec.seal(noise, place) == noise
    stored = codec.seal({"a": "x" * 10_000}, place)
    assert len(encode(stored)) < 200 and codec.open(stored, place) == {"a": "x" * 10_000}


def test_no_envelope_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_module, "MOST", 1 << 20)
    place = ("value.value", None, None, "c", "k")
    for name in ("deflate", *(["zstd"] if codec_module.zstd() else [])):
        bomb = base64.b64encode(codec_module.pack(name, b" " * (8 << 20))).decode()
        with pytest.raises(CodecError) as raised:
            Codec().open({"$codec": f"1/{name}", "data": bomb}, place)
        assert raised.value.reason == "too_large"


@pytest.mark.parametrize(("options", "said"), [
    ({"keys": {"a": b"short"}}, "32 bytes"), ({"keys": {"ä": OLD}}, "visible ASCII"), ({"keys": {"a": "?"}}, "base64"),
    ({"keys": {"a": OLD, "b": NEW}}, "say which key"), ({"keys": {"a": OLD}, "write": "b"}, "no key 'b'"),
    ({"compression": None}, "does nothing"), ({"compression": "lz4"}, "zstd, deflate"),
    ({"accept_plain": False}, "without keys"),
])
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Codec(**options)


# --- A whole store


async def fill(store: Store, name: str, word: str) -> None:
    """Each payload parameter there is, with a word in it."""
    session, task = f"session-{name}", f"task-{name}"
    # What looks like an envelope, and is none.
    sly = {"$codec": "1/plain", "data": word}
    await store.create_session(
        session_id=session, status="active", principal="ann", metadata={"m": word, "n": 2**70},
        client_capabilities=sly, server_capabilities=[word], state={"a": {"deep": [word]}, "b": None})
    await store.set_session_state(session, key="c", value=sly)
    await store.store_event(session, data={"p": word * 40}, stream_id="stream", event_type="progress", retry=3)
    await store.store_events(session, events=[{"data": word}, {"data": sly, "event_type": "two\nlines"}])
    await store.broadcast_event(data=[word], principal="ann")
    await store.append_log_entry(session, entry={
        "message_id": f"m-{name}", "kind": "Incoming", "sender": "bob", "received_at": 17, "text": word})
    await store.append_log_entry(session, entry={"sender": {"name": word}})
    await store.create_task(task_id=task, session_id=session, original_params=[word], meta=sly, status_message=word)
    await store.require_task_input(task, input_requests={"name": word, "age": sly})
    await store.provide_task_input(task, input_responses={"name": word})
    await store.enqueue_task_message(task, message={"w": word})
    await store.fail_task(task, error={"code": 7, "message": word, "data": sly}, status_message=word)
    await store.create_task(task_id=f"{task}-2", session_id=session)
    await store.complete_task(f"{task}-2", result={"content": word}, status_message=word)
    await store.transaction([
        {"method": "put_value", "params": {"collection": "c", "key": name, "value": sly, "principal": "ann"}},
        {"method": "put_value", "params": {"collection": "c", "key": name, "value": [word] * 50}},
    ])
    await store.put_event_subscription(f"hook-{name}", topic="t", data={"w": word}, secret=f"whsec_{word}")
    await store.put_event_subscription(f"hook-{name}", topic="t", data=sly, secret=f"{word}-2", secret_grace=60_000)
    await store.enqueue_work("q", work_id=f"work-{name}", payload=[word], subscription_id=f"hook-{name}")
    await store.enqueue_work("q", work_id=f"other-{name}", payload=sly, group=name, ordered=True)


async def read(store: Store, name: str) -> list[Any]:
    """All that `fill` stored, as far as it does not depend on when."""
    session, task = f"session-{name}", f"task-{name}"
    found = await store.get_session(session)
    listed = (await store.list_sessions(include_state=True, limit=1_000))["sessions"]
    assert found is not None and found in [{**each, "last_activity": found["last_activity"]} for each in listed]
    frames = await store.get_events_after(session, format="sse_typed")
    return [
        [found[part] for part in ("metadata", "client_capabilities", "server_capabilities", "state")],
        await store.get_session_state(session, key="c"),
        [(event["id"], event["data"], event["event_type"])
         for event in (await store.get_recent_events(session))["events"]],
        frames["frames"], await store.load_log(session),
        [each["entries"] for each in (await store.log_participants(session))["participants"]],
        await store.get_task(task), await store.get_task_result(f"{task}-2"), await store.peek_task_messages(task),
        (await store.transaction([
            {"method": "get_value", "params": {"collection": "c", "key": name}},
            {"method": "get_value", "params": {"collection": "c", "key": name, "principal": "ann"}}]))["results"],
        (await store.list_values("c", prefix=name))["values"],
    ]


def without_times(found: list[Any]) -> Any:
    """What two stores that were filled alike agree in."""
    text = json.dumps(found)
    for member in ("created_at", "last_updated_at", "revision", "last_activity"):
        text = "".join(part if number == 0 else part[part.index(",") if "," in part[:40] else part.index("}"):]
                       for number, part in enumerate(text.split(f'"{member}": ')))
    return text


def test_a_store_says_the_same_with_a_codec_and_without(binary: Path, tmp_path: Path) -> None:
    async def main() -> None:
        seen = []
        codecs = (None, Codec({"old": OLD}), Codec(), Codec({"old": OLD}, compression="deflate"))
        for number, codec in enumerate(codecs):
            async with opened(binary, tmp_path / f"{number}.db", codec) as store:
                await fill(store, "x", CANARY)
                seen.append(without_times(await read(store, "x")))
        assert seen[0].count(CANARY) > 30 and "3\\n" in seen[0]
        assert seen[1:] == seen[:1] * 3

    asyncio.run(main())


def everything_about(binary: Path, database: Path, backup: Path) -> dict[str, bytes]:
    """The bytes of the file, its log, its backup and its archive, and what the commands show of it."""
    found = {path.name: path.read_bytes() for path in database.parent.iterdir() if path.is_file()}
    assert {database.name, backup.name, ARCHIVE} <= found.keys()
    found["what is archived"] = gzip.decompress(found[ARCHIVE])
    assert b"session-archived" in found["what is archived"]
    for command in (["dump"], ["dump", "--secrets"], ["report", "--names"], ["report"], ["sessions"], ["tasks"],
                    ["check"]):
        done = subprocess.run(
            [str(binary), *command, "--database", str(database)], capture_output=True, check=False, timeout=60)
        found[" ".join(command)] = done.stdout + done.stderr
    return found


def test_frames_of_a_subscription_are_those_of_the_program(binary: Path) -> None:
    async def frames(codec: Codec | None, form: Any) -> list[str]:
        async with opened(binary, ":memory:", codec) as store:
            await store.create_session(session_id="s", status="active", principal="ann")
            for data, kind in (({"p": CANARY}, "two\nlines"), ("\ud800", "message"), (1, "ping")):
                await store.store_event("s", data=data, event_type=kind, retry=3)
            async with await store.subscribe_events("s", after_event_id=0, format=form, init=True) as told:
                found = [await told.__anext__() for _ in range(4)]
                await store.delete_session("s")
                return [*found, *[frame async for frame in told]]

    async def main() -> None:
        for form in ("sse", "sse_typed"):
            plain, sealed = [await frames(codec, form) for codec in (None, Codec({"old": OLD}))]
            assert plain[1:] == sealed[1:] and len(plain) == 5 and CANARY in plain[1]
            greetings = {each.split(',"timestamp"')[0] for each in (plain[0], sealed[0])}
            assert len(greetings) == 1 and plain[0].startswith("event: init\n")

    asyncio.run(main())


def test_adapters_work_with_a_codec_as_without(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with opened(binary, database, both()) as store:
            await store.create_session(session_id="s", status="active")
            events = EventStore(store, "s")
            first = await events.store_event("7", None)
            message = TypeAdapter(JSONRPCMessage).validate_python(
                {"jsonrpc": "2.0", "method": "said", "params": {"text": CANARY}})
            await events.store_event("7", message)
            sent: list[Any] = []

            async def send(event: EventMessage) -> None:
                sent.append(event.message)

            assert await events.replay_events_after(first, send) == "7"
            assert sent == [message]
            service = TaskService(store, ttl=60_000)
            task = await service.create("alice", method="tools/call", params={"text": CANARY}, status_message=CANARY)
            found = await service.get(task.task_id, "alice")
            assert found is not None and found["statusMessage"] == CANARY
            await task.complete({"content": [CANARY]})
            found = await service.get(task.task_id, "alice")
            assert found is not None and found["result"] == {"content": [CANARY]}
            values = KeyValueStore(store)
            await values.put("k", {"text": CANARY}, collection="c")
            assert await values.get("k", collection="c") == {"text": CANARY}
            texts = [payload["text"] for payload in (await store.list_payloads(limit=100))["payloads"]]
            assert len(texts) >= 4 and not any(CANARY in text for text in texts)

    asyncio.run(main())


def test_no_plaintext_is_anywhere(binary: Path, tmp_path: Path) -> None:
    """Neither in the file and its log, nor in a backup, an archive, a dump, a report, an error or the log of
    requests."""
    database, backup = tmp_path / "sessions.db", tmp_path / "backup.db"
    said: list[str] = []

    async def main(codec: Codec | None) -> None:
        options = {"log_level": "debug", "max_payload_bytes": 60_000, "retain_ended": "1h"}
        async with opened(binary, database, codec, options=options) as store:
            await fill(store, "archived", CANARY)
            await store.resolve_session("session-archived")
            done = await store.archive(tmp_path / ARCHIVE, ended_before=9_999_999_999_999)
            assert done["sessions"] == 1
            await fill(store, "x", CANARY)
            await store.backup(backup)
            refused = [
                store.set_session_state("nobody", key="k", value=CANARY),
                store.put_value("c", key="k", value=[CANARY] * 60_000 + [os.urandom(90_000).hex()]),
                store.create_task(task_id="task-x", original_params=CANARY),
                store.transaction([{"method": "complete_task", "params": {"task_id": "task-x", "result": CANARY}}]),
                store.append_log_entry("session-x", entry={"kind": "nonsense", "text": CANARY}),
                store.update_session({"session_id": "session-x", "metadata": {"m": CANARY}}, if_revision=1),
                store.enqueue_work("q", work_id="w", payload=[CANARY] * 60_000 + [os.urandom(90_000).hex()]),
                store.put_event_subscription("hook-x", topic="t", data=CANARY, secret=CANARY, if_revision=1),
            ]
            for call in refused:
                with pytest.raises(RequestError) as raised:
                    await call
                said.append(f"{raised.value} {raised.value.data}")
            assert store.pid is not None
            os.kill(store.pid, signal.SIGKILL)  # with its log still there
            await asyncio.sleep(0)

    asyncio.run(main(Codec({"old": OLD})))
    found = everything_about(binary, database, backup) | {"errors": "\n".join(said).encode()}
    hidden = [name for name, text in found.items()
              if any(form in text for form in (b"canary", base64.b64encode(b"canary"), b"canary".hex().encode()))]
    assert hidden == [] and len(said) == 8 and b"A256GCM" in found["dump"]
    for path in tmp_path.iterdir():
        path.unlink()
    # That it would be seen.
    asyncio.run(main(None))
    found = everything_about(binary, database, backup)
    assert all(b"canary" in found[name] for name in ("backup.db", "dump", "what is archived"))
    assert b"whsec_canary" in found["backup.db"] and b"canary-2" in found["dump --secrets"]


def test_what_was_stored_before_stays_readable(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with opened(binary, database, None) as store:
            await fill(store, "before", CANARY)
            plain = await read(store, "before")
        async with opened(binary, database, Codec({"old": OLD})) as store:
            before = await read(store, "before")
            # What is an envelope of no key is taken for one, whoever stored it.
            assert json.dumps(before[0][0]) == json.dumps(plain[0][0]) and before[0][1] == CANARY
            await fill(store, "after", CANARY)
        async with opened(binary, database, Codec({"old": OLD}, accept_plain=False)) as store:
            after = await store.get_session("session-after")
            assert after is not None and after["metadata"]["m"] == CANARY and after["state"]["b"] is None
            with pytest.raises(CodecError) as raised:
                await store.get_session("session-before")
            assert raised.value.reason == "plain"

    asyncio.run(main())


def test_one_payload_that_does_not_open_fails_one_call(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with opened(binary, database, Codec({"old": OLD})) as store:
            await fill(store, "x", CANARY)
        async with opened(binary, database, Codec({"new": NEW})) as store:
            await store.store_event("session-x", data="mine")
            await store.enqueue_task_message("task-x", message="mine")
            with pytest.raises(CodecError) as raised:
                await store.get_events_after("session-x")
            error = raised.value
            assert (error.reason, error.key_id, error.method, error.outcome) == (
                "unknown_key", "old", "get_events_after", "not_applied")
            assert error.path == "events[0].data" and "'old'" in str(error) and len(error.others) == 3
            # A page can be read past it, and what was taken out is not gone.
            assert error.result["events"][-1]["data"] == "mine" and error.result["next_after"] == 5
            with pytest.raises(CodecError) as raised:
                await store.dequeue_task_message("task-x")
            assert raised.value.outcome == "unknown" and raised.value.result["message"]["key"] == "old"
            assert (await store.dequeue_task_message("task-x"))["message"] == "mine"
            with pytest.raises(CodecError) as raised:
                await store.transaction([
                    {"method": "get_task", "params": {"task_id": "task-x"}},
                    {"method": "put_value", "params": {"collection": "d", "key": "k", "value": 1}}])
            assert raised.value.path is not None and raised.value.path.startswith("results[0].")
            assert (await store.get_value("d", key="k"))["value"] == 1
            async with await store.subscribe_events("session-x", after_event_id=3) as events:
                with pytest.raises(CodecError):
                    await events.__anext__()
                assert (await events.__anext__())["data"] == "mine"
            async with await store.subscribe_tasks(session_id="session-x") as tasks:
                for _ in range(2):
                    with pytest.raises(CodecError):
                        await tasks.__anext__()
                await store.create_task(task_id="new", session_id="session-x", meta="mine")
                assert (await tasks.__anext__()).task["meta"] == "mine"
        # With its key all is there.
        async with opened(binary, database, both()) as store:
            assert len(await read(store, "x")) > 5

    asyncio.run(main())


def test_rows_cannot_be_swapped(binary: Path, database: Path) -> None:
    import sqlite3

    async def main() -> None:
        async with opened(binary, database, Codec({"old": OLD})) as store:
            for name in ("one", "two"):
                await store.put_value("c", key=name, value=name)
        with sqlite3.connect(database) as connection:
            (stolen,) = connection.execute("SELECT value FROM named_values WHERE key = 'one'").fetchone()
            connection.execute("UPDATE named_values SET value = ? WHERE key = 'two'", (stolen,))
        async with opened(binary, database, Codec({"old": OLD})) as store:
            assert (await store.get_value("c", key="one"))["value"] == "one"
            with pytest.raises(CodecError) as raised:
                await store.get_value("c", key="two")
            assert raised.value.reason == "wrong_key"
            with pytest.raises(CodecError, match=r"values\[1\]\.value"):
                await store.list_values("c")

    asyncio.run(main())


def test_what_is_handed_in_stays_as_it_is(binary: Path) -> None:
    async def main() -> None:
        async with opened(binary, ":memory:", Codec({"old": OLD})) as store:
            state: dict[Any, Any] = {1: "number", "k": [1]}
            session = await store.create_session(state=state, metadata={})
            assert state == {1: "number", "k": [1]}
            assert session["state"] == {"1": "number", "k": [1]} and len(session["session_id"]) == 43
            uuid = (await store.create_task(id_format="uuid", meta=1))["task_id"]
            assert len(uuid) == 36 and uuid[14] == "7"
            for bad in ("text", [1], 7):
                with pytest.raises(RequestError):
                    await store.create_session(metadata=bad)  # type: ignore[arg-type]
                with pytest.raises(RequestError):
                    await store.append_log_entry(session["session_id"], entry=bad)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="JSON"):
                await store.put_value("c", key="k", value=float("nan"))
            made = await store.call("put_value", '{"collection":"c","key":"k","value":{"big":123456789012345678901}}')
            assert made["stored"] and (await store.get_value("c", key="k"))["value"] == {"big": 123456789012345678901}

    asyncio.run(main())


def test_exports_and_dumps_can_be_read(binary: Path, database: Path) -> None:
    codec = Codec({"old": OLD})
    with BlockingStore(database, binary=binary, codec=codec) as store:
        store.run(fill(store._store, "x", CANARY))
        records, cursor = [], None
        while True:
            page = store.export_user_data(principal="ann", limit=3, cursor=cursor)
            records += page["records"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    dump = subprocess.run([str(binary), "dump", "--database", str(database)], capture_output=True, check=True)
    for lines in (records, [json.loads(line) for line in dump.stdout.splitlines()]):
        reader = codec.records()
        text = json.dumps([reader.open(record) for record in lines])
        assert "A256GCM" not in text and text.count(CANARY) > 15


# --- Changing keys


def test_a_rotation_puts_everything_under_the_new_key(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with opened(binary, database, None) as store:
            await fill(store, "plain", CANARY)
        async with opened(binary, database, Codec({"old": OLD})) as store:
            await fill(store, "old", CANARY)
            before = [await read(store, name) for name in ("plain", "old")]
        async with opened(binary, database, both()) as store:
            found = await store.rotate()
            assert found.is_complete and found.sealed > 40 and set(found.keys) == {"new"}
            assert found.seen == found.sealed + 2  # a null of each
            again = await store.rotate()
            assert (again.sealed, again.keys) == (0, found.keys)
        async with opened(binary, database, Codec({"new": NEW}, accept_plain=False)) as store:
            # Revisions and activity too.
            assert [await read(store, name) for name in ("plain", "old")] == before

    asyncio.run(main())


def test_a_rotation_of_an_id_that_was_used_again(binary: Path, database: Path) -> None:
    """What an earlier session of the id left behind (its tasks) is under the new key with what the later one has; what
    is kept of an ended one, too."""
    async def main() -> None:
        options = {"retain_ended": "1h"}
        async with opened(binary, database, Codec({"old": OLD}), options=options) as store:
            for number, end in enumerate((store.resolve_session, store.expire_session, store.resolve_session)):
                await store.create_session(session_id="s", status="active", state={"k": f"{CANARY}-{number}"})
                await store.store_event("s", data=[CANARY, number])
                await store.append_log_entry("s", entry={"message_id": "m", "text": f"{CANARY}-{number}"})
                await store.create_task(task_id=f"t-{number}", session_id="s", original_params=[CANARY, number])
                await end("s")
        async with opened(binary, database, both(), options=options) as store:
            found = await store.rotate()
            assert found.is_complete and set(found.keys) == {"new"}
        async with opened(
            binary, database, Codec({"new": NEW}, accept_plain=False), options=options,
        ) as store:
            kept = await store.get_session("s", include_ended=True)
            assert kept is not None and kept["state"] == {"k": f"{CANARY}-2"}
            events = (await store.get_events_after("s", include_ended=True))["events"]
            assert [event["data"] for event in events] == [[CANARY, 2]]
            (entry,) = (await store.load_log("s", include_ended=True))["entries"]
            assert entry["entry"]["text"] == f"{CANARY}-2"
            for number in range(3):
                task = await store.get_task(f"t-{number}")
                assert task is not None and task["original_params"] == [CANARY, number]

    asyncio.run(main())


def test_a_rotation_compresses_what_no_key_protects(binary: Path, database: Path) -> None:
    with BlockingStore(database, binary=binary) as store:
        store.put_value("c", key="k", value=CANARY * 1_000)
        store.put_value("c", key="short", value=1)
        assert store.rotate(Codec()).sealed == 1 and store.rotate(Codec()).sealed == 0
        assert store.get_value("c", key="k")["value"]["$codec"].startswith("1/")
        with pytest.raises(ValueError, match="no codec"):
            store.rotate()


def test_what_others_write_first_is_theirs(binary: Path, database: Path) -> None:
    """Each page is listed, then changed by others before it is replaced."""
    pick = random.Random(7)

    async def main() -> None:
        async with opened(binary, database, Codec({"old": OLD})) as old, opened(binary, database, both()) as new:
            await old.create_session(session_id="s", status="active")
            told = {f"k{number}": 0 for number in range(60)}
            for key in told:
                await old.put_value("c", key=key, value=0)
                await old.set_session_state("s", key=key, value=0)
            real = new.call

            async def late(method: str, params: Any = None, **more: Any) -> Any:
                if method == "replace_payloads":
                    for key in pick.sample(sorted(told), 12):
                        told[key] += 1
                        writer = pick.choice((old, new)) if rounds[0] < 3 else new
                        await writer.put_value("c", key=key, value=told[key])
                        await writer.set_session_state("s", key=key, value=told[key])
                    rounds[0] += 1
                return await real(method, params, **more)

            rounds = [0]
            new.call = late  # type: ignore[method-assign]
            found = await new.rotate(rounds=20)
            assert rounds[0] > 1 and set(found.keys) == {"new"}
            new.call = real  # type: ignore[method-assign]
            assert (await new.rotate()).is_complete
        async with opened(binary, database, Codec({"new": NEW}, accept_plain=False)) as store:
            session = await store.get_session("s")
            assert session is not None and session["state"] == told
            assert {key: (await store.get_value("c", key=key))["value"] for key in told} == told

    asyncio.run(main())


@pytest.mark.parametrize("pause", [0, 0.002])
@pytest.mark.parametrize("has_cursor", [False, True])
def test_a_rotation_that_is_killed_goes_on(
    binary: Path, database: Path, pause: float, has_cursor: bool, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process is killed with each of the calls that it makes, on a new copy each time, until none is left."""
    monkeypatch.setattr("mcp_session_store.rotation.PAGE", 5)

    async def killed(copy: Path, step: int) -> tuple[Rotation | None, str | None]:
        """What it found, unless it was killed; and the cursor that it told last."""
        cursor: str | None = None
        made = 0

        def note(found: Rotation) -> None:
            nonlocal cursor
            cursor = found.cursor

        async with opened(binary, copy, both(), restart=None) as store:
            real = store.call

            async def fatal(method: str, params: Any = None, **more: Any) -> Any:
                nonlocal made
                made += 1
                if made != step:
                    return await real(method, params, **more)
                making = asyncio.ensure_future(real(method, params, **more))
                await asyncio.sleep(pause)  # so it is written, or done
                assert store.pid is not None
                os.kill(store.pid, signal.SIGKILL)
                await making
                raise StoreError("It was done before the process was killed.")

            store.call = fatal  # type: ignore[method-assign]
            try:
                return await store.rotate(on_page=note), cursor
            except StoreError:
                return None, cursor

    async def main() -> None:
        async with opened(binary, database, Codec({"old": OLD})) as store:
            await fill(store, "x", CANARY)
            before = await read(store, "x")
        step, found = 0, None
        while found is None:
            step += 1
            copy = database.parent / str(step) / database.name
            copy.parent.mkdir()
            shutil.copy(database, copy)
            found, cursor = await killed(copy, step)
            async with opened(binary, copy, both()) as store:
                assert await read(store, "x") == before  # whatever was done
                assert (await store.rotate(cursor=cursor if has_cursor else None)).is_complete
            async with opened(binary, copy, Codec({"new": NEW}, accept_plain=False)) as store:
                assert await read(store, "x") == before
        assert step > 8

    asyncio.run(main())


def test_a_rotation_tells_what_does_not_open(binary: Path, database: Path) -> None:
    with BlockingStore(database, binary=binary, codec=Codec({"lost": b"l" * 32})) as store:
        store.put_value("c", key="gone", value=1)
    with BlockingStore(database, binary=binary, codec=both()) as store:
        store.put_value("c", key="there", value=1)
        found = store.rotate()
        assert not found.is_complete and found.keys == {"new": 1, "lost": 1}
        (error,) = found.unreadable
        assert error.key_id == "lost" and error.path is not None and "gone" in error.path
        assert store.get_value("c", key="there")["value"] == 1


# --- The other language


NODE = """
import { Codec, SessionStore } from %s
const [binary, database, step, key] = process.argv.slice(1)
const codec = new Codec({ keys: { old: key } })
const store = await SessionStore.open({ binary, database, codec })
const name = { session_id: 'both', principal: null }
if (step === 'write') {
  await store.createSession({ session_id: 'both', status: 'active', metadata: { by: 'node', ü: '\\u{1f600}\\ud800' } })
  await store.storeEvent({ session_id: 'both', data: { x: 'y'.repeat(500) }, stream_id: 's' })
  await store.appendLogEntry({ session_id: 'both', entry: { message_id: 'm', received_at: 5, sender: 'ü', text: 1 } })
  await store.createTask({ task_id: 't', status_message: 'words', original_params: [0.1, -0, 1e21] })
  await store.putValue({ collection: 'c', key: 'k', value: [null, true], tenant_id: 'te', principal: 'pr' })
}
console.log(JSON.stringify([
  (await store.getSession({ session_id: 'both' })).metadata,
  (await store.getEventsAfter({ session_id: 'both' })).events[0].data,
  (await store.loadLog({ session_id: 'both' })).entries[0].entry,
  (await store.getTask({ task_id: 't' })).original_params, (await store.getTask({ task_id: 't' })).status_message,
  (await store.getValue({ collection: 'c', key: 'k', tenant_id: 'te', principal: 'pr' })).value,
]))
await store.close()
""" % json.dumps(str(NODE_CLIENT))


@pytest.mark.parametrize("writer", ["python", "node"])
def test_one_language_reads_what_the_other_wrote(writer: str, binary: Path, database: Path) -> None:
    def node(step: str) -> Any:
        arguments = [str(binary), str(database), step, base64.b64encode(OLD).decode()]
        done = subprocess.run(["node", "--input-type=module", "-e", NODE, *arguments],
                              capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    # An older Node has no zstd.
    with BlockingStore(database, binary=binary, codec=Codec({"old": OLD}, compression="deflate")) as store:
        if writer == "node":
            wrote = node("write")
        else:
            store.create_session(session_id="both", status="active", metadata={"by": "python", "ü": "\U0001f600\ud800"})
            store.store_event("both", data={"x": "y" * 500}, stream_id="s")
            store.append_log_entry("both", entry={"message_id": "m", "received_at": 5, "sender": "ü", "text": 1})
            store.create_task(task_id="t", status_message="words", original_params=[0.1, 0, 1e21])
            store.put_value("c", key="k", value=[None, True], tenant_id="te", principal="pr")
        task = store.get_task("t")
        session = store.get_session("both")
        assert task is not None and session is not None
        found = [
            session["metadata"], store.get_events_after("both")["events"][0]["data"],
            store.load_log("both")["entries"][0]["entry"], task["original_params"], task["status_message"],
            store.get_value("c", key="k", tenant_id="te", principal="pr")["value"],
        ]
        assert found == (wrote if writer == "node" else node("read"))
        assert found[0]["by"] == writer


def test_without_the_library_it_says_what_to_install() -> None:
    text = ("import sys; sys.modules['cryptography'] = None; sys.modules['zstandard'] = None\n"
            "from mcp_session_store import Codec\n"
            "assert Codec().seal('x' * 999, ('task.meta', 't'))['$codec'] == '1/deflate'\n"
            "Codec({'a': b'x' * 32})")
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "protocol/clients/python")})
    assert "pip install mcp-session-store[codec]" in done.stderr and "ImportError" in done.stderr
