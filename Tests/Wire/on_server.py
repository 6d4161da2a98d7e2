"""Runs a command with a PostgreSQL server of its own, whose address it finds in MCP_SESSION_STORE_TEST_SERVER.

    Tests/.venv/bin/python Tests/Wire/on_server.py swift test --no-parallel --filter SessionStoreTests
"""

from __future__ import annotations

import os
import subprocess
import sys

from postgres_server import PostgresServer

if __name__ == "__main__":
    with PostgresServer() as server:
        os.environ["MCP_SESSION_STORE_TEST_SERVER"] = server.address(server.new_database())
        sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)
