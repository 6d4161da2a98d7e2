"""The scripts that `completions` prints, run by the shells that they are for."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shell import COMMANDS, output
from sidecar import BINARY, PATIENCE, clean_environment


def completed(words: list[str], directory: Path) -> list[str]:
    """What bash offers behind these words; the last one is being written."""
    script = """
      source <("$1" completions bash) || exit 1
      shift
      COMP_WORDS=(mcp-session-store "$@"); COMP_CWORD=$#
      _mcp_session_store
      printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", BINARY, *words], capture_output=True, text=True, timeout=PATIENCE, check=True,
        cwd=directory, env=clean_environment(),
    )  # fmt: skip
    assert done.stderr == "", done
    return done.stdout.split("\n")[:-1]


def options(name: str) -> set[str]:
    return set(re.findall(r"^  (--[a-z-]+)", output("help", name), re.MULTILINE))


def test_bash_completes_commands(tmp_path: Path) -> None:
    assert set(completed([""], tmp_path)) == COMMANDS.keys()
    assert completed(["sess"], tmp_path) == ["sessions"]
    assert completed(["--database", "x", "--exclusive", "sess"], tmp_path) == ["sessions"]
    assert completed(["--database", "=", "x", "sess"], tmp_path) == ["sessions"]
    assert completed(["help", "sess"], tmp_path) == ["sessions"]
    assert completed(["completions", ""], tmp_path) == ["bash", "zsh", "fish"]
    assert completed(["sess", "--database"], tmp_path) == [""]


@pytest.mark.parametrize("name", COMMANDS)
def test_bash_completes_the_options_of_each_command(name: str, tmp_path: Path) -> None:
    assert set(completed([name, "--"], tmp_path)) == options(name) | {"--help", "--version"}


def test_bash_completes_values_and_files(tmp_path: Path) -> None:
    (tmp_path / "my store.db").touch()
    for words in (["--durability", ""], ["--durability", "="], ["--durability", "=", ""]):
        assert completed(words, tmp_path) == completed(["serve", *words], tmp_path) == ["full", "normal"]
    assert completed(["sessions", "--status", "su"], tmp_path) == ["suspended"]
    assert completed(["tasks", "--status", "=", "wo"], tmp_path) == ["working"]
    for words in (["--database", "my"], ["status", "--database", "=", "my"], ["status", "--json", "--database", ""]):
        assert completed(words, tmp_path) == ["my store.db"]
    assert completed(["sessions", "--limit", ""], tmp_path) == [""]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(tmp_path: Path) -> None:
    """In a shell on a terminal: each line is ended by a tab and run, by a function that prints what it was given."""
    (tmp_path / "store.db").touch()
    place = tmp_path / "bin"
    place.mkdir()
    (place / "mcp-session-store").symlink_to(BINARY)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        environment = clean_environment(PATH=f"{place}:{os.environ['PATH']}", TERM="dumb", HOME=str(tmp_path))
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment)
    seen = b""

    def wait(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            assert select.select([terminal], [], [], PATIENCE)[0], seen
            seen += os.read(terminal, 1 << 16)

    setup = (
        "autoload -U compinit; compinit -u -D; source <(mcp-session-store completions zsh);"
        " mcp-session-store() { printf '<%s>' \"$@\"; echo }; echo rea''dy\n"
    )
    try:
        os.write(terminal, setup.encode())
        wait(b"ready\r\n")
        for typed, run in (
            ("stat", "<status>"),
            ("sessions --status su", "<sessions><--status><suspended>"),
            ("events x --fol", "<events><x><--follow>"),
            ("help tas", "<help><tasks>"),
            ("completions z", "<completions><zsh>"),
            ("--vers", "<--version>"),
            ("--exclusive doc", "<--exclusive><doctor>"),
            ("--durability=no", "<--durability=normal>"),
            ("status --database sto", "<status><--database><store.db>"),
        ):
            seen = b""
            os.write(terminal, f"mcp-session-store {typed}\t\n".encode())
            wait(f"{run}\r\n".encode())
            assert b"not found" not in seen and b"_arguments" not in seen, seen
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


@pytest.fixture
def fish(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """What fish offers behind a line, each with its description."""
    (tmp_path / "mcp-session-store").symlink_to(BINARY)
    environment = clean_environment(PATH=f"{tmp_path}:{os.environ['PATH']}", HOME=str(tmp_path))

    def offered(line: str) -> dict[str, str]:
        done = subprocess.run(
            ["fish", "--no-config", "-c", "mcp-session-store completions fish | source; complete -C $argv[1]", line],
            capture_output=True, text=True, timeout=PATIENCE, check=True, cwd=tmp_path, env=environment,
        )  # fmt: skip
        assert done.stderr == "", done
        return {word: description for word, _, description in (row.partition("\t") for row in done.stdout.splitlines())}

    return offered


needs_fish = pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")


@needs_fish
def test_the_script_for_fish_is_correct(tmp_path: Path) -> None:
    script = tmp_path / "script.fish"
    script.write_text(output("completions", "fish"))
    subprocess.run(["fish", "--no-execute", script], timeout=PATIENCE, check=True)


@needs_fish
def test_fish_completes(fish: Callable[[str], dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    offered = fish("mcp-session-store ")
    assert COMMANDS.keys() == offered.keys() and offered["check"] == "looks for damage and tampering in the whole file"
    for line, words in (
        ("sess", {"sessions"}), ("--database x --exclusive sess", {"sessions"}), ("--database=x sess", {"sessions"}),
        ("help sess", {"sessions"}), ("completions ", {"bash", "zsh", "fish"}), ("completions zsh ", set()),
        ("--durability ", {"full", "normal"}), ("serve --durability no", {"normal"}),
        ("sessions --status su", {"suspended"}), ("tasks --status=wo", {"--status=working"}),
        ("status --database st", {"store.db"}), ("backup st", {"store.db"}), ("sessions --limit ", set()),
    ):  # fmt: skip
        assert fish(f"mcp-session-store {line}").keys() == words, line


@needs_fish
@pytest.mark.parametrize("name", ["serve", "sessions", "report", "version"])
def test_fish_completes_the_options_of_each_command(name: str, fish: Callable[[str], dict[str, str]]) -> None:
    assert fish(f"mcp-session-store {name} --").keys() == options(name) | {"--help", "--version"}
