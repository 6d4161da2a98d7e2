"""The store's process: how it ends, what is told then, and that it never stays behind."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mcp_session_store import AnswerError, ChildError, Restart, Store

Impostor = Callable[[str], Path]
#: seconds after which a wait has failed
PATIENCE = 60.0
CLIENT = str(Path(__file__).parents[3] / "protocol/clients/python")

#: dies with the third call
DIES = """
with open(sys.argv[0] + ".starts", "a") as starts: starts.write("+")
for number, request in enumerate(requests):
    if number == 2: os.kill(os.getpid(), signal.SIGKILL)
"""

#: dies with the first; the file beside it says how many have started
ALWAYS_DIES = """
with open(sys.argv[0] + ".starts", "a") as starts: starts.write("+")
next(requests); os._exit(70)
"""


def starts(program: Path) -> int:
    path = Path(f"{program}.starts")
    return len(path.read_text()) if path.exists() else 0


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


# --- It dies


def test_what_was_on_its_way_fails_at_once_and_says_whether_it_may_be_done(impostor: Impostor) -> None:
    async def main() -> None:
        async with Store(binary=impostor(DIES), restart=None, timeout=None) as store:
            done = await asyncio.wait_for(asyncio.gather(
                store.store_event("s", data=1), store.get_session("s"), store.store_event("s", data=2),
                return_exceptions=True), PATIENCE)
            assert [type(error) for error in done] == [ChildError] * 3
            outcomes = [error.outcome for error in done if isinstance(error, ChildError)]
            assert outcomes == ["unknown", "not_applied", "unknown"]
            assert "killed by signal 9" in str(done[0])
            with pytest.raises(ChildError, match="killed by signal 9") as raised:
                await store.get_session("s")
            assert raised.value.outcome == "not_applied"

    asyncio.run(main())


def test_a_killed_store_loses_nothing_that_was_answered(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary, restart=Restart(attempts=9)) as store:
            await store.create_session(session_id="s", status="active")
            answered: list[int] = []

            async def write(number: int) -> None:
                try:
                    answered.append((await store.store_event("s", data=number))["id"])
                except ChildError as error:
                    assert error.outcome in ("unknown", "not_applied")

            for round_ in range(5):
                calls = [asyncio.ensure_future(write(number)) for number in range(200)]
                os.kill((await store.server_info())["pid"], signal.SIGKILL)
                await asyncio.wait_for(asyncio.gather(*calls), PATIENCE)
                page = await store.get_events_after("s", limit=10_000)
                assert set(answered) <= {event["id"] for event in page["events"]}, round_

    asyncio.run(main())


def test_reads_are_repeated_and_writes_are_not(impostor: Impostor) -> None:
    program = impostor("""
with open(sys.argv[0] + ".starts", "a") as starts: starts.write("+")
if os.path.getsize(sys.argv[0] + ".starts") == 1:
    next(requests); next(requests); next(requests)
    os._exit(70)
for request in requests: answer(request, request["method"])
""")

    async def main() -> None:
        async with Store(binary=program, restart=Restart(delay=0)) as store:
            done = await asyncio.wait_for(asyncio.gather(
                store.call("get_session"), store.call("store_event"), store.call("list_sessions"),
                return_exceptions=True), PATIENCE)
            assert done[0] == "get_session" and done[2] == "list_sessions"
            assert isinstance(done[1], ChildError) and done[1].outcome == "unknown" and done[1].exit_code == 70
            assert await store.call("store_event") == "store_event"
        assert starts(program) == 2

    asyncio.run(main())


def test_calls_made_while_it_starts_again_wait_for_it(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary, restart=Restart(delay=0.2)) as store:
            os.kill(store.info["pid"], signal.SIGKILL)
            with pytest.raises(ChildError):
                while True:
                    await store.put_value("c", key="k", value=1)
            # Now it is known to be gone, and the next one is not there yet.
            assert (await store.put_value("c", key="k", value=2))["stored"]

    asyncio.run(main())


def test_it_gives_up_starting_what_dies_again_and_again(impostor: Impostor) -> None:
    program = impostor(ALWAYS_DIES)

    async def main() -> None:
        async with Store(binary=program, restart=Restart(attempts=3, delay=0.001)) as store:
            errors = []
            while not errors or errors[-1].reason != "gave_up":
                try:
                    await asyncio.wait_for(store.store_event("s", data=1), PATIENCE)
                except ChildError as error:
                    errors.append(error)
            assert starts(program) == 4
            assert store.state == "failed" and errors[-1].retryable and errors[-1].outcome == "not_applied"
            with pytest.raises(ChildError):
                await store.health()
            assert starts(program) == 4, "nothing is tried before the pause is over"
            await store.open()
            assert store.state == "ready"
            with pytest.raises(ChildError, match="ended with 70"):
                await store.store_event("s", data=1)
            assert starts(program) == 5

    asyncio.run(main())


@pytest.mark.parametrize("code", [64, 65, 78])
def test_what_another_start_would_only_repeat_is_not_started_again(code: int, impostor: Impostor) -> None:
    program = impostor(f"""
