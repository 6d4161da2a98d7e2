"""The programs that take part: the sidecar's release binary, and the drivers and floors in C."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
PRODUCT = "mcp-session-store"
DRIVERS = ("pipeline", "round_trips", "spawns")
FLOORS = ("echo", "replay", "rows", "sqlite_version", "start")


def build_sidecar() -> Path:
    """Builds the binary as it is released, and says where it is."""
    build = ["swift", "build", "-c", "release", "--product", PRODUCT, "--static-swift-stdlib"]
    subprocess.run(build, cwd=REPOSITORY, stdout=sys.stderr, check=True)
    shown = subprocess.run([*build, "--show-bin-path"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    return Path(shown.stdout.strip()) / PRODUCT


def compile_programs(directory: Path) -> dict[str, str]:
    """Compiles the drivers and the floors into `directory`; gives their paths by name."""
    compiler = os.environ.get("CC") or shutil.which("cc") or "cc"
    flags = ["-std=gnu2x", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", f"-I{HERE / 'drivers'}"]
    programs = {}
    for room, names in (("drivers", DRIVERS), ("floors", FLOORS)):
        for name in names:
            programs[name] = str(directory / name)
            source = str(HERE / room / f"{name}.c")
            subprocess.run([compiler, *flags, source, "-o", programs[name], "-lsqlite3", "-lm"], check=True)
    return programs
