"""Calls of every method, made from the contract itself: a method or a parameter is tried the day that it is there.

All are valid by protocol/openrpc.json. Their values are usual ones, extreme ones (bounds, odd Unicode, names that mean
something elsewhere), and ones that were seen before in a call or an answer: ids of what is gone or is another's,
cursors of another list, old revisions. The same source of chance and the same answers make the same calls again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

DOCUMENT = json.loads((Path(__file__).resolve().parents[2] / "protocol" / "openrpc.json").read_text())
METHODS: dict[str, dict[str, Any]] = {method["name"]: method for method in DOCUMENT["methods"]}
#: what a transaction may hold
TRANSACTIONAL = sorted(name for name, method in METHODS.items() if method["x-transactional"])
#: what makes the things that all others are about; called more often, or there would be little
MAKING = ("create_session", "create_task", "store_events", "append_log_entry", "set_session_state", "put_value",
          "enqueue_task_message", "require_task_input", "enqueue_work", "claim_work",
          "put_event_subscription")  # fmt: skip
OWNERS = ("tenant_id", "principal")
#: names of parameters under which members of answers are sent back
ALIASES = {
    "next_cursor": ("cursor",),
    "revision": ("if_revision",),
    "id": ("after_event_id", "before_event_id"),
    "last_id": ("after_event_id", "before_event_id"),
    "newest_id": ("after_event_id",),
    "next_after": ("after_event_id", "after_seq"),
    "seq": ("after_seq",),
    "session_ids": ("session_id",),
    "task_ids": ("task_id",),
    "keys": ("key",),
}
SAFE = 2**53 - 1
#: how many of each name are remembered
KNOWN = 12

#: text that something on the way may take for something else
ODD = [
    "\0", "a\0b", "__proto__", "constructor", "toString", "null", "\u00e9", "e\u0301", "\u2028", "\ufeff", "\uffff",
    "\U0001f600", "\u202e", "%s%n", "'; DROP TABLE sessions; --", "\\", '"', "\x7f", "\ud800", "\udc00\ud800",
    "<script>", "*", "%", "_", " ", "\r\n", "\U0010ffff",
]  # fmt: skip
VISIBLE = ["!", "~", "__proto__", "constructor", '"', "\\", "'", "%00", "../x", "0", "-1", "*", "s" * 256]
NUMBERS = [0, -1, 0.5, -0.0, 1e300, SAFE, 2**63, -(2**63) - 1, 10**39]

Params = dict[str, Any]
Schema = dict[str, Any]


def parameters(method: str) -> dict[str, dict[str, Any]]:
    return {parameter["name"]: parameter for parameter in METHODS[method]["params"]}


@cache
def validator(schema: str) -> Draft7Validator:
    return Draft7Validator(json.loads(schema))


def admits(schema: Schema, value: Any) -> bool:
    return validator(json.dumps(schema)).is_valid(value)


class Calls:
    """Makes calls, and remembers what was said."""

    def __init__(self, pick: random.Random, now: Callable[[], int], directory: Path | None = None) -> None:
        """`directory` is where files go that a caller names."""
        self.pick = pick
        self.now = now
        self.directory = directory
        #: values by the name of a parameter, oldest first
        self.known: dict[str, list[Any]] = {}
        #: parameters that are never what was sent or answered before
        self.made_up: set[str] = set()
        self._made = 0

    # --- Memory

    def learn(self, *values: Any) -> None:
        """What was sent, and what was answered."""
        for value in values:
            for name, member in members(value):
                for place in (name, *ALIASES.get(name, ())):
                    for one in member if isinstance(member, list) else [member]:
                        self._remember(place, one)

    def _remember(self, name: str, value: Any) -> None:
        is_short = isinstance(value, int) or isinstance(value, str) and len(value) <= 1_024
        if isinstance(value, bool) or not is_short:
            return
        known = self.known.setdefault(name, [])
        if value not in known:
            known.append(value)
            del known[:-KNOWN]

    # --- Calls

    def method(self, among: list[str]) -> str:
        """One of them; what makes things comes up as often as all the rest together."""
        making = [name for name in MAKING if name in among]
        return self.pick.choice(making if making and self.pick.random() < 0.5 else among)

    def params(self, method: str, among: list[str] = TRANSACTIONAL, **said: Any) -> Params:
        """Parameters of a call. What is `said` stands in it as it is, where the method takes it; `among` are the
        methods that a transaction may hold."""
        if method == "transaction":
            inner = [self.method(among) for _ in range(self.pick.randint(1, 4))]
            return {"calls": [self._inner(name, said) for name in inner]}
        params = {}
        for name, parameter in parameters(method).items():
            if name in said:
                params[name] = said[name]
            elif parameter.get("required") or self.pick.random() < 0.2:
                params[name] = self.value(name, parameter["schema"], method)
        return params

    def _inner(self, method: str, said: Params) -> Params:
        call: Params = {"method": method, "params": self.params(method, **said)}
        return call | ({"require": True} if self.pick.random() < 0.1 else {})

    def line(self, method: str, id: Any, params: Params, in_ascii: bool | None = None) -> bytes:
        """The call as it is sent: in ASCII or not, its names spelled out or escaped."""
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        in_ascii = self.pick.random() < 0.5 if in_ascii is None else in_ascii
        text = json.dumps(message, ensure_ascii=in_ascii, separators=(",", ":"))
        if not in_ascii:
            try:
                text.encode()
            except UnicodeEncodeError:  # half of a pair
                text = json.dumps(message, separators=(",", ":"))
        if params and self.pick.random() < 0.1:
            name = self.pick.choice(sorted(params))
            text = text.replace(f'"{name}":', f'"\\u{ord(name[0]):04x}{name[1:]}":', 1)
        return text.encode() + b"\n"

    # --- Values

    def value(self, name: str, schema: Schema, method: str = "") -> Any:
        pick = self.pick
        if name == "path":
            assert self.directory is not None, f"{method} writes where it is told"
            return str(self.directory / f"file-{self.fresh()}")
        if "anyOf" in schema:
            return self.value(name, pick.choice(schema["anyOf"]), method)
        if schema.get("type") == "null":
            return None
        if "enum" in schema:
            return pick.choice(schema["enum"])
        makes_it = method.startswith("create_") and method.removeprefix("create_") in name
        if not makes_it and name not in self.made_up and pick.random() < 0.7:
            if known := [value for value in self.known.get(name, ()) if admits(schema, value)]:
                return pick.choice(known if pick.random() < 0.5 else known[-2:])
        match schema.get("type"):
            case "boolean":
                return pick.random() < 0.5
            case "integer":
                return self.integer(schema["minimum"], schema["maximum"])
            case "string":
                return self.text(name, schema, odd=pick.random() < 0.25)
            case "array":
                return [self.value(name, schema["items"], method) for _ in range(pick.randint(1, 3))]
            case "object" if "properties" in schema:
                return self.record(schema, method)
            case "object":
                return self.payload_object(name)
            case None:
                return self.payload()
        raise AssertionError(f"{method}: a parameter of a kind that is not known here: {schema}")

    def record(self, schema: Schema, method: str) -> Params:
        return {name: self.value(name, member, method) for name, member in schema["properties"].items()
                if name in schema.get("required", ()) or self.pick.random() < 0.3}  # fmt: skip

    def integer(self, least: int, most: int) -> int:
        pick, now = self.pick, self.now()
        usual = [least + pick.randint(0, 5), pick.randint(1, 1_000), 60_000, 3_600_000]
        extreme = [least, most, most - 1, (least + most) // 2]
        times = [now, now - 1, now + 1, now + 1_000, now - 60_000] if most > now else []
        value = pick.choice(pick.choice([usual, usual, extreme, times or usual]))
        return min(max(value, least), most)

    def text(self, name: str, schema: Schema, odd: bool) -> str:
        pick, least, most = self.pick, schema["minLength"], schema["maxLength"]
        if "pattern" in schema:
            return pick.choice(VISIBLE) if odd else f"{name[0]}{self.fresh()}"
        if not odd:
            return pick.choice(["one", "two", "three"])
        short = [text for text in ODD if least <= len(text.encode(errors="surrogatepass")) <= most]
        # The limits count bytes, the schema characters: the last of these is refused.
        long = ["x" * min(most, 5_000), "\u00e9" * min(most // 2, 2_500), "\u00e9" * min(most, 5_000)]
        return pick.choice(long if pick.random() < 0.1 else short)

    def payload(self, depth: int = 0) -> Any:
        pick = self.pick
        match pick.randint(0, 7 if depth < 3 else 4):
            case 0:
                return None
            case 1:
                return pick.random() < 0.5
            case 2:
                return pick.choice(NUMBERS)
            case 3:
                return pick.choice(ODD)
            case 4:
                return f"text-{pick.randint(0, 9)}"
            case 5:
                return [self.payload(depth + 1) for _ in range(pick.randint(0, 3))]
            case 6:
                return {pick.choice([*ODD, "a", "b"]): self.payload(depth + 1) for _ in range(pick.randint(0, 3))}
        return pick.choice([nested(100), "x" * 3_000, [0] * 200])

    def payload_object(self, name: str) -> Params:
        """Objects that are only looked into: some have what is looked for."""
        pick = self.pick
        held = {pick.choice(["a", "b", "c", *ODD]): self.payload(1) for _ in range(pick.randint(0, 3))}
        if name in ("entry", "entries", "checkpoint"):
            held |= {"message_id": pick.choice(["m-1", "m-2", "m-3", "", None]),
                     "kind": pick.choice(["incoming", "internal", "checkpoint", None])}  # fmt: skip
        return held

    def fresh(self) -> int:
        self._made += 1
        return self._made


def members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield name, member
            yield from members(member)
    elif isinstance(value, list):
        for element in value:
            yield from members(element)


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def kinds(method: str, calls: list[Params] = []) -> set[str]:  # noqa: B006
    """The errors that a method may be answered with; those of the calls that a transaction holds are its own too."""
    told = {error["$ref"].rpartition("/")[2] for error in METHODS[method]["errors"]}
    return told.union(*(kinds(call["method"]) for call in calls))


def strict(schema: Any) -> Any:
    """The schema of a result, which has no members but those that it names."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(member) for name, member in schema.items()}
    return closed | {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else closed


RESULTS = {
    name: Draft7Validator({"allOf": [strict(method["result"]["schema"])], "components": strict(DOCUMENT["components"])})
    for name, method in METHODS.items()
}
