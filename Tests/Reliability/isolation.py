"""What belongs to another owner is answered as what does not exist, by the same statements, and stays as it is. What a
caller stores is in no error and in no log.

The methods and their parameters come from protocol/openrpc.json, so that a new one is tried as it is added. Each that
takes owners and an id is called by every stranger with an id that is there and with one that is not; each that takes
owners and no id is called on a store that is full of what belongs to others and on an empty one.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import neighbours
from part import Finding, Form
from postgres_server import QUICK, PostgresServer
from preloaded import Clock, Statements, can_preload
from sidecar import Sidecar, clean_environment, line, request

DOCUMENT = json.loads((Path(__file__).resolve().parents[2] / "protocol" / "openrpc.json").read_text())
METHODS: dict[str, dict[str, Any]] = {method["name"]: method for method in DOCUMENT["methods"]}
OWNERS = ("tenant_id", "principal")
IDS = ("session_id", "task_id")
RECORDS = {"session": "session_id", "task": "task_id"}
#: the server's own calls: they take an id and no owners, and nobody else may make them
OF_THE_SERVER = {"record_security_event", "list_audit_events", "audit_counts", "get_audit_head", "validate_input",
                 "check_rate_limit"}  # fmt: skip
#: their owners say what is meant, not who asks: nothing but what is bound to exactly these
NAMING = {"export_user_data", "delete_user_data", "set_retention", "get_retention", "place_legal_hold"}
#: what makes something under an id of the caller's choice tells that the id is taken
MAKING = {("create_session", "session_id"), ("create_task", "task_id")}
#: in everything that is stored and is nobody else's business
CANARY = "canary"
USER = "user-of-another"

Params = dict[str, Any]
#: what a call says of the tenant and of the principal; ABSENT for nothing
Claim = tuple[Any, Any]
ABSENT = object()

#: whom things are bound to; the accent is one scalar
TENANT, PRINCIPAL = "acm\u00e9", "alic\u00e9"
BINDINGS: list[tuple[str | None, str | None]] = [(TENANT, None), (None, PRINCIPAL), (TENANT, PRINCIPAL)]
#: among the others, the same names with the accent as a mark of its own
CLAIMS: list[Claim] = list(itertools.product([ABSENT, None, TENANT, "other", "acme\u0301"],
                                             [ABSENT, None, PRINCIPAL, "bob", "alice\u0301"]))  # fmt: skip
SESSIONS = ("pending", "active", "suspended", "invalidated", "expired", "resolved")
#: how a session comes to a status
LIFECYCLE = {"suspended": "suspend_session", "invalidated": "invalidate_session", "resolved": "resolve_session"}
TASKS = ("working", "input_required", "completed", "failed", "cancelled", "lapsed")


def admits(binding: tuple[str | None, str | None], claim: Claim) -> bool:
    """The rule of the contract."""
    return all(bound is None or said is ABSENT or said == bound for bound, said in zip(binding, claim))


def said(claim: Claim) -> Params:
    return {name: value for name, value in zip(OWNERS, claim) if value is not ABSENT}


def parameters(name: str) -> dict[str, dict[str, Any]]:
    return {parameter["name"]: parameter for parameter in METHODS[name]["params"]}


def example(name: str) -> Params:
    return {parameter["name"]: parameter["value"] for parameter in METHODS[name]["examples"][0]["params"]}


def takes_owners(name: str) -> bool:
    return bool(parameters(name).keys() & set(OWNERS))


def places(name: str) -> list[str]:
    """The parameters in which an id is named."""
    return [place for place in parameters(name) if place in IDS or place in RECORDS]


def base(name: str) -> Params:
    """The example without the ids and owners that it names, and with the other's user where it names one."""
    params = {key: value for key, value in example(name).items() if key not in (*IDS, *OWNERS)}
    return params | ({"user_id": USER} if "user_id" in parameters(name) else {})


def variants(name: str) -> Iterator[Params]:
    """The base, and the base with each parameter that has few values at each of them."""
    yield base(name)
    for key, parameter in parameters(name).items():
        schema = parameter["schema"]
        values = [True, False] if schema.get("type") == "boolean" else schema.get("enum", [])
        if schema.get("type") == "integer" and schema.get("minimum") == 0:
            values = [0]
        for value in values:
            if (key, value) != ("upsert", True) and base(name).get(key) != value:
                yield base(name) | {key: value}


def with_id(name: str, params: Params, place: str, id: str) -> Params:
    """The parameters with `id` at `place`; another place that must be given names what anybody may see."""
    params = dict(params)
    for other, parameter in parameters(name).items():
        if other in IDS and other != place and parameter.get("required"):
            params[other] = OPEN[other]
    if place in RECORDS:
        return params | {place: {**example(name)[place], RECORDS[place]: id}}
    return params | {place: id}


