"""The command line and the environment: help, defaults, what is refused and how."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar import BINARY, PATIENCE, Sidecar, clean_environment, line, request


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the binary to its end on an empty input."""
    return subprocess.run(
        [BINARY, *arguments], input="", capture_output=True, text=True, timeout=PATIENCE, check=False,
        env=clean_environment(**environment),
    )  # fmt: skip


def options() -> dict[str, tuple[str, str]]:
    """Placeholder and default of each option, as --help tells them."""
    text = run("--help").stdout
    found = re.findall(r"^  (--[a-z-]+)(?: ([A-Z]+))? +\S.*\n +\[(.+)\]$", text, re.MULTILINE)
    return {name: (placeholder, default) for name, placeholder, default in found}


OPTIONS = options()
#: values that fit and ones that do not, by placeholder
VALUES = {
    "PATH": (["sessions.db", ":memory:"], [""]),
    "TIME": (["0", "1ms", "30s", "5m", "24h", "7d"], ["", "1", "-1s", "1.5s", "s", "1 s", "1w", "h1", "٣s", "+1s",
             "99999999999999999999s", "9223372036854775807d"]),
    "N": (["0", "1", "1000000"], ["", "-1", "1.5", "many", "1k", "0x10", " 1", "99999999999999999999"]),
    "BYTES": (["65536", "512KiB", "1MiB"], ["", "-1", "1.5MiB", "1MB", "big", "KiB", "1 KiB", "9999GiB",
              "99999999999999999999"]),
    "LEVEL": (["full", "normal"], ["", "FULL", "off", "2"]),
    "WHAT": (["evict", "error"], ["", "drop"]),
    "DETAIL": (["none", "error", "info", "debug"], ["", "all", "INFO"]),
    "FILE": (["none"], [""]),
    "NAME": (["store_2", 'Odd "one"'], ["", "pg_store", "x" * 64]),
    "FORMAT": (["uuid", "random"], ["", "ulid"]),
    "RATE": (["0", "1/1ms", "600/1m", "1000000/366d"], [
        "", "5", "5/", "/1m", "0/1m", "-1/1m", "1000001/1m", "5/0", "5/367d", "5/1", "5/1m/1m", "1.5/1m", "5 /1m",
        "\u0665/1m",
    ]),
    "": (["true", "false", "1", "0", "yes", "no", "on", "off"], ["maybe", "2"]),
}  # fmt: skip


def variable(option: str) -> str:
    return "MCP_SESSION_STORE_" + option[2:].replace("-", "_").upper()


def test_help_lists_every_option_with_its_default() -> None:
    done = run("--help")
    assert done.returncode == 0 and done.stderr == ""
    assert run("-h").stdout == done.stdout
    assert max(len(row) for row in done.stdout.splitlines()) <= 120
    # What stands in the contract; an option that is only in the code would be in neither list.
    promised = {
        "--database", "--durability", "--exclusive", "--busy-timeout", "--session-ttl", "--inactivity-timeout",
        "--max-suspension", "--max-sessions", "--max-sessions-per-user", "--id-format", "--require-owner",
        "--degraded-sessions", "--max-events-per-session", "--event-overflow", "--max-tasks", "--max-values",
        "--max-line-bytes", "--max-payload-bytes", "--max-result-bytes", "--watch-parent",
    }  # fmt: skip
    assert promised <= OPTIONS.keys()
    assert OPTIONS["--session-ttl"] == ("TIME", "24h") and OPTIONS["--max-sessions"] == ("N", "100000")
    assert {placeholder for placeholder, _ in OPTIONS.values()} == VALUES.keys()


def test_help_wins_over_everything_and_touches_nothing(tmp_path: Path) -> None:
    assert run("--database", str(tmp_path / "a.db"), "--help").returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["--version", "-V", "version"])
def test_version(word: str) -> None:
    done = run(word)
    assert done.returncode == 0 and done.stderr == ""
    assert re.fullmatch(r"mcp-session-store \d+\.\d+\.\d+\n", done.stdout)


UNKNOWN = "mcp-session-store: unknown variable"


