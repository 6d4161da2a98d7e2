"""README.md, run as it is printed: its programs, its commands, its options, the proofs of its promises, its links."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import BINARY, PATIENCE, clean_environment

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = (
    "README.md", "Sources/README.md", "Tests/Benchmarks/README.md", "protocol/README.md", "protocol/first-steps.md",
    "protocol/transcripts/README.md", "protocol/clients/README.md", "protocol/clients/behaviour/README.md",
    "protocol/clients/codec/README.md", "protocol/clients/events/README.md", "protocol/clients/csharp.md",
    "protocol/clients/node/README.md", "protocol/clients/python/README.md", "protocol/packages/README.md",
    "protocol/deploying/README.md", "protocol/ancestors.md",
)
#: language and content of the fenced blocks
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
#: a build from nothing is not cheap
BUILT = pytest.mark.skipif(not (ROOT / ".build/release/mcp-session-store").exists(), reason="nothing is built here")
#: what the two complete programs print
PRINTED = "2: 50 %, 3: 100 %\n"


def block(language: str, beginning: str = "") -> str:
    found = [text for kind, text in BLOCKS if kind == language and text.startswith(beginning)]
    assert len(found) == 1, f"{len(found)} blocks of '{language}' that begin with '{beginning}'"
    return found[0]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """As on a machine where the program is installed."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "mcp-session-store").symlink_to(BINARY)
    (tmp_path / "protocol").symlink_to(ROOT / "protocol")
    clients = str(ROOT / "protocol/clients/python")
    return clean_environment(PATH=f"{place}:{os.environ['PATH']}", PYTHONPATH=clients)


def run(command: list[str], directory: Path, environment: dict[str, str], patience: float = PATIENCE) -> str:
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=patience, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


# --- The programs


def test_the_node_program(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "store.mjs").write_text(block("js", "// store.mjs"), encoding="utf-8")
    for _ in range(2):  # the second time the file is there
        assert run(["node", "store.mjs"], tmp_path, environment) == PRINTED
    assert (tmp_path / "sessions.db").exists()


def test_the_python_program(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "store.py").write_text(block("python", "# store.py"), encoding="utf-8")
    for _ in range(2):
        assert run([sys.executable, "store.py"], tmp_path, environment) == PRINTED
    assert (tmp_path / "sessions.db").exists()


@pytest.mark.parametrize(("language", "name", "comment"), [("js", "store.mjs", "//"), ("python", "store.py", "#")])
def test_the_programs_fail_when_the_sidecar_does(
    language: str, name: str, comment: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / name).write_text(block(language, f"{comment} {name}"), encoding="utf-8")
    (tmp_path / "bin" / "mcp-session-store").unlink()
    (tmp_path / "bin" / "mcp-session-store").write_text("#!/bin/sh\nread line\nexit 3\n")
    (tmp_path / "bin" / "mcp-session-store").chmod(0o755)
    command = ["node" if language == "js" else sys.executable, name]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode not in (0, None) and done.stderr, done


# --- The commands


def test_the_command_for_an_installed_program(tmp_path: Path, environment: dict[str, str]) -> None:
    answer = json.loads(run(["sh", "-ec", block("sh", "echo")], tmp_path, environment))
    shown = json.loads(block("json"))
    assert answer["result"].keys() == shown["result"].keys()
    varying = {"session_id", "created_at", "last_activity", "expires_at"}
    assert {name: value for name, value in answer["result"].items() if name not in varying} == {
        name: value for name, value in shown["result"].items() if name not in varying
    }


def test_the_commands_that_look_into_a_file(tmp_path: Path, environment: dict[str, str]) -> None:
    run(["sh", "-ec", block("sh", "echo")], tmp_path, environment)
    said = run(["sh", "-ec", block("sh", "mcp-session-store status")], tmp_path, environment)
    assert '"user_id":"user-1"' in said and "schema" in said and "leftovers" in said


