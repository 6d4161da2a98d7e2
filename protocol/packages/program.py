"""The program that the packages carry: fully static, so that it runs on any Linux of its machine, whatever its libc.

Beside it stands its companion, which it becomes where a library has to be loaded: libpq for a server, zlib for
archives. That one needs the system's C library, of glibc 2.34 or newer, and libgcc; all else is in it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from release import NAME, ROOT, run

BUILD = ROOT / ".build" / "static"
COMPANION = f"{NAME}-dynamic"
HERE = Path(__file__).resolve().parent


def build() -> Path:
    """Builds both, in one folder; the linker's warnings about dlopen are harmless, for nothing is loaded by it."""
    command: list[str | Path] = [
        "swift", "build", "-c", "release", "--package-path", ROOT, "--scratch-path", BUILD, "--product", NAME,
        "--static-swift-stdlib", "-Xswiftc", "-static-executable", "-Xswiftc", "-file-prefix-map",
        "-Xswiftc", f"{ROOT}=.", "-Xlinker", "-s",
    ]
    run(command)
    program = Path(run([*command, "--show-bin-path"]).strip()) / NAME
    link(program)
    return program


def companion(program: Path) -> Path:
    return program.with_name(COMPANION)


def link(program: Path) -> None:
    """Makes the companion of what the program was made of: compiling all of it again would take minutes."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        # What is found there first goes into the file, instead of being asked of the system.
        for library in ("libsqlite3.a", "libstdc++.a"):
            (place / library).symlink_to(archive(library))
        run(["clang", "-O2", "-fno-builtin", "-c", HERE / "hypotf.c", "-o", place / "hypotf.o"])
        run([
            "swiftc", "-emit-executable", "-static-stdlib", "-use-ld=lld", "-module-name", "mcp_session_store",
            "-L", place, f"@{program.parent / f'{NAME}.product' / 'Objects.LinkFileList'}", place / "hypotf.o",
            "-Xlinker", "--defsym", "-Xlinker", "main=mcp_session_store_main", "-Xlinker", "--gc-sections",
            "-Xlinker", "-s", "-Xclang-linker", "-no-pie", "-o", companion(program),
        ])


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
