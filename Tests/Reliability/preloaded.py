"""The program with something in front of the libraries that it is linked with: a clock that the test holds, and a list
of the statements that it gives to SQLite. Only a program that is linked dynamically can be had so."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from sidecar import clean_environment

SOURCES = Path(__file__).resolve().parent / "preload"


def build(directory: Path, *names: str) -> str:
    """What LD_PRELOAD is to say for these."""
    libraries = []
    for name in names:
        libraries.append(directory / f"{name}.so")
        if not libraries[-1].exists():
            subprocess.run(
                ["cc", "-O2", "-shared", "-fPIC", "-o", libraries[-1], SOURCES / f"{name}.c", "-ldl"], check=True
            )
    return ":".join(map(str, libraries))


class Clock:
    """The wall clock of the processes that get its environment; it stands still until it is told otherwise."""

    def __init__(self, directory: Path, libraries: Path | None = None, now: int = 1_795_210_000_000) -> None:
        """`libraries` is where the library is built, when many clocks are to share it."""
        self.path = directory / "clock"
        self.libraries = libraries or directory
        self.path.write_bytes(bytes(8))
        self.now = now

    @property
    def now(self) -> int:
        """Unix milliseconds."""
        return self._now

    @now.setter
    def now(self, milliseconds: int) -> None:
        self._now = milliseconds
        with self.path.open("r+b") as file:
            file.write(struct.pack("=q", milliseconds))

    def variables(self) -> dict[str, str]:
        return {"LD_PRELOAD": build(self.libraries, "clock"), "TEST_CLOCK": str(self.path)}

    def environment(self, **extra: str) -> dict[str, str]:
        return clean_environment(**self.variables(), **extra)


class Statements:
    """What the processes that get its environment give to SQLite. They have the clock as well."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.path = directory / "statements"
        self.path.touch()
        self._read = self.path.open("rb")
        self.environment = clock.environment() | {
            "LD_PRELOAD": build(directory, "clock", "statements"),
            "TEST_STATEMENTS": str(self.path),
        }

    def take(self) -> bytes:
        """The lines since the last time."""
        return self._read.read()


def can_preload(binary: Path) -> bool:
    """Whether the program is linked with SQLite and libc, and takes both of them from outside."""
    with binary.open("rb") as file:
        return b"libsqlite3.so" in file.read()
