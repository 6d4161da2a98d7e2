"""The Python packages: a wheel with client, adapters and program, and a source archive of the client alone."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from licences import NOTICE, notices
from program import companion
from release import CLIENTS, ROOT, machine, moment, run
from tools import hatch


def build(program: Path, out: Path) -> list[Path]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        shutil.copytree(
            CLIENTS / "python", source, ignore=shutil.ignore_patterns("__pycache__", ".mypy_cache", "*.egg-info"))
        shutil.copy(ROOT / "LICENSE", source)
        environment = {
            "PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": str(moment()), "MCP_SESSION_STORE_PROGRAM": str(program),
            "MCP_SESSION_STORE_COMPANION": str(companion(program)), "MCP_SESSION_STORE_WHEEL_PLATFORM": machine().wheel,
            "HOME": folder,
        }
        made = Path(folder) / "made"
        run([*hatch(), "build", "-t", "sdist", "-d", made], cwd=source, env=environment)
        (source / NOTICE).write_text(notices(), encoding="utf-8")
        run([*hatch(), "build", "-t", "wheel", "-d", made], cwd=source, env=environment)
        return [Path(shutil.copy(path, out)) for path in sorted(made.iterdir())]
