"""The command says what broke, and how to see it again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.py")


def test_what_breaks_is_told_with_the_seed_that_repeats_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, RUN, "--seed", "7", "--directory", tmp_path, "kill"], capture_output=True, text=True,
        env=os.environ | {"MCP_SESSION_STORE_BINARY": "/bin/false"}, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "BROKEN: kill" in done.stdout and "to repeat it: run.py --seed 7 kill" in done.stdout
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("mcp-session-store-kill-")]


def test_an_unknown_part_is_refused() -> None:
    done = subprocess.run([sys.executable, RUN, "thrill"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2 and "no part is called thrill" in done.stderr
