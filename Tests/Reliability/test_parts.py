"""The parts that need time to find something notice what is planted for them."""

from __future__ import annotations

from pathlib import Path

import pytest

import endurance
import lifecycle
import many_processes
import state_machine
from part import Form, told
from sidecar import BINARY


@pytest.fixture
def form(tmp_path: Path) -> Form:
    return Form(Path(BINARY), tmp_path, 1, False, print)


def test_events_that_are_gone_are_noticed(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that keeps so few that readers lose some."""
    monkeypatch.setattr(many_processes, "OPTIONS", ("--max-events-per-session", "10"))
    monkeypatch.setattr(many_processes, "EPOCHS", 1)
    monkeypatch.setattr(many_processes, "EPOCH_SECONDS", 3.0)
    broken = {finding.promise: finding.broken for finding in many_processes.run(form)}
    assert broken[many_processes.PROMISES["events"]] and broken[many_processes.PROMISES["followers"]]
    assert not broken[many_processes.PROMISES["nonces"]]


def test_a_process_that_stays_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "BOUND", 0.5)
    staying = tmp_path / "staying"
    staying.write_text('#!/bin/sh\nread -r line\nprintf \'{"result":{"pid":%d}}\\n\' $$\nexec sleep 600\n')
    staying.chmod(0o755)
    (tmp_path / "idle").write_bytes(b"")
    form = Form(staying, tmp_path, 1, False, print)
    ends = lifecycle.Ends()
    lifecycle.orphan(form, "Python", "kill", tmp_path / "idle", ends)
    assert ends.broken == ["Python, kill, idle: still there after 0.5 s"] and ends.seconds == []


def test_growth_is_noticed() -> None:
    def growing(file: float = 0, sessions: int = 0) -> list[str]:
        samples = [
            endurance.Sample(n, 20, 50 + n * file, 16, 10, 1_000 + n * sessions, 10_000 * n, 10 * n) for n in range(400)
        ]
        return [text.split(":")[0] for text in endurance.still_growing(samples)]

    assert growing() == []
    assert growing(file=1) == ["file"]
    assert growing(sessions=10) == ["sessions"]  # as many as are made: none is ever swept


def test_what_is_over_its_bound_is_noticed() -> None:
    assert endurance.over_bounds(endurance.Sample(1, 20, 512, 16, 10, 1_000, 1, 1)) == []
    over = endurance.over_bounds(endurance.Sample(1, 20, 1_024, 16, 10, 1_000, 1, 1))
    assert over == ["file: 1024, and at most 512 is allowed"]


def test_a_few_seconds_of_endurance(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endurance, "SECONDS", 3.0)
    monkeypatch.setattr(endurance, "BACKUPS", 0.5)
    for finding in endurance.run(form):
        assert finding.broken == []


def test_each_of_several_failures_is_told() -> None:
    first, second = ValueError("one"), AssertionError("two")
    second.add_note("after these steps")
    assert told(ExceptionGroup("both", [first, ExceptionGroup("", [second])])) == [
        "ValueError: one", "AssertionError: two\nafter these steps",
    ]  # fmt: skip


def test_what_random_orders_find_comes_with_its_steps(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(*_: object, **__: object) -> None:
        raise AssertionError("planted")

    monkeypatch.setattr(state_machine.Machine, "result", planted)
    (text,) = state_machine.explored(form, 20, 5).broken
    assert "planted" in text and "state = Machine()\nstate." in text
