"""What a store takes of the disk, and that it gives it back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar import Sidecar

PAYLOAD = 500_000


@pytest.mark.file_only
def test_maintenance_gives_space_back(spawn: Callable[..., Sidecar], database: Path) -> None:
    sidecar = spawn()
    sidecar.call("create_session", session_id="s")
    empty = sidecar.call("health")["database_bytes"]
    for _ in range(10):
        sidecar.call("store_event", session_id="s", data="x" * PAYLOAD)
    full = sidecar.call("health")["database_bytes"]
    # Equal payloads are stored as often as they come, with little beside them.
    assert 10 * PAYLOAD < full - empty < 11 * PAYLOAD
    sidecar.call("delete_session", session_id="s")
    assert sidecar.call("health")["database_bytes"] == full
    for _ in range(10):
        if sidecar.call("maintenance")["freed_pages"] == 0:
            break
    assert sidecar.call("health")["database_bytes"] < empty + PAYLOAD
    assert database.stat().st_size < empty + PAYLOAD
