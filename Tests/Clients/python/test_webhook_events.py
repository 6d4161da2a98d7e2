"""The tests of another implementation of webhooks, the package `mcp-webhook-events`, run against ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PACKAGE = "mcp-webhook-events"
#: how many it has
TESTS = 33


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder with their tests alone, and our adapter in the place of what they test."""
    pinned = re.search(rf"^{PACKAGE}==\S+$", (ROOT / "Tests/requirements.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--no-binary", PACKAGE, "--dest", str(tmp_path), pinned[0]]  # fmt: skip
    subprocess.run(command, check=True, timeout=300)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        (name,) = [name for name in sources.getnames() if name.endswith("/tests/test_mcp_events.py")]
        text = sources.extractfile(name)
        assert text is not None
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests/test_mcp_events.py").write_bytes(text.read())
    shutil.copy(HERE / "webhook_events_adapter.py", tmp_path / "mcp_webhook_events.py")
    return tmp_path


def test_their_tests_pass_on_ours(theirs: Path, binary: Path) -> None:
    environment = {
        **os.environ, "ADAPTER_BINARY": str(binary), "ADAPTER_CLIENT": str(ROOT / "protocol/clients/python"),
        "ADAPTER_RELIABILITY": f"{ROOT / 'Tests/Reliability'}", "ADAPTER_LIBRARIES": str(theirs),
        "PYTHONPATH": f"{ROOT / 'Tests/Wire'}", "TMPDIR": str(theirs),
    }
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "discover", "-s", "tests"], cwd=theirs, env=environment,
        capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and f"Ran {TESTS} tests" in done.stderr, done.stderr[-8_000:]
