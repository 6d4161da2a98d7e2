"""What the figures were measured on; without it a figure says nothing."""

import json
import os
import platform
import sqlite3
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from programs import NODE


def machine(binary: Path, programs: dict[str, str], directory: Path) -> dict[str, str]:
    return {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file system": file_system(directory),
        "SQLite of the floors": first_line([programs["sqlite_version"]]),
        "C compiler": first_line([os.environ.get("CC") or "cc", "--version"]),
        "Swift": first_line(["swift", "--version"]),
        "sidecar": first_line([str(binary), "--version"]),
        "SQLite of the sidecar": sidecar_sqlite(binary),
        "Redis": first_line(["redis-server", "--version"]),
        "Python": f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "Node": first_line([NODE, "-p", "process.version + ', SQLite ' + process.versions.sqlite"]),
        "mcp-persist": package_version("mcp-persist"),
        "load at the start": f"{os.getloadavg()[0]:.2f}",
    }


def package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def file_system(directory: Path) -> str:
    """The type of the file system below `directory`: on a tmpfs a sync costs nothing, and the figures mean little."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    resolved = directory.resolve()
    holding = [(len(point), kind) for point, kind in mounts if resolved.is_relative_to(point)]
    return max(holding)[1] if holding else "unknown"


def sidecar_sqlite(binary: Path) -> str:
    """A static build brings its own."""
    request = '{"jsonrpc":"2.0","id":1,"method":"server_info"}\n'
    answer = first_line([str(binary), "--database", ":memory:"], request)
    try:
        return json.loads(answer)["result"]["sqlite_version"]
    except (ValueError, KeyError):
        return "unknown"


def first_line(command: list[str], text: str = "") -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = done.stdout.splitlines()
    return lines[0] if done.returncode == 0 and lines else "unknown"
