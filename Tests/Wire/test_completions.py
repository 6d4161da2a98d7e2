"""The scripts that `completions` prints, run by the shells that they are for."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
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
    assert completed(["completions", ""], tmp_path) == ["bash", "zsh"]
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
