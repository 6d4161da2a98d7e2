"""The event store does with version 1 of the SDK what it does with version 2."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

from test_mcp_events import *  # noqa: E402, F403
