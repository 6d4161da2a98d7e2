"""A user without rights of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from sidecar import BINARY, PATIENCE, clean_environment, line, request

NOBODY = 65_534


class Unprivileged:
    """A place where a user without rights can run the binary: pytest's own directories are closed to others."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mcp-session-store-"))
        self.folder.chmod(0o755)
        self.binary = self.folder / "program"
        shutil.copy(BINARY, self.binary)
        self.binary.chmod(0o755)
        self.data = self.folder / "data"
        self.data.mkdir()
        if os.getuid() == 0:
            os.chown(self.data, NOBODY, NOBODY)

    def run(self, *words: str | Path, input: str = "") -> subprocess.CompletedProcess[str]:
        drop: dict[str, Any] = {}
        if os.getuid() == 0:
            drop = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        return subprocess.run(
            [self.binary, *words], input=input, capture_output=True, text=True, timeout=PATIENCE, check=False,
            env=clean_environment(), **drop,
        )  # fmt: skip

    def start(self, path: Path, *options: str, input: str = "") -> subprocess.CompletedProcess[str]:
        return self.run("--database", path, *options, input=input)

    def file(self, rights: int) -> Path:
        """A store that belongs to that user."""
        path = self.data / "sessions.db"
        done = self.start(path, input=line(request("create_session", 1, session_id="s")).decode())
        assert done.returncode == 0, done
        path.chmod(rights)
        return path
