"""What a power cut leaves: what was not synced is gone, in another order, torn or garbage.

A kill proves nothing about that, for what a killed process has written stays in the memory of the system. So the
product's own rooms run on a file system of the tests' (Disk/), which writes down what is done to the disk; then the
disks that a power cut could have left are built, opened by the product and compared with a model of what was answered.
"""

from __future__ import annotations

import re

import disk
from faults import can_trace, tracing
from part import Finding, Form
from sidecar import Sidecar, request

#: of what is written to the files of a database, and what makes that last
CALLS = ("openat", "pwrite64", "fdatasync", "fsync", "unlink", "write", "pwritev2")


def names(form: Form, *options: str) -> Finding:
    """A file's name is on the disk only once its directory is synced, and by then nothing may have been answered that
    needs it. The file system of the tests sees what SQLite does; this sees what the program does."""
    broken: list[str] = []
    name = "-".join(["names", *options]).replace("--", "")
    folder = form.directory / name
    folder.mkdir()
    log = form.directory / f"{name}.log"
    for life in ("new", "again", "after a kill"):
        sidecar = Sidecar(*options, database=folder / "sessions.db", wrapper=tracing(log, *CALLS))
        sidecar.send(request("put_value", 1, collection="c", key="k", value=life))
        assert "result" in sidecar.receive()
        sidecar.send(request("put_value", 2, collection="c", key="k", value=life))
        assert "result" in sidecar.receive()
        sidecar.kill() if life == "again" else sidecar.finish()
        unsynced: set[str] = set()
        answers = made_names = 0
        for text in log.read_text(errors="replace").splitlines():
            if made := re.search(rf'openat\(.*"[^"]*?(sessions\.db(?:-wal)?)", [A-Z_|]*O_CREAT', text):
                unsynced.add(made[1])
                made_names += 1
            elif re.search(rf"(?:fdatasync|fsync)\(\d+<[^>]*/{name}>\)\s+= 0", text):
                unsynced.clear()
            elif "pipe:[" in text and "write" in text:
                answers += 1
                if unsynced:
                    broken.append(f"{life}: answered before the names {sorted(unsynced)} were on the disk: {text}")
        if answers < 2 or made_names < 2:
            broken.append(f"{life}: only {answers} answers and {made_names} names were seen")
    return Finding(
        f"{' '.join(options) or 'full'}: the names of new files are on the disk before anything is answered",
        "3 processes, 6 answers, traced", broken,
    )  # fmt: skip


def run(form: Form) -> list[Finding]:
    found = disk.findings("power-cut", form)
    if can_trace():
        found += [names(form), names(form, "--exclusive")]
    else:
        form.say("strace is missing or may not trace here: the order of the program's own calls is not looked at")
    return found
