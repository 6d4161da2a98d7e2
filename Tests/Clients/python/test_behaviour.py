"""What every client promises, as scenarios that are data: protocol/clients/behaviour/README.md says what they mean."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from mcp_session_store import Gap, Greeting, Restart, Retry, Store, StoreError, TaskChange

FOLDER = Path(__file__).parents[3] / "protocol/clients/behaviour"
SCENARIOS = [(file.stem, scenario) for file in sorted(FOLDER.glob("scenarios/*.json"))
             for scenario in json.loads(file.read_text(encoding="utf-8"))]
#: seconds after which a wait has failed
PATIENCE = 60.0
#: options of the store, of its policies and of subscriptions that are times
TIMES = {"timeout", "start_timeout", "within", "delay", "max_delay", "pause"}


def value(data: Any) -> Any:
    """What stands in a scenario, as the language has it."""
    if isinstance(data, list):
        return [value(part) for part in data]
    if not isinstance(data, dict):
        return data
    name = next(iter(data), "")
    if not name.startswith("$"):
        return {name: value(part) for name, part in data.items()}
    if name == "$number":
        return float(data[name])
    if name == "$digits":
        return 10 ** data[name] - 1
    if name == "$repeat":
        text, times = data[name]
        return text * times
    if name == "$nested":
        nested: list[Any] = []
        for _ in range(data[name] - 1):
            nested = [nested]
        return nested
    assert name == "$by", name
    return value(data[name]["python"])


def timed(options: dict[str, Any]) -> dict[str, Any]:
    """Seconds for the milliseconds of a scenario."""
    return {name: part / 1_000 if name in TIMES and isinstance(part, (int, float)) else part
            for name, part in options.items()}


def policy(kind: type[Restart] | type[Retry], asked: Any) -> Any:
    return kind(**timed(asked)) if isinstance(asked, dict) else kind() if asked else None


def raising(*_: object) -> None:
    raise RuntimeError("a callback that raises")


class Raising(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("a log that raises")


class Runner:
    """One scenario."""

    def __init__(self, scenario: dict[str, Any], folder: Path) -> None:
        self.scenario = scenario
        self.folder = folder
        self.raises = set(scenario.get("raise", ()))
        #: what goes on beside: calls, closes, what waits for the next of a subscription
        self.beside: dict[str, asyncio.Future[Any]] = {}
        self.subscriptions: dict[str, Any] = {}
        self.states: list[str] = []
        self.gaps: dict[str, list[dict[str, Any]]] = {}
        self.greetings: dict[str, list[dict[str, Any]]] = {}
        self.heartbeats: dict[str, list[int]] = {}
        self.progress: dict[str, list[list[int]]] = {}
        self.overhead = 0

    def store(self, options: dict[str, Any]) -> Store:
        options = value(options)
        policies = {"restart": policy(Restart, options.pop("restart", None)),
                    "retry": policy(Retry, options.pop("retry", None))}
        logger = logging.Logger("behaviour")
        if "log" in self.raises:
            logger.addHandler(Raising())
        return Store(":memory:", binary=self.folder / "program", logger=logger, on_state=self.on_state,
                     **policies, **timed(options))

    def on_state(self, state: str, _: Exception | None) -> None:
        self.states.append(state)
        if "on_state" in self.raises:
            raising()

    async def run(self) -> None:
        self.store_ = self.store(self.scenario.get("options", {}))
        try:
            for number, step in enumerate(self.scenario["client"]):
                if step.get("only", "python") != "python":
                    continue
                name = next(iter(step))
                try:
                    await asyncio.wait_for(getattr(self, "do_" + name)(value(step[name]), step), PATIENCE)
                except BaseException as error:
                    raise AssertionError(f"step {number + 1}, {step}: {error!r}{self.failures()}") from error
        finally:
            for future in self.beside.values():
                future.cancel()
            await self.store_.close(0.1)
        assert not self.failures(), self.failures()

    def failures(self) -> str:
        path = self.folder / "failures"
        return f"\n{path.read_text()}" if path.exists() else ""

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert not self.failures()
            await asyncio.sleep(0.002)

    def begin(self, name: str, work: Awaitable[Any]) -> None:
        self.beside[name] = asyncio.ensure_future(work)

    async def check(self, work: Awaitable[Any], step: dict[str, Any]) -> Any:
        """Its end, which is as the step says."""
        expected = step.get("error")
        try:
            result = await work
        except (Exception, asyncio.CancelledError) as error:
            if expected is None:
                raise
            self.compare_error(error, value(expected))
            return None
        assert expected is None, f"it succeeded with {result!r:.200}"
        return result

    def compare_error(self, error: BaseException, expected: dict[str, Any]) -> None:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        if isinstance(error, asyncio.CancelledError):
            kinds.append("cancelled")
        if isinstance(error, (ValueError, TypeError)) and not isinstance(error, StoreError):
            kinds.append("misuse")
        for name, wanted in expected.items():
            if name == "class":
                assert wanted in kinds, f"{error!r} is no {wanted}"
            elif name == "message":
                assert wanted in str(error), f"'{wanted}' does not stand in '{error}'"
            else:
                found = getattr(error, name)
                assert found == wanted, f"{name} of {error!r} is {found!r}"

    # Steps

    async def do_open(self, _: Any, step: dict[str, Any]) -> None:
        if "as" in step:
            self.begin(step["as"], self.store_.open())
            await asyncio.sleep(0)
        else:
            await self.check(self.store_.open(), step)

    async def do_call(self, method: str, step: dict[str, Any]) -> None:
        count = step.get("times")
        params = step.get("text") or value(step.get("params", {}))
        options = timed({"timeout": step["timeout"]}) if "timeout" in step else {}
        for number in range(count or 1):
            name = f"{step['as']}{number}" if count else step["as"]
            told = self.progress.setdefault(name, [])

            def on_progress(done: int, total: int, told: list[list[int]] = told) -> None:
                told.append([done, total])
                if "on_progress" in self.raises:
                    raising()

            if "fill_to" in step:
                params = {"fill": "x" * (step["fill_to"] - self.overhead)}
            self.begin(name, self.store_.call(method, params, on_progress=on_progress, **options))
            await asyncio.sleep(0)
        if method == "measure" and "fill_to" not in step:
            self.overhead = await self.beside[step["as"]]

    async def do_expect(self, name: str, step: dict[str, Any]) -> None:
        result = await self.check(self.beside[name], step)
        if "error" in step or step.get("any"):
            return
        wanted = value(step["result"])
        if isinstance(result, TaskChange):
            result = change_of(result)
        assert result == wanted and type(result) is type(wanted), f"the result is {result!r:.300}"

    async def do_pending(self, name: str, _: dict[str, Any]) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        assert not self.beside[name].done(), self.beside[name]

    async def do_cancel(self, name: str, _: dict[str, Any]) -> None:
        self.beside[name].cancel()
        await asyncio.sleep(0)

    async def do_subscribe(self, kind: str, step: dict[str, Any]) -> None:
        options = timed({name: step[name] for name in ("max_queued", "max_queued_bytes", "timeout") if name in step})
        params = value(step["params"])
        name = step["as"]
        greetings, heartbeats = self.greetings.setdefault(name, []), self.heartbeats.setdefault(name, [])

        def on_init(greeting: Greeting) -> None:
            told = asdict(greeting)
            greetings.append({key: said for key, said in told.items() if key != "task_id" or said is not None})
            if "on_init" in self.raises:
                raising()

        def on_heartbeat(timestamp: int) -> None:
            heartbeats.append(timestamp)
            if "on_heartbeat" in self.raises:
                raising()

        options |= {"on_init": on_init, "on_heartbeat": on_heartbeat}
        if kind == "events":
            told = self.gaps.setdefault(name, [])

            def on_gap(gap: Gap) -> None:
                told.append({"dropped": gap.dropped, "oldest_available": gap.oldest_available,
                             "cursor_ahead": gap.cursor_ahead})
                if "on_gap" in self.raises:
                    raising()

            work = self.subscribing(name, self.store_.subscribe_events(**params, on_gap=on_gap, **options))
        else:
            work = self.subscribing(name, self.store_.subscribe_tasks(**params, **options))
        if step.get("begin"):
            self.begin(name, work)
            await asyncio.sleep(0)
        else:
            await self.check(work, step)

    async def subscribing(self, name: str, work: Awaitable[Any]) -> None:
        self.subscriptions[name] = await work

    async def do_opened(self, name: str, _: dict[str, Any]) -> None:
        await self.beside[name]

    async def do_next(self, name: str, step: dict[str, Any]) -> None:
        if "as" in step:
            self.begin(step["as"], self.taken(name))
            await asyncio.sleep(0)
            return
        found = await self.subscriptions[name].__anext__()
        wanted = value(step.get("event") or step.get("change") or step["frame"])
        if isinstance(found, TaskChange):
            found = change_of(found)
        assert contains(found, wanted), f"it is {found!r:.300}"

    async def taken(self, name: str) -> Any:
        """The next one; None at the end."""
        try:
            return await self.subscriptions[name].__anext__()
        except StopAsyncIteration:
            return None

    async def do_end(self, name: str, step: dict[str, Any]) -> None:
        found = await self.check(self.taken(name), step)
        assert found is None, f"there is one more: {found!r:.300}"
        subscription = self.subscriptions[name]
        if "ended" in step:
            assert subscription.ended == step["ended"], subscription.ended
        if "lost" in step:
            assert subscription.lost == step["lost"], subscription.lost

    async def do_gaps(self, name: str, step: dict[str, Any]) -> None:
        assert self.gaps[name] == step["told"], self.gaps[name]

    async def do_greetings(self, name: str, step: dict[str, Any]) -> None:
        assert self.greetings[name] == step["told"], self.greetings[name]

    async def do_heartbeats(self, name: str, step: dict[str, Any]) -> None:
        await self.until(lambda: len(self.heartbeats[name]) >= len(step["told"]))
        assert self.heartbeats[name] == step["told"], self.heartbeats[name]

    async def do_progress(self, name: str, step: dict[str, Any]) -> None:
        assert self.progress[name] == step["told"], self.progress[name]

    async def do_leave(self, name: str, step: dict[str, Any]) -> None:
        if "as" in step:
            self.begin(step["as"], self.subscriptions[name].aclose())
            await asyncio.sleep(0)
        else:
            await self.subscriptions[name].aclose()

    async def do_close(self, patience: float, step: dict[str, Any]) -> None:
        if "as" in step:
            self.begin(step["as"], self.store_.close(patience / 1_000))
            await asyncio.sleep(0)
        else:
            await self.store_.close(patience / 1_000)

    async def do_state(self, state: str, _: dict[str, Any]) -> None:
        await self.until(lambda: self.store_.state == state)

    async def do_states(self, states: list[str], _: dict[str, Any]) -> None:
        assert self.states == states, self.states

    async def do_ended(self, expected: dict[str, Any] | None, _: dict[str, Any]) -> None:
        error = await self.store_.ended()
        if expected is None:
            assert error is None, error
        else:
            assert error is not None
            self.compare_error(error, expected)

    async def do_in_flight(self, count: int, _: dict[str, Any]) -> None:
        await self.until(lambda: self.store_.bytes_in_flight == count and self.store_.bytes_waiting == 0)

    async def do_mark(self, name: str, _: dict[str, Any]) -> None:
        (self.folder / "marks" / name).touch()

    async def do_wait(self, name: str, _: dict[str, Any]) -> None:
        await self.until((self.folder / "marks" / name).exists)

    async def do_pass(self, least: float, _: dict[str, Any]) -> None:
        await asyncio.sleep(least / 1_000)

    async def do_signal(self, name: str, _: dict[str, Any]) -> None:
        os.kill(self.started()[-1], getattr(signal, name))

    async def do_starts(self, count: int, _: dict[str, Any]) -> None:
        assert len(self.started()) == count, self.started()

    async def do_gone(self, _: Any, step: dict[str, Any]) -> None:
        await self.until(lambda: not any(is_running(pid) for pid in self.started()))

    async def do_refused(self, refused: dict[str, Any], _: dict[str, Any]) -> None:
        try:
            self.store(refused["options"])
        except Exception as error:
            self.compare_error(error, {"class": "misuse"})
        else:
            raise AssertionError("it was taken")

    def started(self) -> list[int]:
        path = self.folder / "starts"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


def change_of(change: TaskChange) -> dict[str, Any]:
    return {"task_id": change.task_id, "task": change.task, "ended": change.ended}


def contains(found: Any, wanted: Any) -> bool:
    """Members as wanted; others do not matter."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(name in found and contains(found[name], part) for name, part in wanted.items())
    return bool(found == wanted)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("scenario", [pytest.param(scenario, id=f"{topic}: {scenario['name']}")
                                      for topic, scenario in SCENARIOS])
def test_scenario(scenario: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    (tmp_path / "program.json").write_text(json.dumps(scenario["program"]))
    command = [sys.executable, "-S", str(FOLDER / "program.py"), str(tmp_path)]
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    program.chmod(0o755)
    asyncio.run(Runner(scenario, tmp_path).run())


def test_all_that_is_promised_has_a_scenario() -> None:
    """Names are unique, and nothing stands in the folder that is not read."""
    names = [scenario["name"] for _, scenario in SCENARIOS]
    assert len(names) == len(set(names)) > 50