@dataclass(frozen=True)
class Thing:
    """Something that is bound: a session or a task with all that belongs to it."""

    kind: str  # the name of its id
    id: str
    status: str
    binding: tuple[str | None, str | None]

    @property
    def missing(self) -> str:
        """An id that nothing has, as long as this one."""
        return "x" + self.id[1:]

    @property
    def strangers(self) -> list[Claim]:
        return [claim for claim in CLAIMS if not admits(self.binding, claim)]


#: a session and a task that are bound to nobody
OPEN = {"session_id": "s-open", "task_id": "t-open"}


def canaries() -> Iterator[str]:
    for number in itertools.count():
        yield f"{CANARY}-{number}"


def fill_openly(sidecar: Sidecar) -> None:
    sidecar.call("create_session", session_id=OPEN["session_id"], status="active")
    sidecar.call("create_task", task_id=OPEN["task_id"])


def fill(sidecar: Sidecar, clock: Clock, lifetime: int = 5) -> list[Thing]:
    """Things of each status, bound in each way, full of canaries; those that are to lapse do so after `lifetime`."""
    text = canaries()
    payload = lambda: {next(text): [next(text)]}  # noqa: E731
    things = []
    for number, binding in enumerate(BINDINGS):
        owners = {name: owner for name, owner in zip(OWNERS, binding) if owner is not None}
        for status in SESSIONS:
            things.append(Thing("session_id", f"s-{number}-{status}", status, binding))
            session = {"session_id": things[-1].id}
            sidecar.call(
                "create_session", **session, **owners, user_id=USER, metadata=payload(), state={"cart": payload()},
                client_capabilities=payload(), server_capabilities=payload(),
                status="pending" if status == "pending" else "active", ttl=lifetime if status == "expired" else None,
            )  # fmt: skip
            for stream in (None, next(text)):
                sidecar.call("store_event", **session, data=payload(), event_type=next(text), stream_id=stream)
            sidecar.call("append_log_entry", **session, entry={"message_id": "m-1", **payload()})
            sidecar.call("validate_session", **session, ip_address=next(text), user_agent=next(text))
            if status in LIFECYCLE:
                sidecar.call(LIFECYCLE[status], **session, reason=next(text))
        for status in TASKS:
            things.append(Thing("task_id", f"t-{number}-{status}", status, binding))
            task = {"task_id": things[-1].id}
            sidecar.call(
                "create_task", **task, **owners, original_method=next(text), original_params=payload(), meta=payload(),
                status_message=next(text), ttl=lifetime if status == "lapsed" else 86_400_000,
            )  # fmt: skip
            sidecar.call("enqueue_task_message", **task, message=payload())
            sidecar.call("require_task_input", **task, input_requests={"size": payload(), next(text): payload()})
            sidecar.call("provide_task_input", **task, input_responses={"size": payload()})
            if status in ("completed", "failed"):
                sidecar.call("store_task_result", **task, result={"success": payload()})
            if status in ("completed", "failed", "cancelled"):
                sidecar.call("update_task_status", **task, status=status, status_message=next(text))
            elif status == "working":
                sidecar.call("update_task_status", **task, status=status)
        values = example("put_value")
        sidecar.call("put_value", **owners, collection=values["collection"], key=values["key"], value=payload())
        # Queues and groups are the server's, and their names tell nothing.
        for work_id in (f"w-{number}", f"d-{number}"):
            sidecar.call("enqueue_work", **owners, queue=example("enqueue_work")["queue"], work_id=work_id,
                         group=f"g-{work_id}", payload=payload())  # fmt: skip
        [dead] = [item for item in sidecar.call("claim_work", queue=example("enqueue_work")["queue"], limit=10)["work"]
                  if item["work_id"] == f"d-{number}"]  # fmt: skip
        sidecar.call("settle_work", queue=dead["queue"], work_id=dead["work_id"], fence=dead["fence"], outcome="dead",
                     error=next(text))  # fmt: skip
        if binding[1] is not None:  # nonces have no tenant
            sidecar.call("consume_nonce", nonce=example("consume_nonce")["nonce"], ttl=86_400_000, principal=binding[1])
    clock.now += 10
    return things


@dataclass
class Tally:
    """What was compared, and what differs."""

    calls: int = 0
    broken: dict[str, list[str]] = field(default_factory=lambda: {"answer": [], "statements": [], "change": []})


