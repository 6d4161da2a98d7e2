"""The guard: no path of the product got longer without somebody saying so. What it takes in time is not asserted."""

import os
from pathlib import Path

import pytest

import instructions


@pytest.fixture(scope="module")
def binary() -> Path:
    path = os.environ.get("MCP_SESSION_STORE_BINARY")
    return Path(path) if path else pytest.fail("set MCP_SESSION_STORE_BINARY to the path of a built mcp-session-store")


def test_no_workload_needs_more_instructions_than_its_budget(binary: Path) -> None:
    over = instructions.verdict(binary, instructions.counts(binary))
    assert not over, "\n".join(over)


def test_a_count_over_the_margin_is_named_with_how_much_it_rose() -> None:
    budget = {"start": 1_000, "scan": 2_000}
    assert instructions.risen({"start": 1_050, "scan": 10}, budget) == []
    assert instructions.risen({"start": 1_051, "scan": 4_000}, budget) == [
        "start: 1,051 instructions, +5.1% beside its 1,000",
        "scan: 4,000 instructions, +100.0% beside its 2,000",
    ]


def test_a_budget_of_other_workloads_is_no_budget() -> None:
    assert instructions.risen({"start": 1}, {"start": 1, "scan": 1}) == ["the budget is for other workloads: scan"]


def test_a_line_that_is_refused_gives_no_count(binary: Path) -> None:
    with pytest.raises(RuntimeError, match="method_not_found"):
        instructions.count(binary, ['{"jsonrpc":"2.0","id":1,"method":"no_such_method"}\n'])
