"""Faults that are planted into a copy of the sources, one at a time: each must fail the tests that are named with it.

Whoever changes a line that stands here changes it here too: a fault whose place is not found exactly once breaks the
part. The tests are the narrow ones that should notice; they pass on the copy before anything is planted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from part import Finding, Form

ROOT = Path(__file__).resolve().parents[2]
#: what a build of the program needs
NEEDED = ("Package.swift", "Sources", "Tests")
#: of the output of a build or a test that went otherwise than expected
SHOWN = 1_500
#: so many of the faults in the short form, by the seed
SHORT = 3

WIRE, RELIABILITY = "Tests/Wire", "Tests/Reliability"
NEIGHBOURS = (f"{RELIABILITY}/test_calls.py", "-k", "neighbours")
ANY_CALLS = (f"{RELIABILITY}/test_calls.py", "-k", "any_call")
#: tests that make other calls each time, and how often they may try
AT_RANDOM = (NEIGHBOURS, ANY_CALLS)
TRIES = 12


def wire(file: str, words: str) -> tuple[str, ...]:
    return (f"{WIRE}/test_{file}.py", "-k", words)


def transcript(name: str) -> tuple[str, ...]:
    return wire("transcripts", name)


@dataclass(frozen=True)
class Fault:
    #: what is wrong then
    name: str
    #: under Sources
    file: str
    old: str
    new: str
    #: what pytest is told to run
    tests: tuple[str, ...]


STORE, SIDECAR = "SessionStore", "Sidecar"
FAULTS = [
    # Owners
    Fault("the owner of a session is not looked at", f"{STORE}/Sessions/Sessions.swift",
          "guard let row = try selectSession(sessionID), row.admits(owner) else { return nil }",
          "guard let row = try selectSession(sessionID) else { return nil }", NEIGHBOURS),
    Fault("the owner of a remembered session is not looked at", f"{STORE}/Sessions/Sessions.swift",
          "if cache.admits(owner, slot) { return slot }", "if cache.admits(.server, slot) { return slot }", NEIGHBOURS),
    Fault("the owner of a task is not looked at", f"{STORE}/Tasks/Tasks.swift",
          "scope.owner.admits(tenant: task.tenantID, principal: task.principal)", "scope.owner == scope.owner",
          NEIGHBOURS),
    Fault("a session is deleted with everybody's tasks", f"{STORE}/Tasks/Tasks.swift",
          "    var conditions = Filter(visibleTo: owner)\n    conditions.add(\"session_id = ?\", session.sessionID)",
          "    var conditions = Filter(.server)\n    conditions.add(\"session_id = ?\", session.sessionID)",
          NEIGHBOURS),
    Fault("values of all tenants are one partition", f"{STORE}/Values/Values.swift",
          'tenantID = owner.tenant.binding ?? ""', 'tenantID = ""', NEIGHBOURS),
    Fault("nobody's sessions are missing in an owner's lists", f"{STORE}/Store/Filter.swift",
          'ways = ways.map { $0 + [bound] } + ways.map { $0 + ["\\(column) IS NULL"] }',
          "ways = ways.map { $0 + [bound] }", transcript("owners")),
    # Limits
    Fault("one session of a user more than the cap", f"{STORE}/Sessions/Sessions.swift",
          "tenantID: tenantID) >= Int64(limits.maxSessionsPerUser) {",
          "tenantID: tenantID) > Int64(limits.maxSessionsPerUser) {", transcript("session-caps")),
    Fault("one event more than the cap", f"{STORE}/Events/Events.swift",
          "row.eventCount - limit : 0", "row.eventCount - limit - 1 : 0",
          transcript("gap-after-eviction")),
    Fault("one level of JSON more", "JSON/JSONScanner.swift",
          "depthLimit = 128", "depthLimit = 129", wire("framing", "depth")),
    Fault("one known message id more", f"{STORE}/Log/LogMessageIDs.swift",
          "max(0, count - Int64(knownIDs))", "max(0, count - Int64(knownIDs) - 1)",
          wire("log", "window")),
    # Time
    Fault("a deadline is over a millisecond late", f"{STORE}/Sessions/Session.swift",
          "now >= deadline else { return status }", "now > deadline else { return status }", ANY_CALLS),
    Fault("a task lapses a millisecond early", f"{STORE}/Tasks/Task.swift",
          "expiresAt.map { now > $0 } ?? false", "expiresAt.map { now >= $0 } ?? false", ANY_CALLS),
    Fault("a nonce is new again a millisecond late", f"{STORE}/Values/Nonces.swift",
          "WHERE nonces.expires_at <= $4", "WHERE nonces.expires_at < $4", ANY_CALLS),
    Fault("suspension does not stop the fixed deadline", f"{STORE}/Sessions/SessionLifecycle.swift",
          "row.expiresAt.map { (Saturating($0) + suspended).time }",
          "row.expiresAt.map { (Saturating($0) + 0 * suspended).time }", ANY_CALLS),
    Fault("retry_after is rounded down", f"{STORE}/Audit/RateLimits.swift",
          "(wait + 999_999).value / 1_000_000", "(wait + 0).value / 1_000_000",
          wire("security", "as_long_as_told")),
    Fault("a sweep skips sessions", f"{STORE}/File/Maintenance.swift",
          "FROM sessions WHERE check_at <= $1 ORDER BY", "FROM sessions WHERE check_at < 0 * $1 ORDER BY",
          transcript("health-and-maintenance")),
    # Lists
    Fault("a page begins one row too far", f"{SIDECAR}/Contract/ListPage.swift",
          "    count += 1\n    last = number", "    count += 1\n    last = number + 1",
          transcript("lists-and-cursors")),
    Fault("streams are mixed", f"{STORE}/Events/Events.swift",
          "WHERE session = $1 AND id > $2 AND stream_id = $3 ORDER BY id LIMIT $4",
          "WHERE session = $1 AND id > $2 AND ($3 = $3) ORDER BY id LIMIT $4", transcript("streams-never-mixed")),
    Fault("a queue is taken from its end", f"{STORE}/Tasks/TaskMessages.swift",
          "WHERE task = $1 AND number > $2 ORDER BY number", "WHERE task = $1 AND number > $2 ORDER BY -number",
          transcript("task-queue")),
    # Groups, transactions, other processes
    Fault("what is taken back stays in the cache", f"{STORE}/Store/Store.swift",
          "      forgetRows()\n      messageIDs.takeBack(to: mark)", "      messageIDs.takeBack(to: mark)",
          transcript("transaction")),
    Fault("what is taken back stays in the counters", f"{STORE}/Store/Store.swift",
          "      (counters, done, policies) = before\n      throw error",
          "      (counters.revision, done) = (before.0.revision, before.1)\n      throw error",
          wire("metrics", "taken_back")),
    Fault("another process's write is not noticed", f"{STORE}/Store/Store.swift",
          "    foreignCommits += 1\n    forgetRows()\n    do {", "    foreignCommits += 1\n    do {",
          wire("files", "each_process")),
    Fault("a write takes no lock", f"{STORE}/Store/Store.swift",
          "if let file, !file.lock(waiting: waits ? waiting : 0) { throw busy(waits) }", "",
          wire("files", "takes_the_lock")),
    Fault("what must hold in a transaction is not looked at", f"{SIDECAR}/Methods/OperationMethods.swift",
          "if call.boolean(.require) { try checkOutcome", "if !call.boolean(.require) { try checkOutcome",
          transcript("transaction")),
    Fault("an answer leaves before its commit", f"{SIDECAR}/Machine/Group.swift",
          "    case (.open, .close):\n      state = .committing\n      return .commit",
          "    case (.open, .close):\n      state = .idle\n      units.removeAll(keepingCapacity: true)",
          wire("faults", "answer_comes")),
    Fault("a batch is answered with its first answers doubled", f"{SIDECAR}/Machine/Answers.swift",
          'output.raw(batch.hasAnswers ? "," : "[")', 'output.raw("[")', transcript("batches")),
    # What is kept
    Fault("message ids are forgotten when the process ends", f"{STORE}/Log/LogMessageIDs.swift",
          "      try readBlocks(row, into: ids)\n      let entries = try readEntries(row, behind: row.logIDsSeq)",
          "      let entries = Array(try readEntries(row, behind: row.logIDsSeq).prefix(0))", ANY_CALLS),
    Fault("the trail does not tell of a new session", f"{STORE}/Sessions/Sessions.swift",
          "    try audit(.created, row, userID: new.userID, from: nil, to: new.status, reason: nil)\n", "",
          transcript("audit-trail")),
    Fault("an event's hash does not cover the one before", f"{STORE}/Audit/AuditChain.swift",
          "    hashing.append(previous)\n", "    hashing.append(start)\n",
          wire("audit_chain", "outsider")),
    Fault("the check of the trail stops before its end", f"{STORE}/Audit/AuditCheck.swift",
          "WHERE ring = $1 AND number > $2 ORDER BY number", "WHERE ring = $1 AND number > $2 + 5 ORDER BY number",
          transcript("audit-chain")),
    Fault("what is evicted moves no beginning", f"{STORE}/Audit/Audit.swift",
          "if let hash = last.hash { try", "if let hash = last.hash, last.number < 0 { try",
          wire("audit_chain", "outsider")),
    Fault("an erased event keeps its salt", f"{STORE}/Audit/AuditChain.swift",
          "AuditChain.Seal.text(erased: digest, $0.hash)", "String(decoding: $0.digits, as: UTF8.self)",
          wire("audit_chain", "nothing_is_left")),
    Fault("the values of a deleted user stay", f"{STORE}/Records/UserData.swift",
          'deleted.values = try delete("named_values", Filter(values))',
          "deleted.values = Int64(0 * Filter(values).values.count)", (f"{WIRE}/test_user_data.py",)),
    Fault("the rows of a deleted session's state stay", f"{STORE}/Sessions/Sessions.swift",
          "    if row.stateBytes > 0 { try deleteState(session: row.number) }\n", "", ANY_CALLS),
    Fault("a dump leaves a column out", f"{STORE}/Records/RecordKind.swift",
          '.integer("violations"), ', "", wire("dump", "left_behind")),
    # The log; the part `kill` finds this too, within some hundreds of kills
    Fault("a part of a transaction is taken back behind pages in the log", "SQLite/Connection.swift",
          "    if spills != spillsAtSavepoints.popLast() { return rollback() }\n", "",
          wire("faults", "outlives_a_kill")),
    # The process
    Fault("the database is for everybody to read", "SQLite/DatabaseFile.swift",
          "O_CLOEXEC | O_NOCTTY, 0o600)", "O_CLOEXEC | O_NOCTTY, 0o644)", wire("files", "owner_alone")),
    Fault("a name that is spelled with escapes is unknown", f"{SIDECAR}/Contract/Call.swift",
          "return parameters.first { $0.name.wire.isSame(as: decoded) }",
          'return parameters.first { $0.name.wire.isSame(as: decoded + "?") }',
          ANY_CALLS),
    Fault("a disk that fails ends the process as though all were well", "mcp-session-store/Server.swift",
          "    if sidecar.phase == .failed {",
          "    if sidecar.phase == .failed, sidecar.phase == .serving {", wire("faults", "failed_sync_ends")),
]  # fmt: skip


class Copy:
    """The sources in a folder of their own, and what is built of them."""

    def __init__(self, place: Path) -> None:
        self.sources = place / "sources"
        self.build = place / ".build-planted"
        self.sources.mkdir()
        for name in NEEDED:
            kept = ROOT / name
            if kept.is_dir():
                shutil.copytree(kept, self.sources / name, ignore=shutil.ignore_patterns(".venv*", "results"))
            else:
                shutil.copy(kept, self.sources / name)

    @property
    def binary(self) -> Path:
        return self.build / "debug" / "mcp-session-store"

    def make(self) -> str:
        """Builds the program; what the compiler said when it could not."""
        done = subprocess.run(
            ["swift", "build", "--package-path", self.sources, "--build-path", self.build, "--product",
             "mcp-session-store"], capture_output=True, text=True,
        )  # fmt: skip
        return "" if done.returncode == 0 else (done.stdout + done.stderr)[-SHOWN:]

    def tested(self, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests], cwd=ROOT,
            capture_output=True, text=True, errors="replace",
            env=os.environ | {"MCP_SESSION_STORE_BINARY": str(self.binary), "WIRE_TEST_PATIENCE": "60"},
        )  # fmt: skip

    def place(self, fault: Fault) -> Path:
        return self.sources / "Sources" / fault.file

    def plant(self, fault: Fault) -> None:
        path = self.place(fault)
        text = path.read_text()
        path.write_text(text.replace(fault.old, fault.new))

    def take_back(self, fault: Fault) -> None:
        shutil.copy(ROOT / "Sources" / fault.file, self.place(fault))
        # The compiler goes by the time.
        os.utime(self.place(fault))


def misplaced() -> list[str]:
    """Faults whose place is not there any more, or not only once."""
    broken = []
    for fault in FAULTS:
        path = ROOT / "Sources" / fault.file
        found = path.read_text().count(fault.old) if path.exists() else 0
        if found != 1:
            broken.append(f"'{fault.name}': what it replaces stands {found} times in Sources/{fault.file}")
    return broken


def unnoticed(copy: Copy, fault: Fault) -> str:
    """Why a fault is none that a test notices; empty when one fails, as it should."""
    copy.plant(fault)
    try:
        if error := copy.make():
            return f"'{fault.name}' does not compile: {error}"
        for _ in range(TRIES if fault.tests in AT_RANDOM else 1):
            done = copy.tested(fault.tests)
            if done.returncode == 1:
                return ""
        return f"'{fault.name}': {' '.join(fault.tests)} ends with {done.returncode}: {done.stdout[-SHOWN:]}"
    finally:
        copy.take_back(fault)


def run(form: Form) -> list[Finding]:
    promise = "a fault that is planted fails a test"
    if broken := misplaced():
        return [Finding(promise, "0 faults", broken)]
    # What random calls notice they notice soon or late: in the short form only what a test surely notices is planted.
    sure = [fault for fault in FAULTS if fault.tests not in AT_RANDOM]
    start = form.seed % len(sure)
    chosen = FAULTS if form.is_long else [*sure, *sure][start : start + SHORT]
    copy = Copy(form.directory)
    if error := copy.make():
        raise RuntimeError(f"the sources cannot be built: {error}")
    for tests in dict.fromkeys(fault.tests for fault in chosen):
        done = copy.tested(tests)
        if done.returncode != 0:
            broken.append(f"with nothing planted {' '.join(tests)} ends with {done.returncode}: {done.stdout[-SHOWN:]}")
    for fault in chosen:
        form.say(fault.name)
        if why := unnoticed(copy, fault):
            broken.append(why)
    return [Finding(promise, f"{len(chosen)} of {len(FAULTS)} faults", broken)]
