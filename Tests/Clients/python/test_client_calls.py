"""Calls: what goes out, what comes back, how many wait, and for how long."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp_session_store import AnswerError, CallTimeout, ChildError, ErrorKind, RequestTooLarge, Store, StoreError
from mcp_session_store.contract import ERRORS, InvalidParams, RequirementFailed, SessionExists, SessionNotFound

Impostor = Callable[[str], Path]


# --- The program


def test_the_program_is_found_by_argument_environment_and_path(
    binary: Path, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def opens(**arguments: object) -> bool:
        async with Store(database, **arguments) as store:  # type: ignore[arg-type]
            return store.info["name"] == "mcp-session-store"

    assert asyncio.run(opens(binary=binary))
    monkeypatch.setenv("MCP_SESSION_STORE_BINARY", str(binary))
    assert asyncio.run(opens())
    monkeypatch.delenv("MCP_SESSION_STORE_BINARY")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mcp-session-store").symlink_to(binary)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert asyncio.run(opens())


@pytest.mark.parametrize("content", [None, "#!/no/such/interpreter\n", "neither a script nor a program"])
def test_a_program_that_cannot_be_run_is_an_error_and_no_wait(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "program"
    if content is not None:
        path.write_text(content)
        path.chmod(0o755)

    async def main() -> None:
        store = Store(binary=path)
        with pytest.raises(ChildError, match="program") as raised:
            await store.open()
        assert raised.value.outcome == "not_applied"
        with pytest.raises(ChildError):
            await store.health()
        await store.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_program_that_ends_at_once_says_why(binary: Path, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and long enough to be taken for one" * 20)

    async def main() -> None:
        with pytest.raises(ChildError, match="ended with 65: .*text.db") as raised:
            await Store(tmp_path / "text.db", binary=binary).open()
        assert raised.value.exit_code == 65

    asyncio.run(main())


def test_options_reach_the_command_line(binary: Path, database: Path) -> None:
    async def main() -> None:
        options = {"max_sessions": 7, "exclusive": True, "require_owner": False, "session_ttl": "90s"}
        async with Store(database, binary=binary, options=options) as store:
            assert store.info["limits"]["max_sessions"] == 7
            assert store.info["limits"]["session_ttl"] == 90_000
            await store.create_session()
            with pytest.raises(ChildError, match="ended with 75"):
                await Store(database, binary=binary).open()

    asyncio.run(main())


def test_what_is_required_must_be_there(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary, require=["sessions", "store_event"]):
            pass
        with pytest.raises(ChildError, match="telepathy") as raised:
            await Store(database, binary=binary, require=["telepathy"]).open()
        assert raised.value.reason == "incompatible"
        assert isinstance(raised.value.__cause__, RequirementFailed)
        assert raised.value.__cause__.data["missing"] == "telepathy"

    asyncio.run(main())


@pytest.mark.parametrize("options", [
    {"timeout": 0}, {"timeout": float("nan")}, {"timeout": "5"}, {"timeout": True}, {"start_timeout": -1},
    {"max_in_flight": 0}, {"max_waiting": 1.5}, {"restart": True}, {"retry": False},
])
def test_what_cannot_be_meant_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        Store(":memory:", **options)


def test_a_working_directory_that_is_not_there_is_named(binary: Path) -> None:
    async def main() -> None:
        with pytest.raises(ChildError, match="not/there") as raised:
            await Store(":memory:", binary=binary, cwd="not/there").open()
        assert raised.value.reason == "not_startable"

    asyncio.run(main())


def test_every_kind_of_error_has_a_constant() -> None:
    assert {kind.value for kind in ErrorKind} >= set(ERRORS) | {"parse_error", "invalid_request", "internal_error"}
    assert ErrorKind.QUEUE_FULL == "queue_full" and SessionNotFound is ERRORS[ErrorKind.SESSION_NOT_FOUND]


# --- What goes out and comes back


def test_errors_have_a_class_a_kind_and_their_details(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            with pytest.raises(SessionNotFound) as raised:
                await store.touch_session("nobody")
            error = raised.value
            assert (error.kind, error.code, error.method) == ("session_not_found", 1001, "touch_session")
            assert error.data["session_id"] == "nobody" and not error.retryable and error.outcome == "not_applied"
            await store.create_session(session_id="taken")
            with pytest.raises(SessionExists):
                await store.create_session(session_id="taken")
            with pytest.raises(InvalidParams, match="limit"):
                await store.list_sessions(limit=0)

    asyncio.run(main())


def test_owners_are_left_out_or_null_or_named(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            await store.create_session(session_id="s", principal="alice")
            assert await store.get_session("s") is not None
            assert await store.get_session("s", principal="alice") is not None
            assert await store.get_session("s", principal="bob") is None
            assert await store.get_session("s", principal=None) is None

    asyncio.run(main())


PAYLOADS = [
    None, True, 0, -1, 2**53 - 1, 10**40, 1.5, "", "line\nfeed\r\u2028\u2029\u0085", "\x00\x1f", "half \ud83d a pair",
    "😀" * 70_000, {"a": [{}, []]}, "x" * 1_000_000,
]


def test_payloads_come_back_as_they_went(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            await store.create_session(session_id="s", status="active")
            stored = await asyncio.gather(*[store.store_event("s", data=payload) for payload in PAYLOADS])
            assert [event["id"] for event in stored] == list(range(1, len(PAYLOADS) + 1))
            page = await store.get_events_after("s")
            assert [event["data"] for event in page["events"]] == PAYLOADS

    asyncio.run(main())


def test_parameters_that_are_json_already_go_as_they_are(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            await store.create_session(session_id="s", status="active")
            stored = await store.call("store_event", '{"session_id": "s", "data": ["half \ud83d", "\u2028", 1]}')
            page = await store.get_events_after("s", after_event_id=stored["id"] - 1)
            assert [event["data"] for event in page["events"]] == [["half \ud83d", "\u2028", 1]]
            with pytest.raises(RequestTooLarge):
                await store.call("x", json.dumps({"x": "x" * store.info["limits"]["max_line_bytes"]}))

    asyncio.run(main())


@pytest.mark.parametrize("payload", [float("nan"), {1, 2}, object()])
def test_what_json_cannot_say_is_refused_here(payload: object, binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            with pytest.raises((ValueError, TypeError)):
                await store.put_value("c", key="k", value=payload)
            assert (await store.get_value("c", key="k"))["exists"] is False

    asyncio.run(main())


def test_a_call_that_is_too_long_is_not_sent(binary: Path, database: Path) -> None:
    async def main() -> None:
        options = {"max_line_bytes": "64KiB", "max_payload_bytes": "32KiB"}
        async with Store(database, binary=binary, options=options) as store:
            with pytest.raises(RequestTooLarge, match="65536") as raised:
                await store.put_value("c", key="k", value="x" * 70_000)
            assert raised.value.outcome == "not_applied"
            assert (await store.put_value("c", key="k", value="x"))["stored"]

    asyncio.run(main())


def test_a_call_that_the_program_cannot_read_fails_alone_and_at_once(binary: Path, database: Path) -> None:
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]

    async def main() -> None:
        async with Store(database, binary=binary, timeout=None) as store:
            backup, health, put, got = await asyncio.gather(
                store.backup(f"{database}.copy"), store.health(), store.put_value("c", key="k", value=deep),
                store.get_value("c", key="k"), return_exceptions=True)
            assert isinstance(put, StoreError) and put.outcome == "not_applied" and "deeper than 128" in str(put)
            assert isinstance(backup, dict) and backup["pages"] > 0
            assert isinstance(health, dict) and health["status"] == "healthy"
            assert isinstance(got, dict) and not got["exists"]

    asyncio.run(asyncio.wait_for(main(), 60))


def test_calls_at_once_are_answered_each_with_its_own(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            await store.create_session(session_id="s", status="active")

            async def one(number: int) -> bool:
                await store.set_session_state("s", key=f"k{number}", value=number)
                return (await store.get_session_state("s", key=f"k{number}"))["value"] == number

            assert all(await asyncio.gather(*[one(number) for number in range(2_000)]))

    asyncio.run(main())


def test_the_first_call_opens(binary: Path, database: Path) -> None:
    async def main() -> None:
        store = Store(database, binary=binary)
        pids = await asyncio.gather(*[store.server_info() for _ in range(10)])
        assert len({info["pid"] for info in pids}) == 1
        await store.close()

    asyncio.run(main())


def test_a_store_belongs_to_one_event_loop(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            def elsewhere() -> None:
                with pytest.raises(RuntimeError, match="event loop"):
                    asyncio.run(store.health())
            await asyncio.to_thread(elsewhere)

    asyncio.run(main())


def test_whatever_one_answer_does_the_next_one_is_heard(impostor: Impostor) -> None:
    def breaks(_: object) -> None:
        raise RuntimeError("a defect of whoever is told")

    async def main() -> None:
        async with Store(binary=impostor("for request in requests: answer(request, 1)")) as store:
            calls = [store.call("a"), store.call("b", on_result=breaks), store.call("c")]
            done = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 60)
            assert done[0] == done[2] == 1 and isinstance(done[1], AnswerError)
            assert store.bytes_in_flight == 0

    asyncio.run(main())


# --- Waiting


def test_an_answer_that_does_not_come_in_time(impostor: Impostor) -> None:
    silent = impostor("for request in requests: pass")

    async def main() -> None:
        store = Store(binary=silent, timeout=0.05)
        await store.open()
        with pytest.raises(CallTimeout) as raised:
            await store.store_event("s", data=1)
        assert raised.value.outcome == "unknown" and isinstance(raised.value, TimeoutError)
        with pytest.raises(CallTimeout) as raised:
            await store.get_session("s")
        assert raised.value.outcome == "not_applied"
        await store.close(0.2)

    asyncio.run(main())


def test_each_call_has_its_own_time(impostor: Impostor) -> None:
    silent = impostor("for request in requests: pass")

    async def main() -> None:
        store = Store(binary=silent, timeout=None)
        await store.open()
        ended: list[float | None] = []

        async def call(timeout: float | None) -> None:
            try:
                await store.call("x", timeout=timeout)
            except CallTimeout:
                ended.append(timeout)

        calls = [asyncio.ensure_future(call(timeout)) for timeout in (0.6, 0.2, None, 60, 0.4, 0.001)]
        while len(ended) < 4:
            await asyncio.sleep(0.01)
        assert ended == [0.001, 0.2, 0.4, 0.6]
        late = asyncio.ensure_future(call(0.05))  # the alarm stands at the one that has a minute
        await late
        assert ended[4:] == [0.05] and not calls[2].done() and not calls[3].done()
        for left in (calls[2], calls[3]):
            left.cancel()
        await store.close(0.2)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_late_answer_is_thrown_away(impostor: Impostor) -> None:
    late = impostor("""
