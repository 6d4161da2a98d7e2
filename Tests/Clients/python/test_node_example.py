"""The example of the client for Node, asked by the SDK's own client, in both eras."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from mcp.client import Client
from mcp.types import TextContent
from server_process import WAIT

EXAMPLE = Path(__file__).parents[3] / "protocol/clients/node/example.mjs"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdks_own_client_gets_its_answer(mode: str, binary: Path, database: Path) -> None:
    async def ask(url: str) -> None:
        async with Client(url, mode=mode) as client:
            [tool] = (await client.list_tools()).tools
            assert tool.name == "count"
            result = await client.call_tool("count", {"to": 3})
            assert not result.is_error
            [content] = result.content
            assert isinstance(content, TextContent) and content.text == "Counted to 3."

    environment = {**os.environ, "MCP_SESSION_STORE_BINARY": str(binary)}
    command = ["node", str(EXAMPLE), "0", str(database)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            asyncio.run(asyncio.wait_for(ask(server.stdout.readline().strip()), WAIT))
        finally:
            server.kill()
