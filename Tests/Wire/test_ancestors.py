"""The page for those who come from other stores: its names are ours, and none of ours is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

PROTOCOL = Path(__file__).parents[2] / "protocol"
PAGE = (PROTOCOL / "ancestors.md").read_text(encoding="utf-8")
CONTRACT = (PROTOCOL / "README.md").read_text(encoding="utf-8")
OPENRPC: dict[str, Any] = json.loads((PROTOCOL / "openrpc.json").read_text(encoding="utf-8"))
METHODS = {method["name"] for method in OPENRPC["methods"]}
SYSTEMS = ("turul session storage", "turul task storage", "MCP-RS", "solo", "MACP")
#: what is called by these names in the contract without being a method, parameter or member: error kinds and values
KINDS = set(re.findall(r"^\| -?\d+ \| `(\w+)` \|", CONTRACT, re.MULTILINE))


def names_of_schemas(schema: Any) -> set[str]:
    """The members of everything that a schema describes."""
    if isinstance(schema, list):
        return set().union(*map(names_of_schemas, schema), set())
    if not isinstance(schema, dict):
        return set()
    found = set(schema.get("properties", {}))
    return found.union(*map(names_of_schemas, schema.values()), set())


PARAMETERS = {parameter["name"] for method in OPENRPC["methods"] for parameter in method["params"]}
NAMES = METHODS | PARAMETERS | KINDS | names_of_schemas(OPENRPC)


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def rows(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def spoken(text: str) -> list[str]:
    """What a text says in code, without the values behind it."""
    return [code.partition(":")[0] for code in re.findall(r"`([^`]+)`", text)]


@pytest.mark.parametrize("title", SYSTEMS)
def test_every_name_of_ours_is_one(title: str) -> None:
    found = rows(title)
    assert len(found) > 10
    for row in found:
        assert len(row) == 3, row
        for name in spoken(row[1]):
            option = name.split(" ")[0]
            known = option in CONTRACT if option.startswith("--") else name in NAMES or name == "lagged"
            assert known, f"{title}: `{name}` is no name of the contract"


def test_no_method_is_missing() -> None:
    told = {name for title in SYSTEMS for row in rows(title) for name in spoken(row[1])}
    told |= set(spoken(section("What none of them had")))
    assert METHODS - told == set()


@pytest.mark.parametrize("what", [
    "REST", "WebSocket", "NATS", "DynamoDB", "PostgreSQL", "RocksDB", "Redis", "CQRS", "GraphQL", "cache warming",
    "memory mapping",
])  # fmt: skip
def test_what_is_left_out_says_what_to_do(what: str) -> None:
    left_out = rows("What is left out, and what to do instead")
    instead = [row[1] for row in left_out if what in row[0]]
    assert len(instead) == 1 and len(instead[0]) > 30
