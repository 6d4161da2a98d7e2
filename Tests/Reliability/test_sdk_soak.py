"""The soak of an SDK's server in its short form: everything once, with a look at memory and descriptors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_server_of_the_sdk_stays_as_it_is() -> None:
    command = [sys.executable, str(Path(__file__).parent / "sdk_soak.py"), "--calls", "240", "--clients", "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stayed where they were" in done.stdout
