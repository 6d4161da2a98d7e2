"""What every package says of itself: name, version, platform, and the moment that its files carry."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "protocol" / "clients"
NAME = "mcp-session-store"
SUMMARY = "Durable sessions, resumable event streams, tasks and values for MCP servers."
DESCRIPTION = """\
Keeps the sessions, event streams and tasks of an MCP (Model Context Protocol) server, so that a restart, a crash or a
second process loses none of them: one small program beside the server that reads JSON-RPC 2.0 requests from standard
input, writes answers to standard output, and keeps everything in one SQLite file."""
LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class Machine:
    """One kind of machine, as each packager names it."""

    #: as the kernel says it
    kernel: str
    #: of npm: `process.platform` and `process.arch`
    node: tuple[str, str]
    debian: str
    #: of container images
    image: str
    #: of wheels: the program needs no libc, so both kinds of Linux take it
    wheel: str


MACHINES = (
    Machine("x86_64", ("linux", "x64"), "amd64", "amd64", "manylinux_2_17_x86_64.musllinux_1_1_x86_64"),
    Machine("aarch64", ("linux", "arm64"), "arm64", "arm64", "manylinux_2_17_aarch64.musllinux_1_1_aarch64"),
)


def machine() -> Machine:
    """The one that this runs on. Raises SystemExit on any that packages are not made for."""
    for known in MACHINES:
        if (platform.system(), platform.machine()) == ("Linux", known.kernel):
            return known
    raise SystemExit(
        f"Packages are made on Linux (x86_64, aarch64), and this is {platform.system()} {platform.machine()}. "
        "Build the program alone with: swift build -c release --product mcp-session-store")


def version() -> str:
    """The program's, by the contract that is made from it."""
    contract = json.loads((ROOT / "protocol" / "openrpc.json").read_text(encoding="utf-8"))
    return str(contract["info"]["version"])


def moment() -> int:
    """Unix seconds that all files carry, so that the same sources make the same bytes."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    asked = subprocess.run(
        ["git", "-C", ROOT, "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False)
    return int(asked.stdout) if asked.returncode == 0 and asked.stdout.strip() else 1_767_225_600


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(command: list[str | Path], **more: object) -> str:
    """What the command prints. Raises SystemExit with all that it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    if done.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise SystemExit(f"'{words}' ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return str(done.stdout)
