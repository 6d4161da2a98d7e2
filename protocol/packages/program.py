"""The program that the packages carry: fully static, so that it runs on any Linux of its machine, whatever its libc."""

from __future__ import annotations

from pathlib import Path

from release import NAME, ROOT, run

BUILD = ROOT / ".build" / "static"


def build() -> Path:
    """Builds it; the linker's warnings about dlopen are harmless, for no extension is ever loaded."""
    command: list[str | Path] = [
        "swift", "build", "-c", "release", "--package-path", ROOT, "--scratch-path", BUILD, "--product", NAME,
        "--static-swift-stdlib", "-Xswiftc", "-static-executable", "-Xswiftc", "-file-prefix-map",
        "-Xswiftc", f"{ROOT}=.", "-Xlinker", "-s",
    ]
    run(command)
    return Path(run([*command, "--show-bin-path"]).strip()) / NAME


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