first = next(requests)
second = next(requests)
answer(first, {"late": True})
answer(second, {"late": False})
for request in requests: pass
""")

    async def main() -> None:
        async with Store(binary=late) as store:
            with pytest.raises(CallTimeout):
                await store.call("a", timeout=0.05)
            assert await store.call("b") == {"late": False}

    asyncio.run(main())


def test_a_call_that_is_cancelled_harms_no_other(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            await store.create_session(session_id="s", status="active")
            calls = [asyncio.ensure_future(store.store_event("s", data=number)) for number in range(100)]
            await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(call, dict) for call in done[1::2])
            assert all(isinstance(call, (dict, asyncio.CancelledError)) for call in done[::2])
            assert (await store.event_count(session_id="s"))["count"] >= 50

    asyncio.run(main())


def test_a_reader_that_stands_still_is_not_buried(impostor: Impostor) -> None:
    """Of 200 calls of 64 KiB no more than fit are taken; all are answered once it reads."""
    slow = impostor("""
while not os.path.exists(sys.argv[0] + ".go"): time.sleep(0.01)
for request in requests: answer(request, request["id"])
""")

    async def main() -> None:
        async with Store(binary=slow, max_in_flight=1 << 20) as store:
            calls = [asyncio.ensure_future(store.call("x", {"data": "x" * 65_536})) for _ in range(200)]
            for _ in range(20):
                await asyncio.sleep(0)
            assert store.bytes_in_flight <= (1 << 20) + 70_000
            Path(f"{slow}.go").touch()
            ids = await asyncio.gather(*calls)
            assert ids == sorted(ids) and len(set(ids)) == 200, "in the order in which they were called"
            assert store.bytes_in_flight == 0

    asyncio.run(main())


def test_waiting_for_room_ends_in_time_too(impostor: Impostor) -> None:
    silent = impostor("for request in requests: pass")

    async def main() -> None:
        store = Store(binary=silent, max_in_flight=1_000, timeout=0.1)
        await store.open()
        calls = [store.call("x", {"data": "x" * 900}) for _ in range(5)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, CallTimeout) for error in done)
        assert {error.outcome for error in done[2:] if isinstance(error, StoreError)} == {"not_applied"}
        await store.close(0.2)

    asyncio.run(main())


def test_a_wait_that_is_given_up_lets_the_next_one_in(impostor: Impostor) -> None:
    one_by_one = impostor("""
first = next(requests)
while not os.path.exists(sys.argv[0] + ".go"): time.sleep(0.01)
answer(first, 0)
for request in requests: answer(request, 0)
""")

    async def main() -> None:
        async with Store(binary=one_by_one, max_in_flight=1_000) as store:
            calls = [asyncio.ensure_future(store.call("x", {"data": "x" * 1_000})) for _ in range(4)]
            await asyncio.sleep(0.01)
            calls[1].cancel()
            Path(f"{one_by_one}.go").touch()
            assert await asyncio.gather(calls[0], *calls[2:]) == [0, 0, 0]

    asyncio.run(main())