def test_the_table_of_commands_is_that_of_the_help() -> None:
    table = README.split("## At the shell")[1].split("## ")[0]
    named = re.findall(r"`([a-z]+)", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    listed = run([BINARY, "--help"], ROOT, clean_environment()).split("\nCommands")[1].split("\n\n")[0]
    assert {*named, "help"} == set(re.findall(r"^  ([a-z]+)", listed, re.MULTILINE))


@BUILT
def test_the_command_for_a_fresh_machine() -> None:
    left = [ROOT / f"sessions.db{ending}" for ending in ("", "-wal", "-shm", "-lock")]
    assert not any(path.exists() for path in left), "someone's sessions.db lies there"
    try:
        said = run(["sh", "-c", block("sh", "[ -e")], ROOT, clean_environment(), patience=1_200)
    finally:
        for path in left:
            path.unlink(missing_ok=True)
    made, listed = (json.loads(line)["result"] for line in said.splitlines() if line.startswith('{"jsonrpc"'))
    assert [session["session_id"] for session in listed["sessions"]] == [made["session_id"]]


def test_the_command_for_all_tests() -> None:
    assert os.access(ROOT / block("sh", "Tests/run").strip(), os.X_OK)


@BUILT
def test_the_command_that_installs(tmp_path: Path) -> None:
    run(["sh", "-ec", block("sh", "install")], ROOT, clean_environment(HOME=str(tmp_path)))
    said = run([str(tmp_path / ".local/bin/mcp-session-store"), "--version"], tmp_path, clean_environment())
    assert said.startswith("mcp-session-store ")


def test_the_builds_are_those_of_the_tests() -> None:
    builds = [line for line in block("sh", "# needs the system's").splitlines() if line.startswith("swift build")]
    assert builds[0] in block("sh", "[ -e")
    assert builds[0].removeprefix("swift ") in (ROOT / "Tests/run").read_text(encoding="utf-8")
    assert "-static-executable" in builds[1]


# --- The promises


def proofs() -> Iterator[str]:
    table = README.split("## What it promises")[1].split("## ")[0]
    for row in re.findall(r"^\| \d+ \|.*\|$", table, re.MULTILINE):
        commands = re.findall(r"`((?:pytest|swift test|run\.py)[^`]*)`", row)
        assert commands, f"no proof: {row}"
        yield from commands


#: collects what each proof names, all in one process: most of the time goes into imports
COLLECT = """
import contextlib, io, json, sys
import pytest

collected = {}
for command, words in json.load(sys.stdin).items():
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(["--collect-only", "--quiet", "-p", "no:cacheprovider", *words])
    collected[command] = int(code), said.getvalue()[-500:]
json.dump(collected, sys.stdout)
"""


@pytest.fixture(scope="module")
def collected() -> dict[str, tuple[int, str]]:
    """How the collecting of each proof of pytest's ended, and what it said."""
    commands = {command: shlex.split(command)[1:] for command in proofs() if command.startswith("pytest ")}
    done = subprocess.run([sys.executable, "-c", COLLECT], input=json.dumps(commands), cwd=ROOT, capture_output=True,
                          text=True, timeout=5 * PATIENCE, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("command", list(proofs()))
def test_a_proof_is_there(command: str, collected: dict[str, tuple[int, str]]) -> None:
    words = shlex.split(command)
    if words[0] == "swift":
        assert words[:3] == ["swift", "test", "--filter"]
        sources = (path.read_text(encoding="utf-8") for path in (ROOT / "Tests").glob("*/*.swift"))
        assert (ROOT / "Tests" / words[3]).is_dir() or any(re.search(rf"\b{words[3]}\b", text) for text in sources)
        return
    if words[0] == "run.py":
        assert (ROOT / "Tests" / "Reliability" / f"{words[1]}.py").exists()
        return
    code, said = collected[command]
    assert code == 0, f"{command} finds no test: {said}"


# --- The options


def test_the_options_are_those_of_the_help() -> None:
    help_text = run([BINARY, "--help"], ROOT, clean_environment())
    said = {
        (left.strip(), default, summary)
        for left, summary, default in re.findall(r"^  (--\S+(?: [A-Z]+)?) +(.+)\n +\[(.*)\]$", help_text, re.MULTILINE)
    }
    table = README.split("## Options")[1].split("## ")[0]
    rows = (
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("| `--")
    )
    assert {(left, default, summary) for left, default, summary in rows} == said
    assert re.search(r"Exit codes:(.*?)\.", help_text, re.DOTALL)[1].split() == (  # type: ignore[index]
        re.search(r"Exit codes:(.*?)\.", table, re.DOTALL)[1].split()  # type: ignore[index]
    )


# --- The links


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("text", TEXTS)
def test_links_lead_somewhere(text: str) -> None:
    path = ROOT / text
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = path.parent / file if file else path
        assert there.exists(), f"{text}: {target}"
        assert not anchor or anchor in anchors(there), f"{text}: {target}"


def test_node_is_there() -> None:
    assert shutil.which("node")
