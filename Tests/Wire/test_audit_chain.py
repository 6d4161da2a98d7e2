"""That tampering with the audit trail shows: to a check, and to whoever has a dump and the contract."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from engine import Place
from shell import command, is_refused, output
from sidecar import Sidecar
from test_dump import dumped, load
from test_user_data import fill

pytestmark = pytest.mark.file_only

CONTRACT = Path(__file__).resolve().parents[2] / "protocol" / "README.md"
START = "0" * 64


def verify(dump: str) -> subprocess.CompletedProcess[str]:
    """What the program in the contract says of a dump."""
    programs = re.findall(r"```python\n(.*?)```", CONTRACT.read_text(), re.DOTALL)
    (program,) = (one for one in programs if "audit_chains" in one)
    return subprocess.run([sys.executable, "-c", program], input=dump, capture_output=True, text=True, check=False)


@pytest.fixture
def trail(spawn: Callable[..., Sidecar]) -> Sidecar:
    """Names that a canonical form could get wrong, some of everything erased, and a ring that has evicted."""
    sidecar = spawn("--max-audit-events", "20")
    fill(sidecar, "ada")
    for number in range(300):
        sidecar.call("create_session", session_id=f"s-{number}", principal="ada")
    fill(sidecar, "bob")
    reason = '\u2028 ü "\\/ \x7f \x01\x1f\b\f\n\r\t 😀'
    sidecar.call("suspend_session", session_id="session-canary-of-bob", reason=reason)
    sidecar.call("record_security_event", type="session_auth", severity="high", user_id="é\u0301", ip_address="::1")
    assert sidecar.call("delete_user_data", principal="principal-bob")["audit_events"] > 3
    return sidecar


def chains(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {chain.pop("ring"): chain for chain in found["audit"]["chains"]}


def test_an_outsider_verifies_a_dump(trail: Sidecar, database: Path | str) -> None:
    head = trail.call("get_audit_head")["head"]
    found = trail.call("check_integrity", expected_head=head)
    assert (found["ok"], found["problems"], found["audit"]["head"]) == (True, [], head)
    both = chains(found)
    assert both["lifecycle"]["begins_after"] > 250 and both["security"]["begins_after"] == 0
    assert all(chain["erased"] and chain["expected_head"] == "extended" for chain in both.values())
    assert all(chain["first_break"] is None and chain["older"] == 0 for chain in both.values())
    trail.finish()
    dump = dumped(database)
    said = verify(dump)
    assert (said.stdout, said.stderr, said.returncode) == (head + "\n", "", 0)
    lines = dump.split("\n")
    events = [number for number, line in enumerate(lines) if line.startswith('{"audit_event":')]
    for number in (events[0], events[3], events[-1]):
        event = json.loads(lines[number])["audit_event"]
        for changed in ({"timestamp": event["timestamp"] + 1}, {"seal": "1" * 32 + event["seal"][32:]}):
            line = json.dumps({"audit_event": event | changed})
            said = verify("\n".join(lines[:number] + [line] + lines[number + 1 :]))
            if "seal" in changed or event["type"] != "erased":
                assert said.returncode == 1 and f"event {event['number']} " in said.stderr
    said = verify("\n".join(lines[: events[3]] + lines[events[3] + 1 :]))
    assert said.returncode == 1


def test_nothing_is_left_of_what_is_erased(trail: Sidecar, database: Path | str) -> None:
    trail.finish()
    dump = dumped(database)
    assert "bob" not in dump
    erased = [
        event["audit_event"] for event in map(json.loads, dump.split("\n")[:-1])
        if event.get("audit_event", {}).get("type") == "erased"
    ]  # fmt: skip
    for event in erased:
        left = {name for name, value in event.items() if value not in (None, 0)}
        assert left == {"number", "ring", "type", "seal"} and len(event["seal"]) == 128


def test_a_trail_that_was_written_anew_is_not_that_of_the_head(trail: Sidecar, spawn: Callable[..., Sidecar]) -> None:
    head = trail.call("get_audit_head")["head"]
    trail.call("create_session")
    assert trail.call("check_integrity", expected_head=head)["ok"]
    early = "3:" + ":".join(head.split(":")[1:])
    found = chains(trail.call("check_integrity", expected_head=early))
    assert found["lifecycle"]["expected_head"] == "evicted" and found["security"]["expected_head"] == "broken"
    other = spawn(database=":memory:")
    found = other.call("check_integrity", expected_head=head)
    assert found["ok"] is False and len(found["problems"]) == 3
    assert other.call("get_audit_head") == {"head": f"0:{START}:{START}"}
    assert other.call("check_integrity", expected_head=f"0:{START}:{START}")["ok"]
    for wrong in ("", "3", early.upper(), f"-1:{START}:{START}"):
        assert other.refusal("check_integrity", expected_head=wrong).data["parameter"] == "expected_head"


def test_the_command_says_the_same(trail: Sidecar, database: Path) -> None:
    head = trail.call("get_audit_head")["head"]
    expected = trail.call("check_integrity", expected_head=head)
    said = json.loads(output("check", "--json", "--expected-head", head, "--database", database))
    assert said == expected
    assert output("check", "--expected-head", head, "--database", database) == "ok\n"
    early = "3:" + ":".join(head.split(":")[1:])
    done = command("check", "--expected-head", early, "--database", database)
    assert done.returncode == 1 and "does not go on from the expected head" in done.stdout
    assert "The expected head is not known to the ring 'lifecycle'" in done.stdout
    is_refused(command("check", "--expected-head", "x", "--database", database), 64, "--expected-head", "NUMBER:HASH")
    trail.finish()
    with closing(sqlite3.connect(database)) as file:
        file.execute("UPDATE audit_events SET principal = 'eve' WHERE principal = 'ada'")
        file.commit()
    done = command("check", "--database", database)
    assert done.returncode == 1 and "the audit trail of the ring 'lifecycle' is broken at event " in done.stdout


def test_a_new_store_keeps_the_chain_and_another_chains_anew(
    trail: Sidecar, database: Path | str, place: Place, spawn: Callable[..., Sidecar]
) -> None:
    head = trail.call("get_audit_head")["head"]
    trail.finish()
    dump = dumped(database)
    assert load(place("copy"), dump).returncode == 0
    copy = spawn(database=place("copy"))
    assert copy.call("get_audit_head") == {"head": head}
    copy.call("create_session")
    assert copy.call("check_integrity", expected_head=head)["ok"]
    copy.finish()
    other = spawn(database=place("other"))
    other.call("create_session", session_id="mine")
    other.call("put_value", collection="c", key="k", value=1)
    noted = other.call("get_audit_head")["head"]
    assert load(place("other"), dump).returncode == 0
    other.call("create_session", session_id="mine-too")
    found = other.call("check_integrity", expected_head=noted)
    assert found["problems"] == []
    both = chains(found)
    assert both["lifecycle"]["begins_after"] == 0 and both["lifecycle"]["events"] > 20 and both["lifecycle"]["erased"]
    other.finish()
    assert verify(dumped(place("other"))).returncode == 0


def test_a_dump_that_was_tampered_with_is_not_loaded(
    trail: Sidecar, database: Path | str, place: Place, spawn: Callable[..., Sidecar]
) -> None:
    trail.finish()
    dump = dumped(database)
    tampered = dump.replace('"user_id":"user-ada"', '"user_id":"user-eve"')
    assert tampered != dump
    spawn(database=place("old")).call("create_session")
    for name in ("new", "old"):
        done = load(place(name), tampered)
        is_refused(done, 65, "nothing was loaded", "the audit trail of the ring 'security' is broken at event 2:")