@pytest.mark.parametrize("words", [[], ["serve"], ["sessions"]])
def test_an_unknown_variable_is_named_and_ignored(words: list[str], tmp_path: Path) -> None:
    """It may be misspelt, or a newer program's: either way work goes on, and its value is not told."""
    assert run("--database", str(tmp_path / "a.db")).stderr == ""
    done = run(*words, "--database", str(tmp_path / "a.db"), MCP_SESSION_STORE_MAX_SESION="secret")
    assert done.returncode == 0 and done.stderr.count("\n") == 1 and "secret" not in done.stderr
    assert done.stderr.startswith(f"{UNKNOWN} ") and "MCP_SESSION_STORE_MAX_SESION (did you mean " in done.stderr
    assert "'MCP_SESSION_STORE_MAX_SESSIONS'" in done.stderr


def test_unknown_variables_are_told_in_one_line_that_does_not_grow(tmp_path: Path) -> None:
    many = {f"MCP_SESSION_STORE_{'X' * 5_000}{number}\x1b": "1" for number in range(50)}
    done = run("--database", str(tmp_path / "a.db"), **many)
    assert done.returncode == 0 and done.stderr.startswith(f"{UNKNOWN}s ") and done.stderr.endswith(" and 40 more\n")
    assert len(done.stderr) < 2_000 and "\x1b" not in done.stderr


def test_variables_of_the_clients_and_of_others_are_let_be(tmp_path: Path) -> None:
    others = {"MCP_SESSION_STORE_BINARY": "x", "MCP_SESSION_STOREY": "x", "mcp_session_store_x": "x"}
    assert run("--database", str(tmp_path / "a.db"), **others).stderr == ""
    # What reads no variable has nothing to say of them.
    for word in ("--help", "--version", "describe"):
        assert run(word, MCP_SESSION_STORE_NO="x").stderr == ""


def is_usage_error(done: subprocess.CompletedProcess[str], *mentions: str) -> None:
    """One clear line on stderr, and the exit status for usage."""
    assert done.returncode == 64, done
    assert done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("mcp-session-store: "), done
    for mention in mentions:
        assert mention in done.stderr, done


@pytest.mark.parametrize(
    "argument", ["--no-such-option", "--Database", "-x", "sessions.db", "", "--", "--max", "--help=1"]
)
def test_an_unknown_option(argument: str) -> None:
    is_usage_error(run(argument), f"'{argument}'", "--help")


@pytest.mark.parametrize("option", OPTIONS)
def test_the_values_of_an_option(option: str) -> None:
    """Good ones and bad ones, in each of the three places; the defaults that --help shows are good ones too."""
    placeholder, default = OPTIONS[option]
    good, bad = VALUES[placeholder]
    raised = ("--max-line-bytes", "--max-payload-bytes", "--max-result-bytes", "--max-state-bytes")
    rest = [text for name in raised if name != option for text in (name, "100MiB")]
    if option in raised:
        good = ["100MiB", "209715200"] if option in ("--max-line-bytes", "--max-result-bytes") else [*good, "0"]
    base = [] if option == "--database" else ["--database", ":memory:"]
    for text in [*good, default]:
        if option == "--database":
            continue  # tested with files
        # A large limit goes with other large ones; the default has to go with the other defaults.
        others = [] if text == default else rest
        assert run(*base, *others, f"{option}={text}").returncode == 0, text
        if placeholder:
            assert run(*base, *others, option, text).returncode == 0, text
        assert run(*base, *others, **{variable(option): text}).returncode == 0, text
    for text in bad:
        is_usage_error(run(*base, f"{option}={text}"), option)
        if text or placeholder:  # a flag's variable may be empty
            is_usage_error(run(*base, **{variable(option): text}), variable(option))
    if placeholder:
        is_usage_error(run(*base, option), option, placeholder)


