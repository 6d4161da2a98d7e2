"""A store among what a host does: forks, signals, threads, other event loops, warnings that are errors."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_session_store import (
    AnswerError, BlockingStore, CallTimeout, ChildError, Overloaded, RequestTooLarge, Restart, Store, StoreError,
)
from mcp_session_store.contract import SessionNotFound

#: seconds after which a wait has failed
PATIENCE = 60.0
CLIENT = str(Path(__file__).parents[3] / "protocol/clients/python")


def script(text: str, *arguments: object, **options: Any) -> str:
    """What a program of its own says, with every warning an error."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PREAMBLE + text, CLIENT, *map(str, arguments)],
        capture_output=True, text=True, timeout=PATIENCE, check=False, **options)
    assert done.returncode == 0 and done.stderr == "", f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


PREAMBLE = """
import asyncio, logging, os, signal, sys, threading, time
logging.disable(logging.CRITICAL)
sys.path.insert(0, sys.argv[1])
from mcp_session_store import *
binary, database, *rest = sys.argv[2:]
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# --- Warnings and loops


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_no_warning_with_any_loop(loop: str, binary: Path, database: Path) -> None:
    out = script("""
import importlib
async def main():
    async with Store(database, binary=binary, restart=Restart(delay=0.001, attempts=99)) as store:
        await store.create_session(session_id="s", status="active")
        async with await store.subscribe_events("s", after_event_id=0) as events:
            for number in range(20):
                os.kill(store.pid, signal.SIGKILL)
                try: await store.store_event("s", data=number)
                except ChildError as error: assert error.outcome in ("unknown", "not_applied")
                await store.session_count()
            await store.store_event("s", data="last")
            async for event in events:
                if event["data"] == "last": break
    for number in range(5):
        try: await Store(":memory:", binary="/bin/true").open()
        except ChildError as error: print(error.reason)
importlib.import_module(rest[0]).run(main())
# A thread of asyncio's that has waited for a process ends just behind what it tells.
end = time.monotonic() + 30
while threading.active_count() > 1 and time.monotonic() < end: time.sleep(0.001)
print("done", threading.active_count())
""", binary, database, loop, stdin=subprocess.DEVNULL)
    assert out.split() == ["exited"] * 5 + ["done", "1"]


def test_a_store_goes_on_in_the_next_event_loop(binary: Path, database: Path) -> None:
    """As tests with a loop each have it: the first loop is gone without having closed the store."""
    store = Store(database, binary=binary)

    async def pid() -> int:
        return (await store.server_info())["pid"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        first = asyncio.run(pid())
        second = asyncio.run(pid())
        gc.collect()
    assert first != second

    async def close() -> None:
        await store.close()

    asyncio.run(close())
    end = time.monotonic() + PATIENCE
    while is_running(first):
        assert time.monotonic() < end, "the first process stays"
        time.sleep(0.01)


# --- Processes


def test_ctrl_c_reaches_the_host_alone(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            assert store.pid is not None
            assert os.getsid(store.pid) == store.pid != os.getsid(0)
            assert os.getpgid(store.pid) != os.getpgid(0)

    asyncio.run(main())


@pytest.mark.parametrize("env", [{"A": 1}, {1: "a"}, {"A": "x\0y"}, {"A=B": "x"}], ids=str)
def test_an_environment_that_is_none_is_told_as_a_start_that_failed(env: Any, binary: Path) -> None:
    async def main() -> None:
        store = Store(":memory:", binary=binary, env=env)
        for call in (store.open, store.health, store.health):
            with pytest.raises(ChildError) as caught:
                await asyncio.wait_for(call(), PATIENCE)
            assert (caught.value.reason, caught.value.outcome) == ("not_startable", "not_applied")
        assert store.state == "failed"
        await store.close()

    asyncio.run(main())


def test_a_relative_program_with_a_working_directory_and_an_environment(
    binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "bin/program").symlink_to(binary)
    monkeypatch.chdir(tmp_path)
    store = Store("here.db", binary="bin/program", cwd="data", env={"MCP_SESSION_STORE_MAX_SESSIONS": "7"})

    async def main() -> None:
        async with store:
            assert store.info["limits"]["max_sessions"] == 7

    monkeypatch.chdir("/")
    store_here = Store("here.db", binary=tmp_path / "bin/program", cwd=tmp_path / "data")

    async def again() -> None:
        async with store_here:
            assert (await store_here.session_count())["count"] == 0

    asyncio.run(again())
    monkeypatch.chdir(tmp_path)
    asyncio.run(main())
    assert (tmp_path / "data/here.db").exists()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_forked_child_has_no_store_and_holds_none(loop: str, binary: Path, database: Path) -> None:
    out = script("""
