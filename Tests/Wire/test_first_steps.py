"""protocol/first-steps.md: every method once, as the contract says what it does, and clients that work as printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "protocol" / "first-steps.md").read_text(encoding="utf-8")
DOCUMENT = json.loads((ROOT / "protocol" / "openrpc.json").read_text(encoding="utf-8"))
SUMMARIES = {method["name"]: method["summary"] for method in DOCUMENT["methods"]}
BINARY = Path(os.environ.get("MCP_SESSION_STORE_BINARY") or ROOT / ".build/release/mcp-session-store").absolute()
PATIENCE = 60


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_method_stands_there_once_with_what_it_does() -> None:
    found = re.findall(r"^\| `([a-z_.]+)` \| (.*) \|$", section("All of them"), re.MULTILINE)
    assert len(found) == len(SUMMARIES) and dict(found) == SUMMARIES


def test_the_first_eight_are_eight() -> None:
    rows = re.findall(r"^\| [a-z].* \| `([a-z_]+)`", section("The eight that you need first"), re.MULTILINE)
    assert len(set(rows)) == 8 and set(rows) < SUMMARIES.keys()


@pytest.mark.parametrize(("language", "name", "command"), [
    ("python", "client.py", [sys.executable]), ("bash", "client.sh", ["bash"]),
])  # fmt: skip
def test_the_clients_work(tmp_path: Path, language: str, name: str, command: list[str]) -> None:
    [program] = re.findall(rf"^```{language}\n(# {re.escape(name)}\n.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert len([line for line in program.splitlines() if line]) <= 32
    (tmp_path / name).write_text(program, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mcp-session-store").symlink_to(BINARY)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, name], cwd=tmp_path, env=environment, capture_output=True, text=True,
                              timeout=PATIENCE, check=False)  # fmt: skip

    for _ in range(2):  # the second time the file is there
        done = run()
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer.get("value", answer) == {"said": "hello"}
    # What the store refuses is told as that, and so is a program that is none.
    (tmp_path / name).write_text(program.replace('"greetings"', "7"), encoding="utf-8")
    done = run()
    assert done.returncode != 0 and "collection" in done.stderr and not done.stdout
    (tmp_path / "bin" / "mcp-session-store").unlink()
    (tmp_path / "bin" / "mcp-session-store").symlink_to("/bin/true")
    done = run()
    assert done.returncode != 0 and done.stderr and not done.stdout
