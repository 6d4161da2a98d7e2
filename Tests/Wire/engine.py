"""The engines that a store can be on, and which tests run on which: the one list.

A test that asks for `database`, or for anything made of it, is a test of any engine, unless it is marked `file_only`.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

from sidecar import BINARY

ENGINES = ("file", "postgres")

#: by a name of the test's own: where a database is, the path of a file or an address
Place = Callable[[str], Path | str]

#: The files whose tests run on every engine without being asked to; `--engine all` runs all others too. Chosen for
#: what differs most from engine to engine, so that the whole stays short.
ON_BOTH = {
    "test_dump.py",
    "test_listings.py",
    "test_log.py",
    "test_pipelining.py",
    "test_replicas.py",
    "test_security.py",
    "test_subscriptions.py",
    "test_totals.py",
    "test_transcripts.py",
    "test_user_data.py",
}


@functools.cache
def serves_postgres() -> bool:
    """Whether the program under test knows the engine: one without it is not asked for it."""
    done = subprocess.run([BINARY, "--help"], capture_output=True, text=True, check=True, timeout=60)
    return "--schema" in done.stdout
