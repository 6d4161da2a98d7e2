"""The packages, made once from this checkout, and whoever installs them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from installing import PATIENCE, ROOT, run

# The builder's own modules: it says version, names and machines.
sys.path.insert(0, str(ROOT / "protocol" / "packages"))
sys.dont_write_bytecode = True


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