class World:
    """A store full of what belongs to others, and the process on it that strangers call."""

    def __init__(
        self, form: Form, name: str, clock: Clock, *options: str, server: PostgresServer | None = None
    ) -> None:
        """On a file, or on a server that has the clock too and was started with `ServerStatements.SETTINGS`."""
        self.options, self.binary = options, str(form.binary)
        self.is_on_server = server is not None
        self.database: Path | str
        self.statements: Statements | ServerStatements
        if server is None:
            directory = form.directory / name
            directory.mkdir()
            self.database = directory / "sessions.db"
            self.statements = Statements(directory, clock)
            self.environment = clock.environment()
        else:
            database = server.new_database()
            self.database = server.address(database)
            # It compares the server's clock with its own.
            self.environment = clock.environment(TEST_CLOCK_IS_ALL="1")
            self.statements = ServerStatements(server, database, self.environment)
        self.sidecar = self.start()

    def start(self) -> Sidecar:
        return Sidecar("--retain-ended", "1h", *self.options, database=self.database,
                       env=self.statements.environment, binary=self.binary)  # fmt: skip

    def restart(self) -> None:
        """Another process, which remembers nothing."""
        self.stop()
        self.sidecar = self.start()
        self.sidecar.call("health")
        self.statements.take()

    def stop(self) -> None:
        stderr = self.sidecar.stderr()
        assert stderr == "", stderr
        self.sidecar.finish()
        self.sidecar.kill()

    def ask(self, method: str, params: Params) -> tuple[bytes, bytes]:
        """The answer to a call, and the statements that it took."""
        self.sidecar.send(request(method, 1, **params))
        answer = self.sidecar.read_line()
        assert answer is not None, self.sidecar.stderr()
        # A checkpoint, which comes after so many pages and not with an id, looks at how large the file is.
        return answer, self.statements.take().replace(b"PRAGMA page_count\n", b"")

    def dump(self) -> bytes:
        """Everything in the store; for when no process runs on it."""
        done = subprocess.run([self.binary, "dump", "--database", self.database], capture_output=True, check=True,
                              env=self.environment)  # fmt: skip
        return done.stdout


class ServerStatements:
    """What the sidecars on a database of a server give to it: the server writes it down before it does it."""

    #: of such a server
    SETTINGS = QUICK | {"log_statement": "all", "log_line_prefix": "%d "}
    #: how a line of the log begins when it does not go on with the one before
    FIRST = re.compile(rb"^(\S*) [A-Z]+:  ", re.MULTILINE)
    #: What differs with the moment: when the time is asked for and a block of numbers drawn, and whether the end of a
    #: snapshot goes out before the answer or behind it.
    BY_TIME = (b"clock_timestamp()", b"nextval(", b"COMMIT")

    def __init__(self, server: PostgresServer, database: str, environment: dict[str, str]) -> None:
        self.database, self.environment = database.encode(), environment
        self._read = server.log.open("rb")
        self.take()

    def take(self) -> bytes:
        parts = self.FIRST.split(self._read.read())
        taken = (text for name, text in zip(parts[1::2], parts[2::2]) if name == self.database)
        # The name of a statement says which of the process's statements it is, and a number when it ran.
        return b"".join(re.sub(rb"\d+", b"N", re.sub(rb"^execute \S+: ", b"", text)) for text in taken
                        if not any(word in text for word in self.BY_TIME))  # fmt: skip


def show(method: str, claim: Claim, params: Params) -> str:
    return f"{method} {json.dumps(params | said(claim), ensure_ascii=False)}"


def without(id: str, text: bytes) -> bytes:
    """A text with the id taken off, also where numbers are taken off."""
    return text.replace(re.sub(rb"\d+", b"N", id.encode()), b"ID").replace(id.encode(), b"ID")


def compare(world: World, tally: Tally, method: str, thing: Thing, claim: Claim, make: Any) -> None:
    """The same call with the id of the thing and with one that nothing has."""
    # On a server a sweep may come in between: what differs each time differs.
    for _ in range(5 if world.is_on_server else 1):
        answers, statements = [], []
        for id in (thing.id, thing.missing):
            answer, taken = world.ask(method, make(id))
            answers.append(without(id, answer))
            statements.append(without(id, taken))
        tally.calls += 2
        if statements[0] == statements[1]:
            break
    what = show(method, claim, make(thing.id))
    if answers[0] != answers[1] or CANARY.encode() in answers[0]:
        tally.broken["answer"].append(f"{what}: {answers[0][:300]!r}, for a missing id {answers[1][:300]!r}")
    if statements[0] != statements[1] or not statements[0]:
        apart = difference(statements[0], statements[1])
        tally.broken["statements"].append(f"{what}: beside those for a missing id {apart}")


