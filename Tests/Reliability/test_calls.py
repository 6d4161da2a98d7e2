"""Some calls of every method, through the parts that make very many; and that these notice what is wrong."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import growth
import invariants
import neighbours
import state_machine
from calls import METHODS, Calls, admits, parameters
from part import Form
from preloaded import Clock, can_preload
from sidecar import BINARY

pytestmark = pytest.mark.skipif(not can_preload(Path(BINARY)), reason="the program is linked statically")


@pytest.fixture
def form(tmp_path: Path) -> Form:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # shown when the test fails
    return Form(Path(BINARY), tmp_path, seed, False, print)


def test_calls_are_valid_and_repeatable() -> None:
    made: list[list[Any]] = []
    for _ in range(2):
        calls = Calls(random.Random(7), lambda: 1_795_210_000_000, Path("/nowhere"))
        made.append([(name, calls.params(name)) for name in METHODS for _ in range(50)])
    assert made[0] == made[1]
    for name, params in made[0]:
        for key, value in params.items():
            assert admits(parameters(name)[key]["schema"], value), (name, key, value)
    assert {key for name in METHODS for key in parameters(name)} == {key for _, params in made[0] for key in params}


def test_neighbours(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "SHORT", 800)
    assert neighbours.run(form, Clock(form.directory)).broken == []


def test_any_call(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "SHORT", (15, 25))
    monkeypatch.setattr(invariants, "PHASES", (invariants.Phase.generate,))
    assert invariants.run(form)[0].broken == []


def test_the_small_model(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_machine, "SHORT", (60, 50))
    monkeypatch.setattr(invariants, "SHORT", (1, 1))
    monkeypatch.setattr(state_machine, "PHASES", (invariants.Phase.generate,))
    assert state_machine.run(form)[0].broken == []


def test_every_method_says_what_it_costs() -> None:
    assert set(growth.CALLS) == set(METHODS) - growth.ENDING
    ways = {f"{method}, {way}" if way else method for method, calls in growth.CALLS.items() for way in calls}
    assert set(growth.GROWS) <= ways
