"""protocol/README.md against protocol/openrpc.json and the conversations: nothing is left out and nothing made up."""

from __future__ import annotations

import json
import re
from pathlib import Path

PROTOCOL = Path(__file__).parents[2] / "protocol"
TEXT = (PROTOCOL / "README.md").read_text(encoding="utf-8")
DOCUMENT = json.loads((PROTOCOL / "openrpc.json").read_text(encoding="utf-8"))
METHODS = {method["name"]: method for method in DOCUMENT["methods"]}
#: errors of JSON-RPC itself, which OpenRPC does not list
JSONRPC_ERRORS = {
    (-32700, "parse_error"), (-32600, "invalid_request"), (-32601, "method_not_found"), (-32602, "invalid_cursor"),
    (-32603, "internal_error"),
}  # fmt: skip


def rows() -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| ")
    ]


def method_rows() -> dict[str, str]:
    """The parameters, as written, of each method that stands in a table."""
    found = {}
    for cells in rows():
        names = re.findall(r"`([a-z_.]+)`", cells[0])
        if len(cells) == 3 and names and all(name in METHODS for name in names):
            found |= dict.fromkeys(names, cells[1])
    return found


def test_every_method_is_described() -> None:
    described = set(method_rows()) | {"consume_nonce", "transaction"}  # these two have a section
    assert described == METHODS.keys()


def test_the_parameters_are_those_of_the_document() -> None:
    shared = ("complete_task", "fail_task", "require_task_input", "provide_task_input", "subscribe_tasks")
    for name, written in method_rows().items():
        known = {parameter["name"] for parameter in METHODS[name]["params"]}
        optional = {parameter["name"] for parameter in METHODS[name]["params"] if not parameter["required"]}
        if name == "store_events" or name == "initialize":
            written = re.sub(r"\[?\{.*?\}\]?", "", written)
        plain = re.sub(r"\{[^}]*\}|\([^)]*\)|\[\]", "", written)
        given = re.findall(r"([a-z_]+)(\??)", " ".join(re.findall(r"`([^`]*)`", plain)))
        if name in shared:
            assert {parameter for parameter, _ in given} & known, name
            continue
        assert {parameter for parameter, _ in given} <= known, name
        # The owners and a task's session are said once for all.
        unsaid = known - {parameter for parameter, _ in given} - {"tenant_id", "principal", "session_id"}
        assert unsaid == set(), name
        for parameter, mark in given:
            assert (mark == "?") == (parameter in optional), f"{name}.{parameter}"


def test_methods_without_owners_are_marked() -> None:
    without = {
        name
        for name, method in METHODS.items()
        if not {"tenant_id", "principal"} <= {parameter["name"] for parameter in method["params"]}
    }
    operation = set(re.findall(r"^\| `([a-z_.]+)`", TEXT.split("## Operation")[1].split("## ")[0], re.MULTILINE))
    marked = {
        name for cells in rows() if "(no owners)" in cells[0] for name in re.findall(r"`([a-z_]+)`", cells[0])
    }
    assert marked | operation | {"transaction", "consume_nonce"} == without


def test_every_error_is_described() -> None:
    listed = {
        (error["code"], kind, error["data"]["retryable"]) for kind, error in DOCUMENT["components"]["errors"].items()
    } | {(code, kind, False) for code, kind in JSONRPC_ERRORS}
    table = {
        (int(cells[0]), cells[1].strip("`"), "yes" in cells[2])
        for cells in rows()
        if len(cells) == 5 and re.fullmatch(r"-?\d+", cells[0])
    }
    assert table == listed


def test_every_conversation_is_mentioned() -> None:
    there = {path.stem for path in (PROTOCOL / "transcripts").glob("*.jsonl")}
    named = {name for name in re.findall(r"(?<!\*)\*([a-z]+(?:-[a-z]+)*)\*(?!\*)", TEXT)}
    assert named == there