def try_ids(world: World, things: list[Thing], form: Form, tally: Tally) -> list[str]:
    """Every method with an id, for things of every status, cold and remembered, alone and in a transaction."""
    tried = []
    before = world_dump(world)
    for method in METHODS:
        found = [place for place in places(method) if takes_owners(method) and (method, place) not in MAKING]
        if not found:
            continue
        tried.append(method)
        world.restart()
        for is_remembered, place in itertools.product((False, True), found):
            kind = RECORDS.get(place, place)
            if is_remembered:
                for thing in things:
                    world.ask("get_session" if thing.kind == "session_id" else "get_task", {thing.kind: thing.id})
            for thing in things:
                if thing.kind != kind:
                    continue
                # What a variant changes, and what is remembered, has little to do with who calls: the short form tries
                # all of that with some.
                is_short = (is_remembered or world.is_on_server) and not form.is_long
                strangers = thing.strangers[:: 4 if is_short else 1]
                for number, claim in enumerate(strangers):
                    every = list(variants(method)) if form.is_long or number == 0 else [base(method)]
                    for params in every:
                        make = lambda id: with_id(method, params, place, id) | said(claim)  # noqa: B023, E731
                        compare(world, tally, method, thing, claim, make)
                    if METHODS[method]["x-transactional"] and not is_remembered:
                        inner = lambda id: with_id(method, base(method), place, id) | said(claim)  # noqa: B023, E731
                        make = lambda id: {"calls": [{"method": method, "params": inner(id)}]}  # noqa: B023, E731
                        compare(world, tally, "transaction", thing, claim, make)
        if (after := world_dump(world)) != before:
            tally.broken["change"].append(f"{method}: {difference(before, after)}")
            before = after
    return tried


def world_dump(world: World) -> bytes:
    world.stop()
    dump = world.dump()
    world.sidecar = world.start()
    return dump


def difference(before: bytes, after: bytes) -> str:
    old, new = before.splitlines(), after.splitlines()
    gone, came = ([row[:200] for row in rows if row not in others][:3] for rows, others in ((old, new), (new, old)))
    return f"gone {gone}, new {came}"


def try_trail(form: Form, clock: Clock, server: PostgresServer | None = None, some: int | None = None) -> list[Finding]:
    """With --audit-unauthorized a foreign id leaves the same event as a missing one, by the same statements, and both
    leave none once the caller's minute is used up. With so many things of each kind; None: all."""
    calls, differ, left, surplus = 0, [], [], []
    for limit in (1_000_000, 1):
        world = World(form, f"trail-{limit}", clock, "--audit-unauthorized", str(limit), server=server)
        fill_openly(world.sidecar)
        things = chosen(fill(world.sidecar, clock), form, some)
        world.restart()
        for method, thing in itertools.product(filter(takes_owners, METHODS), things):
            for place in places(method):
                if thing.kind != RECORDS.get(place, place) or (method, place) in MAKING:
                    continue
                ask = lambda id: world.ask(  # noqa: E731
                    method, with_id(method, base(method), place, id) | said(thing.strangers[-1]))  # noqa: B023
                if limit == 1:
                    ask("y" + thing.id[1:])
                # A sweep may come in between here too.
                for _ in range(5 if world.is_on_server else 1):
                    found = []
                    for id in (thing.id, thing.missing):
                        answer, statements = (without(id, text) for text in ask(id))
                        # Events are counted, each has the next number and its hash; the first asks for that of the
                        # last.
                        taken = re.sub(rb"SELECT (seal|begins_after, hash) FROM audit_[^\n]*\n", b"", statements)
                        found.append((answer, re.sub(rb"\d+", b"N", re.sub(rb"'[0-9a-f]{96}'", b"SEAL", taken))))
                    calls += 2
                    if found[0] == found[1]:
                        break
                what = show(method, thing.strangers[-1], {place: thing.id})
                if found[0] != found[1]:
                    apart = difference(found[0][1], found[1][1])
                    differ.append(f"{what}: {found[0][0]!r:.300}, for a missing id {found[1][0]!r:.300}; {apart}")
                is_told = b"INSERT INTO audit_events" in found[0][1]
                # Lists and counts that go by an id name what they leave out, and ask for nothing.
                if limit == 1 and is_told:
                    surplus.append(what)
                elif limit > 1 and is_told == method.startswith(("list_tasks", "task_count", "recover_stuck_tasks")):
                    left.append(what)
        world.stop()
    tried = f"{calls:,} calls"
    return [
        Finding("a foreign id leaves the same event as a missing one, by the same statements", tried, differ),
        Finding("every call that names one leaves it", tried, left),
        Finding("and none does once the caller's minute is used up", tried, surplus),
    ]


