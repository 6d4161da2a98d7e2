"""The client of version 1 of the SDK gets what it missed from a server of version 1."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

from test_mcp_clients import *  # noqa: E402, F403