import importlib, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
async def main():
    store = await Store(database, binary=binary).open()
    heard, told = os.pipe()
    fork = os.fork()
    if fork == 0:
        try:
            coroutine = store.session_count()
            try: coroutine.send(None)
            except ChildError as error: os.write(told, error.reason.encode())
            time.sleep(60)
        finally: os._exit(0)
    begun = time.monotonic()
    await store.close(60)
    print("closed", time.monotonic() - begun < 30)
    print(os.read(heard, 100).decode())
    os.kill(fork, signal.SIGKILL); os.waitpid(fork, 0)
importlib.import_module(rest[0]).run(main())
""", binary, database, loop)
    assert sorted(out.splitlines()) == ["closed True", "forked"]


def test_a_blocking_store_in_a_forked_child(binary: Path, database: Path) -> None:
    out = script("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
store = BlockingStore(database, binary=binary).open()
fork = os.fork()
if fork == 0:
    try:
        try: store.session_count()
        except ChildError as error: print(error.reason)
        store.close()
        print(store.open().session_count()["count"])
        store.close()
        sys.stdout.flush()
    finally: os._exit(0)
assert os.waitpid(fork, 0)[1] == 0
print(store.session_count()["count"])
store.close()
""", binary, database)
    assert out.split() == ["forked", "0", "0"]


# --- Threads and signals


def test_threads_that_call_while_one_closes_all_come_back(binary: Path) -> None:
    before = descriptors()
    for _ in range(10):
        store = BlockingStore(":memory:", binary=binary).open()
        ends: list[str] = []

        def work(store: BlockingStore = store, ends: list[str] = ends) -> None:
            try:
                while True:
                    store.session_count()
            except ChildError as error:
                ends.append(error.reason)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        closers = [threading.Thread(target=store.close) for _ in range(3)]
        for closer in closers:
            closer.start()
        for thread in threads + closers:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "it waits for ever"
        assert len(ends) == 8 and set(ends) <= {"closed", "exited"}
    assert descriptors() == before
    assert not [thread for thread in threading.enumerate() if thread.name == "mcp-session-store"]


def test_a_second_sigterm_while_the_first_one_closes(binary: Path, database: Path) -> None:
    text = PREAMBLE + """
store = BlockingStore(database, binary=binary).open(); store.create_session(session_id="s", status="active")
def stop(*_): store.close(); os._exit(0)
signal.signal(signal.SIGTERM, stop)
def load():
    try:
        while True: store.store_event("s", data="x" * 100_000)
    except StoreError: pass
for _ in range(4): threading.Thread(target=load, daemon=True).start()
print("ready", flush=True)
while True: store.session_count()
"""
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", text, CLIENT, str(binary), str(database)],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.1)
            for _ in range(3):
                process.send_signal(signal.SIGTERM)
                time.sleep(0.002)
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
        database.unlink()


def test_a_callback_cannot_wait_for_its_own_thread(binary: Path, database: Path) -> None:
    raised: list[BaseException] = []

    def on_state(state: str, _: object) -> None:
        if state == "ready":
            try:
                store.session_count()
            except RuntimeError as error:
                raised.append(error)
            store.close()  # asks for it, and goes on

    store = BlockingStore(database, binary=binary, on_state=on_state)
    try:
        store.open()
    except ChildError as error:
        assert error.reason == "closed"
    store.close()
    assert "another thread" in str(raised[0]) and store.state == "closed"


# --- Errors


