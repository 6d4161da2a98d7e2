"""Two owners on one store, each beside itself alone: what one of them is answered and told is byte for byte what it
would be if the other had never been there.

Three processes run on files of their own, or on databases of a server. In the first both owners call, in the second and
third only one of them does. Calls are made of every method that takes owners, with the other's ids too, and with ids
that the other had before. What numbers and ids look like may differ, as they are counted for the whole store: so each
world's calls are made from its own answers, and compared with these numbers taken off.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from calls import METHODS, OWNERS, SAFE, TRANSACTIONAL, Calls, parameters
from part import Finding, Form
from postgres_server import PostgresServer
from preloaded import Clock
from sidecar import Sidecar

#: calls of each pair of owners
SHORT, LONG = 1_500, 40_000
#: who share a store: nothing that one makes is bound so that the other may see it
PAIRS = [
    ({"tenant_id": None, "principal": "alice"}, {"tenant_id": None, "principal": "bob"}),
    ({"tenant_id": "acme", "principal": None}, {"tenant_id": "other", "principal": None}),
    ({"tenant_id": "acme", "principal": "alice"}, {"tenant_id": "acme", "principal": "bob"}),
    ({"tenant_id": "acme", "principal": "alice"}, {"tenant_id": "other", "principal": "alice"}),
]
#: everybody's, so that both have tasks in it
SHARED = "shared"
IDENTIFIERS = ("session_id", "task_id")
#: how many ids of sessions and of tasks the two share
IDS = 8
#: numbers that are given out for the whole store, and what is made by chance or stands in a chain
COUNTED = {"revision", "number", "session", "task", "event_id", "if_revision", "subscription_id", "next_cursor",
           "work_group", "subscription", "fence", "seal"}  # fmt: skip
#: where an item of work stands in its queue and its group, which several owners may use
PLACES = {"line", "seq"}
#: what makes something under an id tells that it is taken: these are called with ids that are free
MAKING = {"create_session": "session_id", "create_task": "task_id"}
#: the same of what is shown to nobody else, so that nobody could tell which are free: each has ids of his own
MAKING_OWN = {"enqueue_work": "work_id", "put_event_subscription": "subscription_id"}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[A-Za-z0-9_-]{43}")

Params = dict[str, Any]


def tried(owners: Params, other: Params) -> list[str]:
    """What an owner may call: the rest are the server's own calls, policies too."""
    return [name for name in METHODS if set(parameters(name)) & set(OWNERS) or name == "transaction"
            if not name.endswith(("_retention", "_legal_hold"))
            # nonces have no tenant
            if not (name == "consume_nonce" and owners["principal"] == other["principal"])]  # fmt: skip


def named(owners: Params, pick: random.Random) -> str:
    """An id that only this owner gives."""
    return f"{owners.get('tenant_id')} {owners.get('principal')} {pick.randrange(IDS)}"


def calls_of(method: str, params: Params) -> list[tuple[str, Params]]:
    """What a call does: itself, or what it holds."""
    if method != "transaction":
        return [(method, params)]
    return [(call["method"], call["params"]) for call in params["calls"]]


class World:
    """One store, and what each owner has seen of it."""

    def __init__(self, form: Form, database: Path | str, clock: Clock, owners: tuple[Params, Params]) -> None:
        self.database = database
        self.form, self.clock = form, clock
        self.calls = [Calls(random.Random(), lambda: clock.now) for _ in owners]
        for calls in self.calls:  # each world has others of those that subscribe_events gives
            calls.made_up = {"subscription_id"}
        #: for each owner, by subscription
        self.told: list[dict[str, list[Any]]] = [{}, {}]
        self.subscribers: dict[str, tuple[int, str]] = {}
        self.opened = [0, 0]
        self.start()

    def start(self) -> None:
        # It compares a server's clock with its own.
        clocks = {} if isinstance(self.database, Path) else {"TEST_CLOCK_IS_ALL": "1"}
        self.sidecar = Sidecar("--durability", "normal", "--max-tasks", "0", database=self.database,
                               binary=str(self.form.binary), env=self.clock.environment(**clocks))  # fmt: skip

    def restart(self) -> None:
        self.end()
        self.subscribers.clear()
        self.start()

    def end(self) -> None:
        self.settle()
        assert self.sidecar.stderr() == "", self.sidecar.stderr()
        for message in self.sidecar.finish():
            self.hear(message)
        self.sidecar.kill()

    def ask(self, method: str, params: Params) -> dict[str, Any]:
        answer = self.sidecar.ask(method, **params)
        del answer["id"]
        return answer

    def call(self, who: int, method: str, params: Params, line: bytes) -> dict[str, Any]:
        self.sidecar.send_bytes(line)
        answer = self.sidecar.receive_answer()
        result = answer.get("result")
        if result is not None and method.startswith("subscribe_"):
            self.opened[who] += 1
            self.subscribers[result["subscription_id"]] = (who, f"{method} {self.opened[who]}")
        if result is not None:
            self.calls[who].learn(params, result)
        return answer

    def sweep_all(self) -> None:
        """How many lapsed rows are still there shows in what is deleted or exported, and nowhere else."""
        while self.ask("maintenance", {})["result"]["has_more"]:
            pass

    def settle(self) -> None:
        """What subscribers are told of what has been answered comes before the answer to what is asked now."""
        self.sidecar.ask("server_info")
        self.sidecar.ask("server_info")
        while self.sidecar.notifications:
            self.hear(self.sidecar.notifications.pop(0))

    def hear(self, message: Any) -> None:
        subscriber = self.subscribers.get(message["params"]["subscription_id"])
        if subscriber:
            who, name = subscriber
            self.told[who].setdefault(name, []).append(plain(message))

    def is_free(self, method: str, id: str) -> bool:
        kind = "task" if method == "create_task" else "session"
        return self.ask(f"get_{kind}", {f"{kind}_id": id})["result"] is None