def chosen(things: list[Thing], form: Form, some: int | None) -> list[Thing]:
    """So many of each kind."""
    kinds = ([thing for thing in things if thing.kind == kind] for kind in IDS)
    return [thing for kind in kinds for thing in random.Random(form.seed).sample(kind, some or len(kind))]


def try_lists(world: World, twin: World, tally: Tally) -> list[str]:
    """Every method that takes owners and may do without an id, beside a store with nothing that is bound."""
    tried = []
    strangers = [claim for claim in CLAIMS if not any(admits(binding, claim) for binding in BINDINGS)]
    for method in METHODS:
        required = {name for name, parameter in parameters(method).items() if parameter.get("required")}
        if not takes_owners(method) or required & {*IDS, *RECORDS} or method in ("create_session", "create_task"):
            continue
        if method == "subscribe_tasks":  # one of two ids is needed, and both are tried above
            continue
        tried.append(method)
        before = world_dump(world)
        world.restart()
        twin.restart()
        for claim, params in itertools.product(strangers, list(variants(method))):
            if method in NAMING and None in claim:  # does not narrow what is named
                continue
            call = params | {name: value for name, value in said(claim).items() if name in parameters(method)}
            answers, statements = zip(*(place.ask(method, call) for place in (world, twin)))
            tally.calls += 2
            # Revisions come from one counter for the whole store, which the contract says.
            answers = [re.sub(rb'"revision":\d+', b"", answer) for answer in answers]
            made = rb"[0-9a-f]{8}-[0-9a-f-]{27}"
            # An event of the trail is chained behind the others.
            sealed = [re.sub(rb"'[0-9a-f]{96}'", b"SEAL", taken) for taken in statements]
            statements = [re.sub(rb"\d+", b"N", re.sub(made, b"UUID", taken)) for taken in sealed]
            what = show(method, claim, call)
            if answers[0] != answers[1] or CANARY.encode() in answers[0]:
                tally.broken["answer"].append(f"{what}: {answers[0][:300]!r}, without that {answers[1][:300]!r}")
            if statements[0] != statements[1]:
                apart = difference(statements[1], statements[0])
                tally.broken["statements"].append(f"{what}: beside those without that {apart}")
        # What strangers have stored meanwhile is theirs.
        foreign = [word.encode() for word in (CANARY, USER, TENANT, PRINCIPAL)]
        after = set(world_dump(world).splitlines())
        if gone := [row for row in before.splitlines() if row not in after and any(word in row for word in foreign)]:
            tally.broken["change"].append(f"{method}: {[row[:200] for row in gone[:3]]}")
    return tried


def try_taken_ids(world: World, things: list[Thing]) -> Finding:
    """The one thing that shows: that an id is taken. Whose it is, and what it is, does not."""
    broken = []
    calls = 0
    stranger: Claim = ("other", "bob")
    world.sidecar.call("create_session", session_id="s-o-active", **said(stranger))
    world.sidecar.call("create_task", task_id="t-o-working", **said(stranger))
    before = world_dump(world)
    for thing in things:
        if thing.status in ("expired", "resolved", "lapsed"):
            continue  # then the id is free
        own = "s-o-active" if thing.kind == "session_id" else "t-o-working"
        makers: list[tuple[str, Any]] = [("create_task", lambda id: {"task_id": id})]
        if thing.kind == "session_id":
            makers = [("create_session", lambda id: {"session_id": id})]
        for method, make in makers:
            calls += 2
            answers = [world.ask(method, make(id) | said(stranger))[0].replace(id.encode(), b"ID")
                       for id in (thing.id, own)]  # fmt: skip
            if answers[0] != answers[1] or b"_exists" not in answers[0]:
                broken.append(f"{method} under {thing.id}: {answers[0]!r}, under an own id {answers[1]!r}")
        if thing.kind == "session_id":
            calls += 1
            record = {"session_id": thing.id, "metadata": {}}
            answer = world.ask("update_session", {"session": record, "upsert": True} | said(stranger))[0]
            if answer.replace(thing.id.encode(), b"ID") != answers[1]:
                broken.append(f"update_session with upsert under {thing.id}: {answer!r}, not {answers[1]!r}")
    if world_dump(world) != before:
        broken.append("something was changed")
    return Finding("of a foreign id only that it is taken shows, and only to who makes something under it",
                   f"{calls} calls", broken)  # fmt: skip