@pytest.mark.parametrize("error", [
    StoreError("plain"),
    SessionNotFound("touch_session", {"code": 1001, "message": "No.", "data": {"kind": "session_not_found", "x": 1}}),
    ChildError("It ended.", "unknown", exit_code=70, signal=None, method="health"),
    ChildError("It ended too often.", reason="gave_up"),
    CallTimeout("health", 0.5, "not_applied"), RequestTooLarge("health", 7, 5), Overloaded("health", 7, 5),
    AnswerError("health", "odd", "unknown"),
], ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled_and_copied(error: StoreError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error) and str(other) == str(error) and vars(other) == vars(error)


# --- Nothing is left behind


def test_a_cancelled_scope_of_anyio_unsubscribes(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary, options={"max_subscriptions": 1}) as store:
            await store.create_session(session_id="s", status="active")

            async def busy() -> None:
                while True:
                    await store.session_count()

            beside = [asyncio.ensure_future(busy()) for _ in range(4)]
            for _ in range(20):
                with anyio.CancelScope() as scope:
                    async with await store.subscribe_events("s") as events:
                        scope.cancel()
                        await events.__anext__()
            for task in beside:
                task.cancel()

    asyncio.run(main())


def test_a_store_whose_opening_was_cancelled_is_opened_again_at_once(binary: Path, database: Path) -> None:
    """While the start that was cancelled is still ending its process."""
    said = script("""
async def main():
    faults = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
    for turns in range(8):
        store = Store(":memory:", binary=binary)
        opening = asyncio.ensure_future(store.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await store.open()
        await store.health()
        await store.close()
    del opening
    print(faults)
asyncio.run(main())
""", binary, database)
    assert said == "[]\n"


def test_a_loop_that_runs_tasks_before_it_hands_them_out(binary: Path, database: Path) -> None:
    """`asyncio.eager_task_factory` does: what the store spawns would be over before the store has it."""
    said = script("""
made = []
def factory(loop, coroutine, **options):
    made.append(coroutine.__qualname__)
    return getattr(asyncio, "eager_task_factory", asyncio.Task)(
        **{"loop": loop, "coro": coroutine}, **options)
async def main():
    asyncio.get_running_loop().set_task_factory(factory)
    store = Store(database, binary="/nowhere/mcp-session-store")
    for reason in ("not_found", "closed"):
        try:
            await (store.open() if reason == "not_found" else store.health())
        except ChildError as error:
            print(error.reason, end=" ")
        await store.close()
    async with Store(database, binary=binary) as store:
        await store.create_session(session_id="s")
        async with await store.subscribe_events("s"):
            pass
    print(store.state, [name for name in made if name.startswith("Store.")])
asyncio.run(main())
""", binary, database)
    assert said == "not_found closed closed []\n"


def test_a_block_that_is_cancelled_at_any_moment_leaves_no_process(binary: Path, tmp_path: Path) -> None:
    async def block(store: Store) -> None:
        async with store:
            await asyncio.sleep(PATIENCE)

    async def main() -> None:
        states = set()
        for turns in [*range(40), *range(100, 2_000, 300)]:
            store = Store(":memory:", binary=binary)
            task = asyncio.ensure_future(block(store))
            for _ in range(turns):
                await asyncio.sleep(0)
            states.add(store.state)
            pid = store.pid
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            end = time.monotonic() + PATIENCE
            while pid is not None and is_running(pid):
                assert time.monotonic() < end, f"cancelled after {turns} turns it stays"
                await asyncio.sleep(0.002)
        assert "starting" in states

    before = descriptors()
    asyncio.run(main())
    assert descriptors() == before


def test_many_calls_and_restarts_leave_nothing(binary: Path, database: Path) -> None:
    async def main() -> None:
        restart = Restart(attempts=10**6, delay=0.0001)
        async with Store(database, binary=binary, restart=restart) as store:
            await store.create_session(session_id="s", status="active")
            async with await store.subscribe_events("s", after_event_id=0) as events:
                before, threads = descriptors(), threading.active_count()
                for number in range(60):
                    assert store.pid is not None
                    os.kill(store.pid, signal.SIGKILL)
                    async with await store.subscribe_events("s"):
                        await asyncio.gather(*[store.get_session("s") for _ in range(100)])
                    if number % 3 == 0:
                        calls = [asyncio.ensure_future(store.get_session("s")) for _ in range(50)]
                        await asyncio.sleep(0)
                        for call in calls:
                            call.cancel()
                        await asyncio.gather(*calls, return_exceptions=True)
                await store.store_event("s", data="last")
                assert (await asyncio.wait_for(events.__anext__(), PATIENCE))["data"] == "last"
                await store.health()
                assert descriptors() <= before and threading.active_count() <= threads + 1
                assert (store.bytes_in_flight, store.bytes_waiting, len(store._subscriptions)) == (0, 0, 1)
                assert len(store._tasks) == 0 and len(asyncio.all_tasks()) == 1

    asyncio.run(main())
