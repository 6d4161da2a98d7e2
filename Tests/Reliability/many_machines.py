"""Sidecars of several machines on one PostgreSQL server, and everything that can happen to the server and on the way
to it: they race for the same things, are killed and stopped; the network is cut, stands still and loses the answers of
commits; the server is killed and started again, or another one takes its place; a pooler hands its connections about.

All of it is on this machine, where a network can be made as bad as one likes.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import isolation
import kill
import lifecycle
import many_processes
import state_machine
from fleet import Fleet, Ledger, judged
from network import Network
from part import Finding, Form
from pgbouncer import PgBouncer
from postgres_server import QUICK, PostgresServer, packaged
from preloaded import Clock
from sidecar import Sidecar

SIDECARS = 4
#: seconds that a sidecar tries to reach the server again before it refuses what it was asked
PATIENT = ("--busy-timeout", "60s")
#: faults that come one after the other, whether the sidecars have found their server again or not
IN_A_ROW = 20


@dataclass
class Lengths:
    epochs: int
    kills: int
    cuts: int
    stalls: int
    lost_commits: int
    server_kills: int
    failovers: int
    stops: int
    pooled_rounds: int
    #: of steps, and how many in each
    orders: tuple[int, int]
    ends: int
    foreign: isolation.ServerLengths


SHORT = Lengths(epochs=1, kills=40, cuts=60, stalls=6, lost_commits=20, server_kills=4, failovers=1, stops=2,
                pooled_rounds=150, orders=(15, 50), ends=6,
                foreign=isolation.ServerLengths(things=1, steps=70, bad_calls=40))  # fmt: skip
#: about 25 minutes on two cores
LONG = Lengths(epochs=10, kills=1_000, cuts=1_500, stalls=80, lost_commits=500, server_kills=80, failovers=10,
               stops=20, pooled_rounds=5_000, orders=(200, 100), ends=150,
               foreign=isolation.ServerLengths(things=4, steps=1_500, bad_calls=1))  # fmt: skip

ONCE = "what was answered is there once, what was refused is not there, and every sidecar goes on by itself"


class Machines:
    """What a trial needs, taken away when it is over."""

    def __init__(self, form: Form, lives: ExitStack, binaries: Path | None = None) -> None:
        """`binaries` are those of the server; None: Debian's."""
        self.form, self.lives, self.binaries = form, lives, binaries
        self.binary = str(form.binary)
        self.pick = random.Random(f"many machines {form.seed}")
        self.lengths = LONG if form.is_long else SHORT
        self.server = lives.enter_context(PostgresServer(binaries=binaries))

    def judged(self, promise: str, tried: str, ledger: Ledger, address: str) -> Finding:
        reader = Sidecar(database=address, binary=self.binary)
        try:
            broken = judged(ledger, reader)
        except Exception as error:
            broken = [*ledger.broken, f"what is there cannot be read: {type(error).__name__}: {error}"]
        finally:
            reader.kill()
        self.form.say(f"{tried}: {ledger.tried()}")
        return Finding(promise, f"{tried}; {ledger.tried()}", broken)

    def under(self, count: int, pause: float, fault: Callable[[], object], fleet: Fleet) -> None:
        """Does it so often while the fleet writes, and lets it go on in peace then and in between: however slow the
        machine is, the server is never away for as long as a sidecar waits."""
        for number in range(1, count + 1):
            time.sleep(self.pick.random() * pause)
            fault()
            if number % IN_A_ROW == 0 or number == count:
                fleet.goes_on()


def races(machines: Machines) -> list[Finding]:
    """What several processes do on one file, on one server; the addresses lead there in two ways."""
    database = machines.server.new_database()
    trial = many_processes.Trial(machines.form, machines.server.address(database))
    try:
        many_processes.race(trial, machines.lengths.epochs)
    finally:
        trial.end()
    tried = many_processes.told(trial)
    machines.server.drop(database)
    return [Finding(f"on one server: {many_processes.PROMISES[name]}", tried[name], trial.broken[name])
            for name in tried]  # fmt: skip


def kills(machines: Machines) -> list[Finding]:
    """SIGKILL under writes of every kind."""
    return kill.kill(machines.form, machines.lengths.kills, machines.server)


def orders(machines: Machines) -> Finding:
    """A small model beside the store, with a clock that the server has too. The directory must be open to its user."""
    directory = machines.form.directory
    directory.chmod(0o755)
    clock = Clock(directory)
    with PostgresServer(binaries=machines.binaries, environment=clock.variables()) as server:
        return state_machine.explored(machines.form, *machines.lengths.orders, server=(server, clock))