def try_subscriptions(world: World) -> Finding:
    """A stranger who follows the tasks of a session that anybody may see is told of his own alone."""
    sidecar, broken = world.sidecar, []
    for number, (owner, told) in enumerate(itertools.product([*BINDINGS, (None, None)], ["bob", None])):
        session = f"s-followed-{number}"
        sidecar.call("create_session", session_id=session, status="active")
        owners = {name: value for name, value in zip(OWNERS, owner) if value is not None}
        sidecar.call("create_task", task_id=f"t-theirs-{number}", session_id=session, status_message=CANARY, **owners)
        opened = sidecar.call("subscribe_tasks", session_id=session, tenant_id="other", principal=told)
        sidecar.call("touch_task", task_id=f"t-theirs-{number}", status_message=CANARY + " again")
        sidecar.call("create_task", task_id=f"t-more-{number}", session_id=session, status_message=CANARY, **owners)
        sidecar.call("delete_task", task_id=f"t-more-{number}")
        sidecar.call("create_task", task_id=f"t-last-{number}", session_id=session, status_message="the last")
        seen = [opened]
        while "the last" not in json.dumps(seen):
            seen.append(sidecar.receive_notification())
        is_visible = owner == (None, None)
        if (CANARY in json.dumps(seen)) != is_visible:
            broken.append(f"owner {owner}, told {told}: {json.dumps(seen)[:400]}")
    return Finding("a subscription tells of nothing foreign", f"{number + 1} subscriptions", broken)


# --- What is stored is in no error and in no log


def planted(schema: dict[str, Any], value: Any, text: Iterator[str]) -> Any:
    """An example's value with canaries in the place of what may be anything, and of text."""
    if isinstance(value, dict):
        members = schema.get("properties")
        if members is None:
            return {**value, "secret": next(text)}
        return {name: member if name == "method" else planted(members.get(name, {}), member, text)
                for name, member in value.items()}  # fmt: skip
    if isinstance(value, list):
        return [planted(schema.get("items", {}), element, text) for element in value]
    if isinstance(value, str) and "enum" not in schema and "pattern" not in schema:
        return next(text)
    return next(text) if schema in ({}, {"x-payload": True}) else value