def test_a_bad_variable_is_named_even_when_the_command_line_sets_the_option() -> None:
    """What stands in the environment is wrong either way; the message says where."""
    done = run("--database", ":memory:", "--max-sessions", "1", MCP_SESSION_STORE_MAX_SESSIONS="many")
    assert done.returncode in (0, 64)
    if done.returncode == 64:
        is_usage_error(done, "MCP_SESSION_STORE_MAX_SESSIONS")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--max-payload-bytes", "2MiB", "--max-line-bytes", "1MiB"], ["--max-payload-bytes", "--max-line-bytes"]),
        (["--max-line-bytes", "1023"], []),
        (["--max-payload-bytes", "9MiB"], ["--max-payload-bytes", "--max-result-bytes"]),
        (["--max-state-bytes", "9MiB"], ["--max-state-bytes", "--max-result-bytes"]),
        (["--max-result-bytes", "1MiB"], ["--max-state-bytes", "--max-result-bytes"]),
        (["--max-payload-bytes", "9MiB"], ["--max-payload-bytes", "--max-result-bytes"]),
    ],
)
def test_limits_that_contradict_each_other(options: list[str], named: list[str], tmp_path: Path) -> None:
    done = run("--database", str(tmp_path / "a.db"), *options)
    assert done.returncode == (78 if named else 64) and done.stdout == "" and done.stderr.count("\n") == 1
    for name in named:
        assert name in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_environment_sets_options_and_the_command_line_wins(tmp_path: Path) -> None:
    environment = {
        "MCP_SESSION_STORE_DATABASE": str(tmp_path / "env.db"),
        "MCP_SESSION_STORE_MAX_SESSIONS": "1",
        "MCP_SESSION_STORE_INACTIVITY_TIMEOUT": "1m",
    }
    sessions = line(request("create_session", 1)) + line(request("create_session", 2))

    def answers(*arguments: str) -> list[dict]:
        done = subprocess.run(
            [BINARY, *arguments], input=sessions, capture_output=True, timeout=PATIENCE, check=True,
            env=clean_environment(**environment),
        )  # fmt: skip
        return [json.loads(text) for text in done.stdout.splitlines()]

    first, second = answers()
    assert first["result"]["inactivity_timeout"] == 60_000
    assert second["error"]["data"]["kind"] == "max_sessions_reached" and second["error"]["data"]["limit"] == 1
    assert (tmp_path / "env.db").exists()
    first, second = answers("--database", str(tmp_path / "argv.db"), "--max-sessions=2", "--inactivity-timeout", "2m")
    assert first["result"]["inactivity_timeout"] == 120_000 and "result" in second
    assert (tmp_path / "argv.db").exists()


def test_a_flag_in_the_environment_can_be_taken_back() -> None:
    text = line(request("get_session", 1, session_id="s"))
    for arguments, refused in ([], True), (["--require-owner=false"], False):
        done = subprocess.run(
            [BINARY, "--database", ":memory:", *arguments], input=text, capture_output=True, timeout=PATIENCE,
            check=True, env=clean_environment(MCP_SESSION_STORE_REQUIRE_OWNER="true"),
        )  # fmt: skip
        assert ("error" in json.loads(done.stdout)) == refused


def test_the_last_of_an_option_given_twice_counts(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--max-sessions", "1", "--max-sessions", "2")
    sidecar.call("create_session")
    sidecar.call("create_session")
    assert sidecar.refusal("create_session").data["limit"] == 2


def test_the_default_path_lies_under_home(tmp_path: Path) -> None:
    """With directories and file for their owner alone."""
    assert run(HOME=str(tmp_path)).returncode == 0
    path = tmp_path / ".local" / "state" / "mcp-session-store" / "sessions.db"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert run(HOME=str(tmp_path)).returncode == 0


@pytest.mark.parametrize("home", [{}, {"HOME": ""}, {"HOME": "relative"}])
def test_without_home_a_path_is_asked_for(home: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [BINARY], input="", capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=tmp_path, env=home
    )
    assert done.returncode == 78 and "--database" in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_require_owner(spawn: Callable[..., Sidecar]) -> None:
    """A call that names nobody is refused, so that a value that was lost cannot open everything."""
    sidecar = spawn("--require-owner")
    assert sidecar.refusal("create_session").code == -32602
    assert sidecar.refusal("get_session", session_id="s").data["parameter"] == "principal"
    assert sidecar.refusal("list_sessions").code == -32602
    session = sidecar.call("create_session", session_id="s", principal="ann")
    assert sidecar.call("get_session", session_id="s", principal="ann") == session
    assert sidecar.call("get_session", session_id="s", principal="bob") is None
    assert sidecar.call("get_session", session_id="s", principal=None) is None
    assert sidecar.call("get_session", session_id="s", tenant_id=None) == session