def lives(machines: Machines) -> list[Finding]:
    """How sidecars end under load, and that they do nothing when there is nothing to do."""
    addresses = [machines.server.address(machines.server.new_database()) for _ in range(2)]
    found = [lifecycle.endings(machines.form, addresses[0], machines.lengths.ends),
             lifecycle.idling(machines.form, addresses[1])]  # fmt: skip
    for finding in found:
        finding.promise = f"on one server: {finding.promise}"
    return found


def foreign(machines: Machines) -> list[Finding]:
    """What strangers and neighbours see. The directory must be open to the server's user."""
    machines.form.directory.chmod(0o755)
    found = isolation.on_server(machines.form, machines.binaries, machines.lengths.foreign)
    for finding in found:
        finding.promise = f"on a server: {finding.promise}"
    return found


def broken_networks(machines: Machines) -> list[Finding]:
    server, findings = machines.server, []
    for name, count, pause, fault in (
        ("cuts of the network", machines.lengths.cuts, 0.1, cut),
        ("stalls of the network", machines.lengths.stalls, 0.2, stall),
        ("answers of commits that were lost", machines.lengths.lost_commits, 0.1, lose_commit),
        ("cuts, each with a second without any network", machines.lengths.stalls, 0.2, part),
    ):
        database = server.new_database()
        with Network(server.port) as network, ExitStack() as lives:
            network.delay(0.0003)
            address = server.address(database, by_tcp=True, port=network.port)
            fleet = lives.enter_context(
                Fleet(machines.binary, [address] * SIDECARS, f"{name} {machines.form.seed}", *PATIENT))
            machines.under(count, pause, lambda: fault(network, machines.pick), fleet)
            ledger = fleet.halt()
            lost = network.lose_commits(0)
            if fault is lose_commit and lost < count:
                ledger.broken.append(f"{lost} answers were lost, where {count} should have been")
            findings.append(machines.judged(f"{name}: {ONCE}", f"{count:,} {name}", ledger, server.address(database)))
            if ledger.unknown:
                findings[-1].broken.append(f"{len(ledger.unknown)} writes were called unknown, with time to find out")
        server.drop(database)
    return findings


def cut(network: Network, pick: random.Random) -> None:
    network.cut()


def stall(network: Network, pick: random.Random) -> None:
    network.stall()
    time.sleep(pick.random())
    if pick.random() < 0.5:
        network.cut()
    network.flow()


def lose_commit(network: Network, pick: random.Random) -> None:
    before = network.lose_commits(1)
    deadline = time.monotonic() + 60
    while network.lose_commits(0) == before and time.monotonic() < deadline:
        network.lose_commits(1)
        time.sleep(0.005)


def part(network: Network, pick: random.Random) -> None:
    network.refuse()
    network.cut()
    time.sleep(pick.random() * 1.0)
    network.accept()


def long_absence(machines: Machines) -> Finding:
    """The network is away for longer than a sidecar waits: it says so, and what it says is true."""
    server, database = machines.server, machines.server.new_database()
    with Network(server.port) as network, ExitStack() as lives:
        address = server.address(database, by_tcp=True, port=network.port)
        fleet = lives.enter_context(Fleet(
            machines.binary, [address] * SIDECARS, f"absence {machines.form.seed}", "--busy-timeout", "500ms"))
        for _ in range(2):
            time.sleep(0.3)
            network.lose_commits(SIDECARS)
            time.sleep(0.1)
            network.refuse()
            network.cut()
            time.sleep(2.0)
            network.lose_commits(0)
            network.accept()
            fleet.goes_on()
        ledger = fleet.halt()
        if not ledger.refused.total():
            ledger.broken.append("nothing was refused, though there was no server for two seconds")
        finding = machines.judged(
            "a server that is away for longer than --busy-timeout: what is refused is not there, and what nobody knows "
            "is called so", "2 absences of 2 s", ledger, server.address(database))
    server.drop(database)
    return finding


def killed_server(machines: Machines) -> Finding:
    """kill -9 of the whole server, which starts again."""
    count = machines.lengths.server_kills
    with PostgresServer(binaries=machines.binaries) as server, ExitStack() as lives:
        address = server.address(server.new_database())
        fleet = lives.enter_context(
            Fleet(machines.binary, [address] * SIDECARS, f"server {machines.form.seed}", *PATIENT))

        def fault() -> None:
            server.kill()
            time.sleep(machines.pick.random() * 0.3)
            server.start()
            fleet.goes_on()

        machines.under(count, 0.5, fault, fleet)
        ledger = fleet.halt()
        return machines.judged(f"the server is killed: {ONCE}", f"{count} times kill -9 of the server", ledger, address)


