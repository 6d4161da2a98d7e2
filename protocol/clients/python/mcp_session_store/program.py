"""Where the program is: given, in the environment, in this package, beside Python, on the PATH."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from .errors import ChildError

ENVIRONMENT = "MCP_SESSION_STORE_BINARY"
PROGRAM = "mcp-session-store"
#: in a wheel that carries it
PACKAGED = Path(__file__).with_name("_program") / PROGRAM


def find_binary(binary: str | os.PathLike[str] | None = None) -> str:
    """The program: the one given, else $MCP_SESSION_STORE_BINARY, else the one in this package, else the one beside
    the interpreter, else the first on the PATH. A name without a slash is looked for on the PATH.

    Raises ChildError that says where it was looked for. What is named explicitly is not replaced by something else.
    """
    for asked, where in ((binary, "binary="), (os.environ.get(ENVIRONMENT) or None, f"${ENVIRONMENT}")):
        if asked is not None:
            found = shutil.which(os.fspath(asked))
            if found is None:
                raise ChildError(
                    f"{where} names '{os.fspath(asked)}', which is {lack(Path(asked))}.", reason="not_found")
            return os.path.abspath(found)  # the process may have another working directory
    tried = []
    for place in places():
        if not is_own_script(place):
            if os.access(place, os.X_OK) and place.is_file():
                return os.path.abspath(place)
            tried.append(f"{place} ({lack(place)})")
    raise ChildError(
        f"There is no program {PROGRAM} to run. The wheel for Linux carries it, the source package is the client "
        f"alone: install the wheel, or the Debian package, or build it; or pass binary=…, or set {ENVIRONMENT}. "
        f"Looked for: {', '.join(tried)}.", reason="not_found")


def places() -> Iterator[Path]:
    yield PACKAGED
    yield Path(sys.executable or ".").parent / PROGRAM
    for folder in os.get_exec_path():
        yield Path(folder) / PROGRAM


def lack(place: Path) -> str:
    """What keeps it from being run."""
    archive = next((parent for parent in place.parents if parent.is_file()), None)
    if archive is not None:
        return f"inside of the archive {archive}, from which nothing can be run"
    if not place.exists():
        return "not there"
    if place.is_dir():
        return "a directory"
    return f"not executable: chmod +x {place}" if not os.access(place, os.X_OK) else "no program"


def is_own_script(place: Path) -> bool:
    """Whether it is the script that this package installs, which would only come back here."""
    try:
        with open(place, "rb") as file:
            beginning = file.read(1_024)
    except OSError:
        return False
    return beginning.startswith(b"#!") and b"mcp_session_store" in beginning


def main() -> None:
    """The command `mcp-session-store` of the wheel: becomes the program in it."""
    if not PACKAGED.is_file():
        sys.exit(f"{PROGRAM}: this installation is the client alone ({PACKAGED} is {lack(PACKAGED)}). Install the "
                 "wheel for Linux, or the Debian package, or build the program.")
    try:
        os.execv(PACKAGED, [PROGRAM, *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"{PROGRAM}: {PACKAGED} cannot be run: {error.strerror}. It needs Linux on the machine that the wheel "
                 "is for, the right to execute it, and a file system that is not mounted noexec.")