def told_back(value: Any) -> Iterator[str]:
    """What a caller is told about in its own words: ids, and what a handshake requires."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name in (*IDS, "method", "require", "protocol_version"):
                words = member if isinstance(member, list) else [member]
                yield from (word for word in words if isinstance(word, str))
            yield from told_back(member)


#: what a caller is told about as it is: an id that is taken, and a path, which is written to besides
TOLD_BACK = {"path", "subscription_id"}


def bad_calls(name: str, text: Iterator[str]) -> Iterator[Params]:
    """Calls that are wrong in one parameter each, full of canaries."""
    good = {key: value if key in TOLD_BACK else planted(parameters(name)[key]["schema"], value, text)
            for key, value in example(name).items()}  # fmt: skip
    yield good
    wrong = [0, -1, 1.5, 1e300, True, None, [], {}, [next(text)], {"x": next(text)}, next(text), next(text) * 200_000]
    for key in parameters(name):
        for value in wrong:
            if key not in TOLD_BACK:
                yield good | {key: value}
        if isinstance(good.get(key), dict):
            for member in good[key]:
                for value in wrong:
                    yield good | {key: good[key] | {member: value}}
        yield {other: value for other, value in good.items() if other != key}
    yield good | {"surplus": next(text)}


def damaged(text: bytes, pick: random.Random) -> Iterator[bytes]:
    """A line cut and spoilt where canaries stand in it."""
    for _ in range(20):
        at = pick.randrange(len(text))
        yield text[:at]
        yield text[:at] + bytes([pick.randrange(256)]).replace(b"\n", b"\0") + text[at + 1 :]
        yield text[:at] + text[at + pick.randrange(1, 4) :]


class Errors:
    """Looks for payloads where none should be."""

    def __init__(self) -> None:
        self.seen = 0
        self.broken: list[str] = []

    def look(self, what: str, answer: bytes) -> None:
        if not answer.startswith(b"[") and b'"error"' in answer[:60]:
            self.seen += 1
            if CANARY.encode() in answer:
                self.broken.append(f"{what[:200]}: {answer[:500]!r}")

    def end(self, sidecar: Sidecar) -> None:
        if CANARY in sidecar.stderr():
            self.broken.append(f"on standard error: {sidecar.stderr()[:500]}")
        sidecar.kill()


#: with the usual limits, and with limits that are soon met
ROOM = ((), ("--max-payload-bytes", "64", "--max-state-bytes", "64", "--max-tasks", "1", "--max-sessions", "1",
             "--max-values", "1", "--max-task-messages", "1", "--event-overflow", "error",
             "--max-events-per-session", "1"))  # fmt: skip


def try_errors(form: Form, server: PostgresServer | None = None, every: int = 1) -> Finding:
    """On files, or on databases of a server; one in so many of the calls."""
    pick, errors = random.Random(form.seed), Errors()
    for options in ROOM:
        where = server.address(server.new_database()) if server else form.directory / f"errors-{len(options)}.db"
        sidecar = Sidecar(*options, database=where, binary=str(form.binary))
        text = canaries()
        for id in ("session-1", "task-1"):
            kind = id.partition("-")[0]
            sidecar.ask(f"create_{kind}", **{f"{kind}_id": id})
        for name in METHODS:
            if name in ("shutdown", "backup", "archive", "maintenance"):
                continue
            for params in itertools.islice(bad_calls(name, text), pick.randrange(every), None, every):
                sent = line(request(name, 1, **params))
                sidecar.send_bytes(sent)
                shown = json.dumps(sidecar.receive_answer(), separators=(",", ":"), ensure_ascii=False)
                for value in told_back(params):
                    shown = shown.replace(value, "")
                errors.look(sent[:200].decode(), shown.encode())
            if server is None:  # a line that cannot be read has nothing to do with a server
                look_at_spoilt(sidecar, name, line(request(name, 1, **next(bad_calls(name, text))))[:-1], pick, errors)
        errors.end(sidecar)
    if server is None:
        look_at_failing_disk(form, errors)
    else:
        look_at_refused_rows(form, server, every, errors)
    return Finding("no payload is in an error of a call or on standard error", f"{errors.seen:,} errors", errors.broken)


def look_at_spoilt(sidecar: Sidecar, name: str, good: bytes, pick: random.Random, errors: Errors) -> None:
    for spoilt in damaged(good, pick):
        has_effect = any(name in spoilt for name in (b"shutdown", b"backup", b"archive"))
        if has_effect or not spoilt.strip() or spoilt[:1] == b"[":
            continue
        sidecar.send_bytes(spoilt + b"\n" + line(request("server_info", "next")))
        while (text_line := sidecar.read_line()) is not None and b'"id":"next"' not in text_line[:60]:
            # What is a request all the same is tried above.
            if b"parse_error" in text_line or b"invalid_request" in text_line:
                errors.look(spoilt[:200].decode(errors="replace"), text_line)


def look_at_failing_disk(form: Form, errors: Errors) -> None:
    """A disk that fails in the middle: the file may not grow any more."""
    sidecar = Sidecar(
        database=form.directory / "failing.db", binary=str(form.binary), restore_signals=False,  # SIGXFSZ is ignored
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)),
    )  # fmt: skip
    sidecar.call("create_session", session_id="session-1")
    try:
        for _ in range(100):
            data = [f"{CANARY}-{number}" for number in range(1_000)]
            sidecar.send(request("store_event", 1, session_id="session-1", data=data))
    except BrokenPipeError:
        pass
    sidecar.wait()
    for answer in sidecar.remains():
        errors.look("store_event on a disk that fails", json.dumps(answer, separators=(",", ":")).encode())
    errors.end(sidecar)


def look_at_refused_rows(form: Form, server: PostgresServer, every: int, errors: Errors) -> None:
    """A server that takes no more rows, and quotes each in what it says of that."""
    database = server.new_database()
    sidecar = Sidecar(database=server.address(database), binary=str(form.binary))
    for id in ("session-1", "task-1"):
        kind = id.partition("-")[0]
        sidecar.ask(f"create_{kind}", **{f"{kind}_id": id})
    for (table,) in server.query("SELECT tablename FROM pg_tables WHERE schemaname = 'mcp_session_store'",
                                 database=database):  # fmt: skip
        # Of a process it says only when it was there.
        if table != "store":
            server.query(f"ALTER TABLE mcp_session_store.{table} ADD CHECK (false) NOT VALID", database=database)
    text, refused = canaries(), 0
    for name in METHODS:
        if name in ("shutdown", "backup", "archive", "maintenance"):
            continue
        good = next(bad_calls(name, text))
        answer = sidecar.ask(name, **good)
        refused += "error" in answer and answer["error"]["data"]["kind"].startswith("database_")
        shown = json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
        for value in told_back(good):
            shown = shown.replace(value, "")
        errors.look(f"{name} on a server that refuses rows", shown.encode())
    if not refused:
        errors.broken.append("a server that refuses every row was never met")
    errors.end(sidecar)


def try_dumps(form: Form, dump: bytes, directory: Path) -> Finding:
    """A dump that cannot be loaded is refused without a word of what is in it."""
    pick = random.Random(form.seed)
    broken, refused = [], 0
    rows = dump.splitlines(keepends=True)
    for number in range(600 if form.is_long else 60):
        spoilt = list(rows)
        at = pick.randrange(len(rows))
        spoilt[at] = pick.choice(list(damaged(rows[at], pick)))
        source = directory / "spoilt.jsonl"
        source.write_bytes(b"".join(spoilt))
        done = subprocess.run([form.binary, "load", source, "--database", directory / f"loaded-{number}.db"],
                              stdin=subprocess.DEVNULL, capture_output=True, env=clean_environment())  # fmt: skip
        refused += done.returncode != 0
        if CANARY.encode() in done.stderr + done.stdout:
            broken.append(f"line {at + 1}, {spoilt[at][:100]!r}: {done.stderr[:300]!r}")
    return Finding("a dump that is refused is not quoted", f"{refused} spoilt dumps", broken)


@dataclass(frozen=True)
class ServerLengths:
    """How much of it is tried on a server."""

    #: things of each kind that strangers ask for; None: all
    things: int | None
    #: steps of each pair of neighbours
    steps: int
    #: one in so many of the calls that are wrong
    bad_calls: int


def on_server(form: Form, binaries: Path | None, lengths: ServerLengths) -> list[Finding]:
    """The same on a server that writes down what it is asked, and has the clock. The directory must be open to it."""
    clock = Clock(form.directory)
    with PostgresServer(ServerStatements.SETTINGS, binaries, clock.variables()) as server:
        world = World(form, "world", clock, server=server)
        fill_openly(world.sidecar)
        things = fill(world.sidecar, clock)
        tally = Tally()
        methods = try_ids(world, chosen(things, form, lengths.things), form, tally)
        tried = f"{tally.calls:,} calls of {len(methods)} methods"
        findings = [
            Finding("what is foreign is answered as what is missing", tried, tally.broken["answer"]),
            Finding("and by the same statements", tried, tally.broken["statements"]),
            Finding("and stays as it is", tried, tally.broken["change"]),
            try_taken_ids(world, things),
            try_subscriptions(world),
            *try_trail(form, clock, server, lengths.things),
        ]
        world.stop()
    with PostgresServer(QUICK, binaries, clock.variables()) as server:
        findings.append(neighbours.run(form, clock, server, lengths.steps))
    with PostgresServer(QUICK, binaries) as server:
        return [*findings, try_errors(form, server, lengths.bad_calls)]


def run(form: Form) -> list[Finding]:
    if not can_preload(form.binary):
        raise RuntimeError("the program is linked statically: build it so that SQLite and libc are libraries")
    clock = Clock(form.directory)
    world, twin = (World(form, name, clock) for name in ("world", "twin"))
    for place in (world, twin):
        fill_openly(place.sidecar)
        # What is another's and held besides is answered no differently, and holds nobody up.
        for number, (tenant, principal) in enumerate(BINDINGS):
            place.sidecar.call("place_legal_hold", name=f"{CANARY}-{number}", tenant_id=tenant, principal=principal)
    things = fill(world.sidecar, clock)
    unclear = [f"{name} takes {places(name) or 'a user'} and no owners: say who may call it" for name in METHODS
               if not takes_owners(name) and places(name) and name not in OF_THE_SERVER]  # fmt: skip
    tally = Tally()
    with_ids = try_ids(world, things, form, tally)
    form.say(f"{tally.calls:,} calls with ids compared")
    dump = world_dump(world)
    world.restart()
    lists = try_lists(world, twin, tally)
    untried = [f"{name} takes owners and is not tried" for name in METHODS
               if takes_owners(name) and name not in {*with_ids, *lists, *(name for name, _ in MAKING)}]  # fmt: skip
    form.say(f"{tally.calls:,} calls compared")
    tried = f"{tally.calls:,} calls of {len(set(with_ids) | set(lists))} methods"
    for number in range(len(BINDINGS)):
        world.sidecar.call("lift_legal_hold", name=f"{CANARY}-{number}")
    findings = [
        Finding("what is foreign is answered as what is missing", tried, tally.broken["answer"] + unclear + untried),
        Finding("and by the same statements", tried, tally.broken["statements"]),
        Finding("and stays as it is", tried, tally.broken["change"]),
        try_taken_ids(world, things),
        try_subscriptions(world),
        neighbours.run(form, clock),
        *try_trail(form, clock),
    ]
    world.stop()
    twin.stop()
    return [*findings, try_errors(form), try_dumps(form, dump, form.directory)]