def plain(value: Any) -> Any:
    """Without what is counted for the whole store."""
    seen: dict[Any, int] = {}
    if isinstance(value, dict) and "error" in value:
        value = {"error": value["error"]["data"]}

    def walk(value: Any, name: str = "", kind: str = "") -> Any:
        if isinstance(value, dict):
            if value.get("kind") == "session_expired":  # which it is no more once the row is swept
                return walk(value | {"kind": "session_not_found"})
            # Who writes to a thing that both may see shows there.
            shared = value.get("session_id") == SHARED
            return {key: walk(member, "revision" if shared and key == "last_activity" else key, name)
                    for key, member in value.items()}  # fmt: skip
        if isinstance(value, list):
            return [walk(element, name, kind) for element in value]
        if value is not None and name in PLACES:
            return name
        if value is not None and name in COUNTED and not isinstance(value, bool):
            space = kind if name == "number" else name
            return f"{space} {seen.setdefault((space, value), len(seen))}"
        if isinstance(value, str) and UUID.fullmatch(value):
            return f"id {seen.setdefault(value, len(seen))}"
        return value

    return walk(value)


def difference(one: Any, other: Any, at: str = "") -> str:
    """The first place where two answers differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next((found for name in one if (found := difference(one[name], other[name], f"{at}.{name}"))), "")
    if isinstance(one, list) and isinstance(other, list):
        pairs = enumerate(zip_longest(one, other))
        return next(filter(None, (difference(*pair, f"{at}[{number}]") for number, pair in pairs)), "")
    if type(one) is type(other) and one == other:
        return ""
    return f"answer{at} is {json.dumps(one)[:900]}, alone {json.dumps(other)[:900]}"


@dataclass
class Pair:
    """Two owners in a world together, and each in one of its own."""

    owners: tuple[Params, Params]
    together: World
    alone: list[World]
    calls: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def worlds(self) -> list[World]:
        return [self.together, *self.alone]

    def everywhere(self, method: str, **params: Any) -> None:
        for world in self.worlds:
            world.ask(method, params)

    def step(self, pick: random.Random) -> None:
        who = pick.randrange(2)
        own = self.alone[who]
        methods = tried(self.owners[who], self.owners[1 - who])
        self.together.calls[who].pick = pick
        subscribing = [name for name in methods if name.startswith("subscribe_")]
        method = self.together.calls[who].method(subscribing if pick.random() < 0.05 else methods)
        # Payloads are kept byte for byte: what is sent to two worlds is spelled the same.
        chance, in_ascii = pick.randrange(1 << 32), pick.random() < 0.5
        made = []
        for world in (self.together, own):
            calls = world.calls[who]
            calls.pick = random.Random(chance)
            params = calls.params(method, [name for name in methods if name in TRANSACTIONAL], **self.owners[who])
            for name, inner in calls_of(method, params):
                self.aim(calls, name, inner)
            made.append((params, calls.line(method, "a line", params, in_ascii)))
        makes = [(name, inner) for name, inner in calls_of(method, made[0][0]) if self.makes(name, inner)]
        if not all(self.is_free(name, inner) for name, inner in makes):
            return
        if makes and self.expired_of(1 - who) > 1:
            self.sweep()
        answers = [world.call(who, method, params, line) for world, (params, line) in zip((self.together, own), made)]
        self.calls += 2
        if "result" in answers[0]:
            for name, inner in calls_of(method, made[0][0]):
                self.follow(who, name, inner, in_ascii)
        if makes:
            self.sweep()
        if found := difference(*map(plain, answers)):
            self.broken.append(f"{method} {json.dumps(made[0][0])[:600]}: {found}")

    def aim(self, calls: Calls, method: str, params: Params) -> None:
        """Few ids, which both use: the other's, those that the other had, and that of the thing that both may see."""
        pick = calls.pick
        own = MAKING.get(method)
        for place in [place for place in IDENTIFIERS if place in params or place == own]:
            if place == own or pick.random() < 0.7:
                params[place] = f"{place[0]}{pick.randrange(IDS)}"
        if method in MAKING_OWN:
            params[MAKING_OWN[method]] = named(params, pick)
        # An event subscription's, of either of them; those that subscribe_events gives are others in each world.
        if "event_subscription" in method or method.endswith("_work"):
            if "subscription_id" in params and method != "put_event_subscription":
                params["subscription_id"] = named(pick.choice(self.owners), pick)
        # How many ids are new to a log that both write to is told to both.
        is_told = method == "note_log_message_ids"
        if "session_id" in parameters(method) and own != "session_id" and not is_told and pick.random() < 0.25:
            params["session_id"] = SHARED
            if "delete_tasks" in parameters(method):
                params["delete_tasks"] = pick.random() < 0.8
        for place in ("session", "task"):
            if place in params and pick.random() < 0.7:
                params[place][f"{place}_id"] = f"{place[0]}{pick.randrange(IDS)}"
        if "if_revision" in params:  # a number out of the air may be the revision in one world and not in the other
            params["if_revision"] = pick.choice(calls.known.get("if_revision", [SAFE]))

    def makes(self, method: str, params: Params) -> bool:
        return method in MAKING or method == "update_session" and bool(params.get("upsert"))

    def is_free(self, method: str, params: Params) -> bool:
        """Whether what is to be made has a free id, for that it is taken shows."""
        id = params[MAKING[method]] if method in MAKING else params["session"]["session_id"]
        return id != SHARED and self.together.is_free(method, id)

    def expired_of(self, who: int) -> int:
        """How many sessions wait for a sweep. One that is made under the id of one of them sweeps that one first."""
        params = [self.owners[who] | {"status": status, "limit": 1_000} for status in ("expired", "resolved")]
        return sum(len(self.alone[who].ask("list_session_ids", each)["result"]["session_ids"]) for each in params)

    def sweep(self) -> None:
        """What was in the way of a new thing is gone, and so it is for who had it when he is alone."""
        self.everywhere("expire_sessions")
        self.everywhere("expire_tasks")

    def follow(self, who: int, method: str, params: Params, in_ascii: bool) -> None:
        """What is done to the thing that both may see is done to it in the other's world as well."""
        other = self.alone[1 - who]
        if params.get("session_id", params.get("session", {}).get("session_id")) != SHARED:
            return
        if method == "create_task":
            other.ask("touch_session", {"session_id": SHARED})
        elif "task_id" not in params and "task" not in params and not METHODS[method]["x-repeatable"]:
            # Revisions are others there, and of tasks he has none.
            left = ("if_revision", "delete_tasks")
            plainly = {name: value for name, value in params.items() if name not in left}
            other.sidecar.send_bytes(other.calls[who].line(method, "a line", plainly, in_ascii))
            other.sidecar.receive_answer()
            self.share()  # should it be gone by now

    def share(self) -> None:
        self.everywhere("create_session", session_id=SHARED, status="active", ttl=0, inactivity_timeout=0)

    def tick(self, pick: random.Random) -> None:
        """Time, the server's own calls, and other processes."""
        for world in self.worlds:  # what was deleted before its time is told before that has come
            world.settle()
        match pick.randrange(8):
            case 0:
                for world in self.worlds:
                    world.restart()
            case 1:
                self.everywhere("maintenance")
            case 2:
                self.everywhere("expire_sessions")
            case 3:
                self.everywhere("expire_tasks")
            case 4:
                self.everywhere("delete_session", session_id=SHARED)
            case _:
                self.together.clock.now += pick.choice([1, 60_000, 3_600_000])
                for world in self.worlds:
                    world.sweep_all()
        self.share()
        for world in self.worlds:
            world.settle()

    def finish(self) -> None:
        for world in self.worlds:
            world.end()
        for who, (owners, world) in enumerate(zip(self.owners, self.alone)):
            heard, alone = self.together.told[who], world.told[who]
            for name in sorted(heard.keys() | alone.keys()):
                if found := difference(heard.get(name, []), alone.get(name, [])):
                    self.broken.append(f"{owners}, {name}: what is told: {found}")


def run(form: Form, clock: Clock, server: PostgresServer | None = None, steps: int | None = None) -> Finding:
    """On files, or on databases of a server that has the clock too; so many steps of each pair."""
    pick = random.Random(form.seed)
    calls, told, broken = 0, 0, []
    for number, owners in enumerate(PAIRS):
        names = ("together", "first", "second")
        places = ([server.address(server.new_database()) for _ in names] if server
                  else [form.directory / f"pair-{number}-{name}.db" for name in names])  # fmt: skip
        together, *alone = (World(form, place, clock, owners) for place in places)
        pair = Pair(owners, together, alone)
        pair.share()
        for step in range(steps or (LONG if form.is_long else SHORT)):
            pair.step(pick)
            if step % 40 == 39:
                pair.tick(pick)
            if pair.broken:  # what is called from here on is not the same any more
                break
        pair.finish()
        calls += pair.calls
        told += sum(len(heard) for of_one in together.told for heard in of_one.values())
        broken += [f"{owners}: {text}" for text in pair.broken]
    return Finding("what an owner is answered and told is what it would be without any other on the store",
                   f"{calls:,} calls, {told:,} notifications, {len(PAIRS)} pairs of owners", broken)  # fmt: skip
