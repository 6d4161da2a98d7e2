"""The soaks in their short forms: everything once, with a look at memory and descriptors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import resources

HERE = Path(__file__).parent

def test_a_server_of_the_sdk_stays_as_it_is() -> None:
    command = [sys.executable, str(HERE / "sdk_soak.py"), "--calls", "240", "--clients", "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stayed where they were" in done.stdout


def test_the_clients_stay_as_they_are() -> None:
    command = [sys.executable, str(HERE / "client_soak.py"), "--calls", "4000", "--kill-every", "500"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything stayed where it was" in done.stdout


def test_growth_is_noticed() -> None:
    base = {"server MiB": 80, "store descriptors": 11, "objects": 20_000, "tasks": 1}
    passing = {"server MiB": 124, "store descriptors": 19, "objects": 20_200, "tasks": 1}
    assert resources.grown(base, passing) == []
    for name, most in passing.items():
        assert resources.grown(base, {**passing, name: most + 1}) == [f"{name} grew from {base[name]} to {most + 1}"]
