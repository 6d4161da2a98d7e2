"""The licences of what is linked into the program, as this machine has them."""

from __future__ import annotations

import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from release import NAME, run

NOTICE = "THIRD-PARTY-LICENSES.txt"
C_LIBRARY = "GNU C Library"


@dataclass(frozen=True)
class Part:
    """Something that the static program holds."""

    name: str
    version: str
    licence: str
    supplier: str
    home: str
    #: of its licence
    text: str


@functools.cache
def parts() -> list[Part]:
    return [
        Part(
            "SQLite", debian_version("libsqlite3-dev"), "blessing", "Organization: SQLite", "https://sqlite.org",
            copyright_of("libsqlite3-dev")),
        Part(
            C_LIBRARY, debian_version("libc6-dev"), "LGPL-2.1-or-later",
            "Organization: Free Software Foundation", "https://www.gnu.org/software/libc/", copyright_of("libc6-dev")),
        Part(
            "GNU Standard C++ Library and runtime", debian_version("libstdc++-12-dev"),
            "GPL-3.0-or-later WITH GCC-exception-3.1", "Organization: Free Software Foundation",
            "https://gcc.gnu.org", copyright_of("libstdc++-12-dev")),
        Part(
            "Swift standard library and runtime", swift_version(),
            "Apache-2.0 WITH Swift-exception", "Organization: Swift project", "https://swift.org",
            (swift_folder() / "LICENSE.txt").read_text(encoding="utf-8")),
    ]


def notices() -> str:
    lines = [
        f"The program {NAME} is linked statically with what follows; {NAME}-dynamic, where it stands",
        "beside it, takes the GNU C Library from the system. Their own licence is Apache-2.0 (LICENSE).",
        "It can be linked again with other versions: its sources and the command that builds it are public.", "",
    ]
    for part in parts():
        lines += ["=" * 100, f"{part.name} {part.version} ({part.licence})", part.home, "=" * 100, "", part.text, ""]
    return "\n".join(lines)


def debian_version(package: str) -> str:
    """As the machine's package manager has it; `unknown` on one without."""
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def copyright_of(package: str) -> str:
    path = Path("/usr/share/doc") / package / "copyright"
    return path.read_text(encoding="utf-8") if path.exists() else "see its home page\n"


def swift_version() -> str:
    found = re.search(r"Swift version (\S+)", run(["swift", "--version"]))
    return found[1] if found else "unknown"


def swift_folder() -> Path:
    """Where the toolchain keeps the text of its licence."""
    folder = re.search(r'"runtimeResourcePath"\s*:\s*"([^"]+)"', run(["swift", "-print-target-info"]))
    if folder is None:
        raise SystemExit("'swift -print-target-info' names no runtimeResourcePath")
    return Path(folder[1]).parents[1] / "share" / "swift"
