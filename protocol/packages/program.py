"""The program that the packages carry: fully static, so that it runs on any Linux of its machine, whatever its libc.

Beside it stands its companion, which it becomes where a library has to be loaded: libpq for a server, zlib for
archives. That one needs the system's C library, of glibc 2.34 or newer, and libgcc; all else is in it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from release import NAME, ROOT, run

BUILD = ROOT / ".build" / "programs"
COMPANION = f"{NAME}-dynamic"
HERE = Path(__file__).resolve().parent


def build() -> Path:
    """Builds both, in one folder, of what the tests and the README build: compiled once, and linked two times more."""
    command: list[str | Path] = [
        "swift", "build", "-c", "release", "--package-path", ROOT, "--product", NAME, "--static-swift-stdlib"]
    run(command)
    compiled = Path(run([*command, "--show-bin-path"]).strip()) / f"{NAME}.product" / "Objects.LinkFileList"
    BUILD.mkdir(parents=True, exist_ok=True)
    program = BUILD / NAME
    # The linker's warnings about dlopen are harmless: nothing is loaded by this one.
    link(compiled, program, "-static-executable")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        # What is found there first goes into the file, instead of being asked of the system.
        for library in ("libsqlite3.a", "libstdc++.a"):
            (place / library).symlink_to(archive(library))
        run(["clang", "-O2", "-fno-builtin", "-c", HERE / "hypotf.c", "-o", place / "hypotf.o"])
        # lld leaves out what the static libraries have and nobody calls; some of that needs a newer libc.
        link(
            compiled, companion(program), "-use-ld=lld", "-Xclang-linker", "-no-pie", "-L", place, place / "hypotf.o")
    return program


def companion(program: Path) -> Path:
    return program.with_name(COMPANION)


def link(compiled: Path, program: Path, *how: str | Path) -> None:
    run([
        "swiftc", "-emit-executable", "-static-stdlib", "-module-name", "mcp_session_store", f"@{compiled}", *how,
        "-Xlinker", "--defsym", "-Xlinker", "main=mcp_session_store_main", "-Xlinker", "--gc-sections",
        "-Xlinker", "-s", "-o", program])


def archive(library: str) -> Path:
    """Where the C compiler finds a static library."""
    found = Path(run(["cc", f"-print-file-name={library}"]).strip())
    if not found.is_absolute():
        raise SystemExit(f"{library} is not installed (Debian: libsqlite3-dev, libstdc++-12-dev)")
    return found


def help_of(program: Path, *command: str) -> str:
    return run([program, "help", *command])


def commands(program: Path) -> list[str]:
    """The names of its subcommands, as its own help lists them."""
    lines = help_of(program).split("\nCommands", 1)[1].splitlines()[1:]
    names = []
    for line in lines:
        if not line.startswith("  "):
            break
        names.append(line.split()[0])
    return [name for name in names if name != "help"]
