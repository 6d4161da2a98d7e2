"""The client has what the contract has."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONTRACT = json.loads((ROOT / "protocol/openrpc.json").read_text(encoding="utf-8"))
METHODS = {method["name"]: method for method in CONTRACT["methods"]}
#: what stands for them in the client
INSTEAD = {"unsubscribe": "aclose", "shutdown": "close", "rpc.discover": "discover"}


def test_both_clients_are_made_from_this_contract() -> None:
    command = [sys.executable, str(ROOT / "protocol/clients/generate"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run python3 protocol/clients/generate: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("unsubscribe", "shutdown")])
@pytest.mark.parametrize("kind", ["Store", "BlockingStore"])
def test_every_method_has_the_parameters_of_the_contract(name: str, kind: str) -> None:
    import mcp_session_store

    method = getattr(getattr(mcp_session_store, kind), INSTEAD.get(name, name))
    found = {
        parameter.name: parameter.default is inspect.Parameter.empty
        for parameter in inspect.signature(method).parameters.values()
        if parameter.name not in ("self", "timeout", "on_progress", "on_gap", "on_init", "on_heartbeat", "max_queued",
                                  "max_queued_bytes")
    }
    assert found == {parameter["name"]: parameter["required"] for parameter in METHODS[name]["params"]}


def test_every_kind_of_error_has_a_class() -> None:
    from mcp_session_store.contract import ERRORS

    table = (ROOT / "protocol/README.md").read_text(encoding="utf-8")
    kinds = set(re.findall(r"^\| -?\d+ \| `(\w+)` \|", table, re.MULTILINE))
    # Those of a line that is no request never reach a client that writes requests.
    unheard = {"parse_error", "invalid_request", "method_not_found", "internal_error", "invalid_cursor"}
    assert kinds - unheard <= set(ERRORS) <= kinds


def test_every_example_of_the_contract_can_be_called(binary: Path, database: Path) -> None:
    from mcp_session_store import RequestError, Store

    async def main() -> None:
        async with Store(database, binary=binary) as store:
            for name, method in METHODS.items():
                if name in ("unsubscribe", "shutdown"):
                    continue
                example = method["examples"][0]
                params = {parameter["name"]: parameter["value"] for parameter in example["params"]}
                if name in ("backup", "archive"):
                    params["path"] = str(database.with_name(f"{name}.copy"))
                try:
                    await getattr(store, INSTEAD.get(name, name))(**params)
                except RequestError as error:
                    assert error.code > 0 and type(error) is not RequestError, (name, error)

    asyncio.run(main())
