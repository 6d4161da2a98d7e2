"""What a server's process and its store's hold, and whether that grew."""

from __future__ import annotations

import os
from pathlib import Path

#: MiB by which memory may differ, and as many per cent: allocators keep what they had
SLACK = 24
PER_CENT = 25
#: what may be there in passing, of what is counted
PASSING = {"descriptors": 8, "resources": 8, "objects": 200, "tasks": 0, "threads": 0}


def held(pid: int) -> dict[str, int]:
    """MiB and descriptors of a server and of its store, the only child that it has."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = {}
    for name, each in (("server", str(pid)), ("store", children[0])):
        status = Path(f"/proc/{each}/status").read_text()
        found[f"{name} MiB"] = int(status.partition("VmRSS:")[2].split()[0]) // 1_024
        found[f"{name} descriptors"] = len(os.listdir(f"/proc/{each}/fd"))
    return found


def grown(base: dict[str, int], now: dict[str, int]) -> list[str]:
    """What is more than it was, in words. The last word of a name says what is counted."""

    def room(name: str) -> int:
        kind = name.split()[-1]
        return SLACK + base[name] * PER_CENT // 100 if kind == "MiB" else PASSING[kind]

    return [f"{name} grew from {before} to {now[name]}" for name, before in base.items()
            if now[name] > before + room(name)]
