"""Full rate for a long time on one file, with expiry, eviction, compaction, maintenance and backups all the while.

Everything that is written ends some time: sessions, tasks, values, nonces and rate limits after three seconds, events
and audit lines by their caps, log entries by compaction. So memory, file and write-ahead log must level off, whatever
the rate. They are measured every second and drawn.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from part import Finding, Form
from sidecar import Sidecar, line, request

SECONDS = 45
LONG_SECONDS = 3_600
#: of what has a deadline
TTL = 3_000
SESSIONS = 50
OPTIONS = (
    "--max-events-per-session", "1000", "--max-audit-events", "1000", "--log-dedup-window", "1000",
    "--max-sessions", "0", "--max-tasks", "0", "--max-values", "0",
)  # fmt: skip
#: requests that are written at once; two of these are on their way at any time
BATCH = 500
#: seconds between two of them
MAINTENANCE, BACKUPS, REPORTS = 5.0, 10.0, 300.0

#: what the short form allows. The log is copied back at 64 MiB at the latest, but not while a backup reads; at 256 MiB
#: `health` calls it too large. The other two are a few times what is measured.
BOUNDS = {"memory": 128, "file": 512, "log": 256, "descriptors": 64}
#: the long form: the highest mark of the last quarter may be so much over that of the second one
GROWTH = 1.15
#: and that many MiB (or descriptors), for what is small
SLACK = 8
#: seconds after which no row may be left of what ended meanwhile: two sweeps
SWEPT = 120.0


@dataclass
class Sample:
    """What was measured at one moment; sizes in MiB."""

    seconds: float
    memory: float
    file: float
    log: float
    descriptors: int
    #: rows of sessions, those included whose time is over
    sessions: int
    #: requests so far
    requests: int
    #: sessions that were made so far
    made: int


class Load:
    """Requests of every kind that ends by itself, as bytes."""

    def __init__(self, pick: random.Random) -> None:
        self.pick = pick
        self.id = 0
        #: sessions that were made
        self.made = 0

    def begin(self) -> Iterator[bytes]:
        for number in range(SESSIONS):
            yield self._line("create_session", session_id=f"s-{number}", status="active", ttl=0, inactivity_timeout=0)

    def batch(self) -> list[bytes]:
        return [self._one(self.pick.random()) for _ in range(BATCH)]

    def _one(self, roll: float) -> bytes:
        session = f"s-{self.pick.randrange(SESSIONS)}"
        data = "x" * self.pick.randrange(50, 350)
        name = f"n-{self.id}"
        if roll < 0.70:
            return self._line("store_event", session_id=session, data=data)
        if roll < 0.75:
            return self._line("set_session_state", session_id=session, key=f"k-{self.id % 8}", value=data)
        if roll < 0.80:
            return self._line("append_log_entry", session_id=session, entry={"message_id": name, "data": data})
        if roll < 0.801:
            return self._line("compact_log", session_id=session, checkpoint={"message_id": name})
        if roll < 0.83:
            return self._line("create_session", session_id=name, ttl=TTL, state={"k": data})
        if roll < 0.86:
            return self._line("create_task", task_id=name, ttl=TTL, meta={"data": data})
        if roll < 0.89:
            return self._line("put_value", collection="c", key=name, value=data, ttl=TTL)
        if roll < 0.92:
            return self._line("consume_nonce", nonce=name, ttl=TTL)
        if roll < 0.95:
            return self._line("check_rate_limit", key=name, limit=10, window=TTL)
        if roll < 0.96:
            return self._line("validate_input", text="<script>")
        if roll < 0.98:
            return self._line("get_events_after", session_id=session, limit=20)
        return self._line("get_session", session_id=session)

    def _line(self, method: str, **params: Any) -> bytes:
        self.id += 1
        self.made += method == "create_session"
        return line(request(method, self.id, **params))


class Run:
    """One process under load, measured."""

    def __init__(self, form: Form, seconds: float) -> None:
        self.form, self.seconds = form, seconds
        self.database = form.directory / "endurance.db"
        self.load = Load(random.Random(f"endurance {form.seed}"))
        self.sidecar = Sidecar(*OPTIONS, database=self.database, binary=str(form.binary))
        self.samples: list[Sample] = []
        self.broken: list[str] = []
        self.answered = 0
        self.backups = 0
        #: the file that a backup is being written to
        self.backup: Path | None = None
        self.last: dict[str, float] = {}
        self.began = time.monotonic()

    def go(self) -> None:
        begin = list(self.load.begin())
        self.sidecar.send_bytes(b"".join(begin))
        under_way = len(begin)
        while (now := time.monotonic()) - self.began < self.seconds and not self.broken:
            self.sidecar.send_bytes(b"".join(self.load.batch()))
            under_way += BATCH
            while under_way > BATCH:
                self._read_one()
                under_way -= 1
            if self._is_due("sample", 1.0, now):
                while under_way:  # so that the next answer is that of health
                    self._read_one()
                    under_way -= 1
                self.samples.append(self._measure())
            if self._is_due("maintenance", MAINTENANCE, now):
                self._extra("maintenance", "maintenance")
            if self.backup is None and self._is_due("backup", BACKUPS, now):
                self.backup = self.form.directory / f"backup-{self.backups}.db"
                self._extra("backup", "backup", path=str(self.backup))
            if self._is_due("report", REPORTS, now) and len(self.samples) > 1:
                self.form.say(told(self.samples[-1]))

    def _is_due(self, what: str, interval: float, now: float) -> bool:
        if now - self.last.setdefault(what, self.began) < interval:
            return False
        self.last[what] = now
        return True

    def _extra(self, id: str, method: str, **params: Any) -> None:
        self.sidecar.send(request(method, id, **params))

    def _read_one(self) -> None:
        """The next answer to the load; what comes besides is looked at on the way."""
        self.answered += 1
        while True:
            text = self.sidecar.read_line()
            if text is None:
                raise EOFError(f"the process has ended: {self.sidecar.stderr()}")
            if text.startswith(b'{"jsonrpc":"2.0","id":%d,"result"' % self.answered):
                return
            message = json.loads(text)
            if message.get("id") == self.answered:
                self.broken.append(f"request {self.answered} was answered {text.decode()[:500]}")
                return
            self._besides(message)

    def _besides(self, message: dict[str, Any]) -> None:
        """What comes that is no answer to the load."""
        if message.get("method") == "progress":
            return
        if "error" in message or message.get("id") not in ("backup", "maintenance"):
            self.broken.append(f"after {self.answered} answers came {str(message)[:500]}")
        elif message["id"] == "backup":
            self._judge_backup()

    def _judge_backup(self) -> None:
        assert self.backup is not None
        with closing(sqlite3.connect(self.backup)) as copy:
            if (said := copy.execute("PRAGMA quick_check").fetchall()) != [("ok",)]:
                self.broken.append(f"SQLite says of {self.backup.name}: {said[:3]}")
        self.backup.unlink()
        self.backup = None
        self.backups += 1

    def _measure(self) -> Sample:
        """Called when nothing but jobs is on its way."""
        self._extra("health", "health")
        while (message := self.sidecar.receive()).get("id") != "health":
            self._besides(message)
        process = Path(f"/proc/{self.sidecar.process.pid}")
        pages = int((process / "statm").read_text().split()[1])
        log = self.database.with_name(self.database.name + "-wal")
        mebibyte = 1 << 20
        return Sample(
            time.monotonic() - self.began, pages * os.sysconf("SC_PAGE_SIZE") / mebibyte,
            self.database.stat().st_size / mebibyte, log.stat().st_size / mebibyte, len(os.listdir(process / "fd")),
            message["result"]["session_count"], self.answered, self.load.made)  # fmt: skip

    def end(self) -> None:
        for message in self.sidecar.finish():
            if "error" in message:
                self.broken.append(f"at the end: {message}")
        with closing(sqlite3.connect(self.database)) as connection:
            if (said := connection.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
                self.broken.append(f"SQLite says of the file: {said[:3]}")


def told(sample: Sample) -> str:
    return (f"{sample.seconds:,.0f} s, {sample.requests:,} requests: memory {sample.memory:.0f} MiB, "
            f"file {sample.file:.0f} MiB, log {sample.log:.0f} MiB, {sample.sessions:,} rows of sessions")  # fmt: skip


def run(form: Form) -> list[Finding]:
    run = Run(form, LONG_SECONDS if form.is_long else SECONDS)
    try:
        run.go()
        run.end()
    finally:
        run.sidecar.kill()
    highest = Sample(*(max(getattr(sample, name.name) for sample in run.samples) for name in fields(Sample)))
    tried = f"{highest.requests:,} requests in {highest.seconds:,.0f} s; at most " + told(highest).split(": ")[1]
    levels = over_bounds(highest)
    if form.is_long:
        levels = still_growing(run.samples)
        form.say(f"drawn in {draw(run.samples, form.results)}")
    return [
        Finding("at full rate every request succeeds, and so does every backup and the check of the file",
                f"{highest.requests:,} requests, {run.backups} backups", run.broken),
        Finding("memory, file and write-ahead log level off", tried, levels),
    ]  # fmt: skip


def over_bounds(highest: Sample) -> list[str]:
    return [f"{name}: {getattr(highest, name):.0f}, and at most {bound} is allowed"
            for name, bound in BOUNDS.items() if getattr(highest, name) > bound]  # fmt: skip


def still_growing(samples: list[Sample]) -> list[str]:
    """The first quarter is for filling up; then the highest mark of the end must be that of the beginning."""
    quarter = len(samples) // 4
    told = []
    for name in ("memory", "file", "log", "descriptors"):
        early = max(getattr(sample, name) for sample in samples[quarter : 2 * quarter])
        late = max(getattr(sample, name) for sample in samples[3 * quarter :])
        if late > early * GROWTH + SLACK:
            told.append(f"{name}: at most {early:.0f} in the second quarter, and {late:.0f} in the last one")
    # How many rows wait for a sweep goes with the rate, which is what the machine makes of it.
    first = 0
    for sample in samples:
        while samples[first].seconds < sample.seconds - SWEPT:
            first += 1
        lately = sample.made - samples[first].made
        if first > 0 and sample.sessions > SESSIONS + lately:
            told.append(f"sessions: {sample.sessions:,} rows, though only {lately:,} were made in {SWEPT:.0f} s")
            break
    return told


def draw(samples: list[Sample], place: Path) -> Path:
    import matplotlib  # only the long form needs it

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(5, 1, sharex=True, figsize=(10, 12), layout="constrained")
    minutes = [sample.seconds / 60 for sample in samples]
    titles = {
        "memory": "resident memory, MiB", "file": "database file, MiB", "log": "write-ahead log, MiB",
        "sessions": "rows of sessions",
    }  # fmt: skip
    for panel, (name, title) in zip(panels, titles.items()):
        panel.plot(minutes, [getattr(sample, name) for sample in samples], linewidth=0.8)
        panel.set_ylabel(title)
    pairs = list(zip(samples, samples[1:]))
    rates = [(after.requests - before.requests) / (after.seconds - before.seconds) for before, after in pairs]
    panels[-1].plot(minutes[1:], rates, linewidth=0.8)
    panels[-1].set_ylabel("requests per second")
    for panel in panels:
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[-1].set_xlabel("minutes")
    place.mkdir(parents=True, exist_ok=True)
    figure.savefig(place / "endurance.png", dpi=100)
    return place / "endurance.png"