with open(sys.argv[0] + ".starts", "a") as starts: starts.write("+")
next(requests); os._exit({code})
""")

    async def main() -> None:
        async with Store(binary=program, restart=Restart(delay=0)) as store:
            with pytest.raises(ChildError) as raised:
                await store.get_session("s")
            assert raised.value.exit_code == code
        assert starts(program) == 1

    asyncio.run(main())


def test_what_is_no_json_fails_one_call_and_not_the_store(impostor: Impostor) -> None:
    async def main() -> None:
        program = impostor('next(requests); print("hello", flush=True)\nfor request in requests: answer(request, 1)')
        async with Store(binary=program) as store:
            with pytest.raises(AnswerError, match="hello") as raised:
                await asyncio.wait_for(store.store_event("s", data=1), PATIENCE)
            assert raised.value.outcome == "unknown" and raised.value.method == "store_event"
            assert await asyncio.wait_for(store.call("health"), PATIENCE) == 1

    asyncio.run(main())


# --- Standard error


def test_standard_error_goes_to_the_logger_and_never_fills_up(
    impostor: Impostor, caplog: pytest.LogCaptureFixture
) -> None:
    program = impostor("""
for number in range(20_000): os.write(2, b"line %d\\n" % number)
os.write(2, b"x" * 300_000 + b"\\n\\xff\\n")
answer(next(requests), "done")
next(requests, None)  # until it is closed: an end of its own would be told as well
""")

    async def main() -> None:
        async with Store(binary=program) as store:
            assert await asyncio.wait_for(store.call("x"), PATIENCE) == "done"

    with caplog.at_level(logging.WARNING, "mcp_session_store"):
        asyncio.run(main())
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:20_000] == [f"line {number}" for number in range(20_000)]
    assert all(len(line) <= 4_096 for line in lines) and lines[-1] == "\ufffd"


# --- It is closed


def test_close_lets_everything_be_answered_and_leaves_no_process(binary: Path, database: Path) -> None:
    async def main() -> None:
        store = await Store(database, binary=binary).open()
        await store.create_session(session_id="s", status="active")
        calls = [asyncio.ensure_future(store.store_event("s", data="x" * 1_000)) for _ in range(2_000)]
        await asyncio.sleep(0)
        await store.close()
        assert [event["id"] for event in await asyncio.gather(*calls)] == list(range(1, 2_001))
        assert not is_running(store.info["pid"])
        await store.close()
        with pytest.raises(ChildError, match="closed"):
            await store.health()

    asyncio.run(main())


def test_close_before_open_and_beside_open(binary: Path, database: Path) -> None:
    async def main() -> None:
        store = Store(database, binary=binary)
        await store.close()
        with pytest.raises(ChildError, match="closed"):
            await store.health()
        other = Store(database, binary=binary)
        opening = asyncio.ensure_future(other.open())
        await asyncio.sleep(0)
        await other.close()
        await opening
        assert not is_running(other.info["pid"])

    asyncio.run(main())


def test_close_does_not_wait_for_a_restart(binary: Path, database: Path) -> None:
    async def main() -> None:
        store = await Store(database, binary=binary, restart=Restart(delay=1_000, max_delay=1_000)).open()
        os.kill(store.info["pid"], signal.SIGKILL)
        with pytest.raises(ChildError):
            while True:
                await store.put_value("c", key="k", value=1)
        waiting = asyncio.ensure_future(store.health())
        await asyncio.sleep(0)
        await asyncio.wait_for(store.close(), PATIENCE)
        with pytest.raises(ChildError, match="closed"):
            await waiting

    asyncio.run(main())


def test_a_process_that_does_not_want_to_end_is_killed(impostor: Impostor) -> None:
    program = impostor("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)")

    async def main() -> None:
        store = await Store(binary=program).open()
        await asyncio.wait_for(store.close(patience=0.05), PATIENCE)

    asyncio.run(main())


def test_nobody_waits_for_ever_on_a_closed_store(impostor: Impostor) -> None:
    async def main() -> None:
        store = await Store(binary=impostor("time.sleep(1000)"), timeout=None).open()
        calls = [asyncio.ensure_future(store.store_event("s", data=1)), asyncio.ensure_future(store.get_session("s"))]
        await asyncio.sleep(0)
        await store.close(patience=0.05)
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert [error.outcome for error in done] == ["unknown", "not_applied"]  # type: ignore[union-attr]

    asyncio.run(main())


# --- The parent goes

PARENT = """
import asyncio, os, signal, sys
sys.path.insert(0, sys.argv[1])
from mcp_session_store import Store, BlockingStore
how, binary, database = sys.argv[2:]
async def main():
    store = await Store(database, binary=binary).open()
    await store.create_session(session_id="s", status="active")
    print(store.info["pid"], flush=True)
    for number in range(100): asyncio.ensure_future(store.store_event("s", data=number))
    await asyncio.sleep(0)
    if how == "return": return
    if how == "exit": os._exit(0)
    if how == "raise": raise RuntimeError("crash")
    if how == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if how == "fork":  # a child that stays, as a server's worker would, and knows nothing of the store
        if os.fork() == 0:
            for fd in (0, 1, 2): os.close(fd)
            import time; time.sleep(300)
        os._exit(0)
if how == "blocking":
    store = BlockingStore(database, binary=binary).open()
    print(store.info["pid"], flush=True)
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["return", "exit", "raise", "kill", "fork", "blocking"])
def test_a_parent_that_goes_leaves_no_process(how: str, binary: Path, database: Path) -> None:
    command = [sys.executable, "-c", PARENT, CLIENT, how, str(binary), str(database)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.wait(PATIENCE)
        try:
            wait_until(lambda: not is_running(pid), f"the store stays behind when its parent does {how}")
        finally:
            if how == "fork":
                os.killpg(parent.pid, signal.SIGKILL)
