"""What the tests of the packages share: the packages, made once from this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "protocol" / "packages"))
sys.dont_write_bytecode = True

#: seconds until something that hangs has failed
PATIENCE = 600


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `protocol/packages/build` filled, or MCP_SESSION_STORE_PACKAGES."""
    made = os.environ.get("MCP_SESSION_STORE_PACKAGES")
    if made:
        return Path(made)
    for tool in ("swift", "npm", "dpkg-deb"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    out = tmp_path_factory.mktemp("packages")
    run([ROOT / "protocol" / "packages" / "build", out], timeout=2 * PATIENCE)
    return out


@pytest.fixture
def elsewhere() -> dict[str, str]:
    """The environment of a user who has neither Swift nor this checkout on any path."""
    node = Path(shutil.which("node") or "/usr/bin/node").parent
    return {"PATH": f"{node}:/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}


def run(command: list[str | Path], *, timeout: float = PATIENCE, fails: bool = False, **more: object) -> str:
    """What it prints, on both outputs; with `fails` it must end with something else than 0."""
    done = subprocess.run(  # type: ignore[call-overload]
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False, **more)
    assert (done.returncode != 0) == fails, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return str(done.stdout)


def one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    assert len(found) == 1, f"{pattern} in {folder}: {found}"
    return found[0]
