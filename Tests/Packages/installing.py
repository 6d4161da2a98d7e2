"""What the tests of the packages share: where they are, how a command is run, how a file is found, how pip installs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: seconds until something that hangs has failed
PATIENCE = 600


def run(command: list[str | Path], *, timeout: float = PATIENCE, fails: bool = False, **more: object) -> str:
    """What it prints, on both outputs; with `fails` it must end with something else than 0."""
    done = subprocess.run(  # type: ignore[call-overload]
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False, **more)
    assert (done.returncode != 0) == fails, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return str(done.stdout)


def environment(folder: Path) -> Path:
    """The interpreter of a fresh virtual environment, which nobody activates. It has no pip of its own: bringing it
    would take longer than all else."""
    run([sys.executable, "-m", "venv", "--without-pip", folder])
    return folder / "bin/python"


def pip(python: Path, command: str, *arguments: str | Path) -> str:
    return run([
        sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", command, "--quiet", *arguments])


def one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    assert len(found) == 1, f"{pattern} in {folder}: {found}"
    return found[0]
