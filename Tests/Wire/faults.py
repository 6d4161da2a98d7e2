"""Disks that fail: the binary under strace, which makes chosen system calls return errors (strace(1), "inject")."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

STRACE = ["strace", "-f", "-qq"]
#: makes strace stop the process only for the calls that are named, not for every one; signals are not injected then
QUICK = "--seccomp-bpf"


def can_trace() -> bool:
    """Some containers forbid it."""
    return shutil.which("strace") is not None and subprocess.run(
        [*STRACE, QUICK, "-e", "trace=none", "true"], capture_output=True, check=False
    ).returncode == 0  # fmt: skip


needs_strace = pytest.mark.skipif(not can_trace(), reason="strace is missing or may not trace here")


def injecting(log: Path, call: str, fault: str) -> list[str]:
    """A wrapper for Sidecar: `call` meets `fault` (such as "error=ENOSPC:when=3+"). The calls are written to `log`."""
    quick = [] if fault.startswith("signal=") else [QUICK]
    return [*STRACE, *quick, "-y", "-o", str(log), "-e", f"trace={call}", "-e", f"inject={call}:{fault}"]


def tracing(log: Path, *calls: str) -> list[str]:
    """A wrapper that only writes the calls down, with the files that descriptors stand for."""
    return [*STRACE, QUICK, "-y", "-s", "64", "-o", str(log), "-e", "trace=" + ",".join(calls)]


def count(log: Path, pattern: str) -> int:
    """How many calls in the log match."""
    return len(re.findall(pattern, log.read_text(errors="replace"), re.MULTILINE))
