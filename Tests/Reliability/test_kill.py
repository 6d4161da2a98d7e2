"""A handful of kills, through the code that does thousands; and that it notices what it looks for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import kill
from part import Form
from sidecar import BINARY, Sidecar
from writes import WEIGHTS, writing_methods


@pytest.fixture
def form(tmp_path: Path) -> Form:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # shown when the test fails
    return Form(Path(BINARY), tmp_path, seed, False, print)


def test_nothing_that_was_acknowledged_is_lost(form: Form) -> None:
    for finding in kill.kill(form, 20):
        assert finding.broken == []


def test_every_method_that_writes_is_tried() -> None:
    assert set(WEIGHTS) == writing_methods()


class Forgetful(kill.Victim):
    """Loses what was written since the last checkpoint, as though it had never been in the log."""

    def start(self) -> Sidecar:
        self.database.with_name(self.database.name + "-wal").unlink(missing_ok=True)
        return super().start()


def test_a_loss_is_noticed(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill, "Victim", Forgetful)
    lost, _ = kill.kill(form, 20)
    assert lost.broken != []