def failover(machines: Machines) -> Finding:
    """The server is gone for good and its standby takes over: with synchronous replication nothing is lost."""
    count = machines.lengths.failovers
    synchronous = QUICK | {"synchronous_standby_names": "*", "synchronous_commit": "on"}
    total, broken = Ledger(), []
    for number in range(count):
        with ExitStack() as lives:
            primary = lives.enter_context(PostgresServer(binaries=machines.binaries))
            database = primary.new_database()
            standby = lives.enter_context(primary.standby())
            primary.stop()
            primary.settings |= synchronous
            primary.start()
            address = (f"postgresql://tester@/{database}?host={primary.folder},{standby.folder}"
                       f"&port={primary.port},{standby.port}&target_session_attrs=read-write")  # fmt: skip
            fleet = lives.enter_context(
                Fleet(machines.binary, [address] * SIDECARS, f"failover {machines.form.seed} {number}", *PATIENT))
            fleet.goes_on()
            time.sleep(machines.pick.random() * 0.5)
            primary.kill()
            standby.promote()
            fleet.goes_on()
            ledger = fleet.halt()
            finding = machines.judged("", f"failover {number + 1} of {count}", ledger, standby.address(database))
            broken += finding.broken
            total.add(ledger)
    return Finding(f"a standby takes over: {ONCE}", f"{count} failovers; {total.tried()}", broken)


def stopped_sidecar(machines: Machines) -> Finding:
    """One that is stopped in the middle of its work holds the others up for a while and not for ever, and says the
    truth when it goes on."""
    server, count, database = machines.server, machines.lengths.stops, machines.server.new_database()
    address = server.address(database)
    with ExitStack() as lives:
        fleet = lives.enter_context(
            Fleet(machines.binary, [address] * SIDECARS, f"stops {machines.form.seed}", *PATIENT))
        waited = 0.0
        for _ in range(count):
            victim = machines.pick.randrange(SIDECARS)
            process = fleet.sidecars[victim].process
            for _ in range(100):  # somewhere in a transaction, if it can be met there
                process.send_signal(signal.SIGSTOP)
                if server.query("SELECT 1 FROM pg_stat_activity WHERE datname = %s AND state = 'idle in transaction'",
                                database):  # fmt: skip
                    break
                process.send_signal(signal.SIGCONT)
                time.sleep(0.002)
            process.send_signal(signal.SIGSTOP)
            others = [writer for writer in fleet.writers if writer.number != victim]
            before = [writer.ledger.good_rounds for writer in others]
            begun = time.monotonic()
            while any(writer.is_alive() and writer.ledger.good_rounds < rounds + 3
                      for writer, rounds in zip(others, before)):  # fmt: skip
                if time.monotonic() - begun > 90:
                    fleet.writers[victim].ledger.broken.append("a stopped sidecar held the others up for 90 s")
                    break
                time.sleep(0.01)
            waited = max(waited, time.monotonic() - begun)
            process.send_signal(signal.SIGCONT)
            fleet.goes_on()
        ledger = fleet.halt()
        finding = machines.judged(
            f"a sidecar is stopped with all its locks, and goes on later: {ONCE}",
            f"{count} stops; the others waited at most {waited:.1f} s", ledger, address)
    server.drop(database)
    return finding


def pooled(machines: Machines) -> Finding:
    """All connections through PgBouncer, fewer than there are sidecars, handed out by transaction."""
    server, database = machines.server, machines.server.new_database()
    with PgBouncer(server) as pooler, ExitStack() as lives:
        fleet = lives.enter_context(
            Fleet(machines.binary, [pooler.address(database)] * SIDECARS, f"pooled {machines.form.seed}", *PATIENT))
        deadline = time.monotonic() + 300
        while fleet.rounds() < machines.lengths.pooled_rounds and time.monotonic() < deadline:
            fleet.goes_on()
        ledger = fleet.halt()
        finding = machines.judged(
            f"behind PgBouncer in transaction mode: {ONCE}", f"{ledger.rounds:,} rounds", ledger,
            server.address(database))
    server.drop(database)
    return finding


TRIALS: tuple[Callable[[Machines], Finding | list[Finding]], ...] = (
    races, kills, orders, lives, foreign, broken_networks, long_absence, killed_server, failover, stopped_sidecar,
    pooled,
)  # fmt: skip


def run(form: Form) -> list[Finding]:
    """The long form is long on Debian's server, and the short one again on each newer version."""
    findings: list[Finding] = []
    for binaries in [None, *packaged()] if form.is_long else [None]:
        with ExitStack() as lives:
            machines = Machines(replace(form, is_long=form.is_long and binaries is None), lives, binaries)
            [(version,)] = machines.server.query("SHOW server_version_num")
            for trial in TRIALS:
                begun = time.monotonic()
                found = trial(machines)
                for finding in found if isinstance(found, list) else [found]:
                    finding.promise = f"PostgreSQL {version[:2]}: {finding.promise}"
                    findings.append(finding)
                form.say(f"PostgreSQL {version[:2]}: {trial.__name__}: {time.monotonic() - begun:.0f} s")
    return findings
