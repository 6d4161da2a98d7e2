"""The builder of Python packages, in an environment of its own: hatchling, of a version that makes the same bytes."""

from __future__ import annotations

import sys
from pathlib import Path

from release import ROOT, run

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
ENVIRONMENT = ROOT / ".build" / "packaging"


def hatch() -> list[str | Path]:
    """The command of hatchling; installed once, and again when its version changes."""
    noted = ENVIRONMENT / "installed.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not noted.exists() or noted.read_text(encoding="utf-8") != wanted:
        run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT])
        run([ENVIRONMENT / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS])
        noted.write_text(wanted, encoding="utf-8")
    return [ENVIRONMENT / "bin" / "hatchling"]
