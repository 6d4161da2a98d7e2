"""Event types of a server, and the topics in which what happened is kept: publishing, and reading by cursors."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Literal

from jsonschema import SchemaError, ValidationError
from jsonschema.validators import validator_for

from .canonical_json import canonical
from .contract import RequirementFailed, SessionNotFound
from .event_errors import EventsError, invalid
from .event_names import NAMESPACE, EventNames, checked_event_id, checked_name
from .json_text import encode
from .topic import PAGE, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .contract import TransactionCalls
    from .store import Store

Delivery = Literal["poll", "push", "webhook"]
#: bytes of an event as it is delivered
LARGEST = 262_144
#: of these the cursor takes at most so many, with its name
_CURSOR_BYTES = 80
#: milliseconds for which an eventId of the publisher's own is remembered
REMEMBERED = 86_400_000
#: events in a page of a poll: unless asked, and at most
MAX_EVENTS, MOST_EVENTS = 100, 1_000


def equals(arguments: Mapping[str, Any], data: Mapping[str, Any], principal: str | None) -> bool:
    """Whether each argument equals the member of its name: what matches where a type does not say otherwise."""
    return all(name in data and canonical(data[name]) == canonical(value) for name, value in arguments.items())


def anybody(principal: str | None, arguments: Mapping[str, Any]) -> bool:
    """Everybody may have it."""
    return True


@dataclass(frozen=True)
class EventType:
    """A kind of events that a server offers.

    name: 1 to 128 visible ASCII characters.
    input_schema: JSON Schema of the arguments of a subscription; payload_schema: of the `data` of its events.
    delivery: how clients may have them: `poll`, `push`, `webhook`. What is published of a type with `webhook` waits
        until a sender hands it on, so have one.
    matches: whether an event is for a subscription, by its arguments, the event's data and the principal. Unless given,
        each argument must equal the member of its name.
    allows: whether a principal may have events for these arguments; asked at first, and again while it gets them.
    """

    name: str
    description: str
    input_schema: Mapping[str, Any]
    payload_schema: Mapping[str, Any]
    delivery: tuple[Delivery, ...] = ("poll", "push")
    matches: Callable[[Mapping[str, Any], Mapping[str, Any], str | None], bool] = equals
    allows: Callable[[str | None, Mapping[str, Any]], bool | Awaitable[bool]] = anybody
    meta: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        checked_name(self.name)
        if not self.delivery or set(self.delivery) - {"poll", "push", "webhook"}:
            raise ValueError(f"delivery: some of poll, push and webhook, not {self.delivery!r}.")
        for schema in (self.input_schema, self.payload_schema):
            try:
                validator_for(schema).check_schema(schema)
            except SchemaError as error:
                raise ValueError(f"A schema of the event type '{self.name}' is none: {error.message}.") from None

    @property
    def listed(self) -> dict[str, Any]:
        """As `events/list` shows it."""
        shown: dict[str, Any] = {
            "name": self.name, "description": self.description, "delivery": list(self.delivery),
            "inputSchema": dict(self.input_schema), "payloadSchema": dict(self.payload_schema),
        }
        if self.meta is not None:
            shown["_meta"] = dict(self.meta)
        return shown


@dataclass(frozen=True)
class Published:
    """What became of an event."""

    event_id: str
    #: whether one with this eventId was there before; then nothing was done
    duplicate: bool


class EventSource:
    """The events of a server and of its replicas.

        source = EventSource(store, [EventType("thing.changed", "A thing changed.", {…}, {…})])
        await source.publish("thing.changed", {"thing_id": "a1"})

    Whoever has the same types and the same namespace on the same database is the same source, whatever process, and in
    whatever language. It keeps what `--max-events-per-session` says of each type.

    namespace: begins all names in the store; servers that share a database and are no replicas take one each.
    """

    def __init__(self, store: Store, types: Iterable[EventType] = (), *, namespace: str = NAMESPACE) -> None:
        self.store = store
        self.names = EventNames(namespace)
        self.types: dict[str, EventType] = {}
        self._topics: dict[str, Topic] = {}
        for kind in types:
            self.add(kind)

    def add(self, kind: EventType) -> None:
        """Offers another type here, or the same one anew. Raises ValueError when it may not change so."""
        self.types[kind.name] = kind

    def topic(self, name: str) -> Topic:
        """Where the events of a type are."""
        if name not in self._topics:
            self._topics[name] = Topic(self.store, self.names.topic(name))
        return self._topics[name]

    async def publish(
        self, name: str, data: Mapping[str, Any], *, event_id: str | None = None, timestamp: datetime | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Published:
        """Keeps an event, on disk before this returns, for all who poll, stream or subscribed by webhook.

        Raises KeyError for a type that is not offered here, ValueError when the data are not of its schema or too
        large, StoreError.

        event_id: the upstream's own; published twice within a day it is published once.
        timestamp: when it happened; now, when None.
        """
        event_id, calls = self._publishing(name, data, event_id, timestamp, meta)
        while True:
            try:
                await self.store.transaction(calls)
                return Published(event_id, False)
            except SessionNotFound:
                await self.topic(name).ensure()
            except RequirementFailed:
                return Published(event_id, True)

    def publishing(
        self, name: str, data: Mapping[str, Any], *, event_id: str | None = None, timestamp: datetime | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> list[TransactionCalls]:
        """The same as calls for a transaction of your own, so that an event is there exactly when its cause is.

        The topic must be there: `await source.open()` makes them all. Where the eventId was published before, the
        transaction ends with RequirementFailed.
        """
        return self._publishing(name, data, event_id, timestamp, meta)[1]

    async def open(self) -> None:
        """Makes the topics that are not there yet. Raises StoreError."""
        for name in list(self.types):
            await self.topic(name).ensure()

    def _publishing(
        self, name: str, data: Mapping[str, Any], event_id: str | None, timestamp: datetime | None,
        meta: Mapping[str, Any] | None,
    ) -> tuple[str, list[TransactionCalls]]:
        kind = self.types[name]
        conform(kind.payload_schema, data, f"The data of '{name}'")
        calls: list[Any] = []
        if event_id is None:
            event_id = "evt_" + secrets.token_hex(16)
        else:
            calls.append({"method": "consume_nonce", "require": True, "params": {
                "nonce": self.names.nonce(name, checked_event_id(event_id)), "ttl": REMEMBERED, "principal": None}})
        occurrence: dict[str, Any] = {
            "eventId": event_id, "name": name, "timestamp": moment(timestamp), "data": dict(data)}
        if meta is not None:
            occurrence["_meta"] = dict(meta)
        if len(encode(occurrence).encode("utf-8", "backslashreplace")) > LARGEST - _CURSOR_BYTES:
            raise ValueError(f"An event has at most {LARGEST:,} bytes: send what it is about, and a tool to read it.")
        calls.append({"method": "store_event", "params": {
            "session_id": self.names.topic(name), "event_type": name, "data": occurrence, "tenant_id": None,
            "principal": None}})
        if "webhook" in kind.delivery:
            calls.append({"method": "enqueue_work", "params": {
                "queue": self.names.fanout, "work_id": f"{name}/{event_id}", "group": name, "ordered": True,
                "payload": {"name": name}}})
        return event_id, calls

    # What all ways to have events share

    def listed(self) -> list[dict[str, Any]]:
        """The types as `events/list` shows them."""
        return [kind.listed for kind in self.types.values()]

    def offered(self, name: object, mode: Delivery) -> EventType:
        """A type that can be had so. Raises EventsError."""
        kind = self.types.get(name) if isinstance(name, str) else None
        if kind is None:
            raise EventsError("not_found", "There is no such event type.", {"kind": "event"})
        if mode not in kind.delivery:
            raise EventsError("unsupported", f"The event type '{kind.name}' cannot be had by {mode}.",
                              {"feature": "delivery", "value": mode})
        return kind

    async def admit(self, kind: EventType, principal: str | None, arguments: Any) -> dict[str, Any]:
        """The arguments, if they are of the schema and the principal may have that. Raises EventsError."""
        arguments = {} if arguments is None else arguments
        try:
            conform(kind.input_schema, arguments, "The arguments")
        except ValueError as error:
            raise invalid(str(error)) from None
        if not isinstance(arguments, dict):
            raise invalid("The arguments must be an object.")
        if not await self.may_have(kind, principal, arguments):
            raise EventsError("forbidden", "You may not have these events.")
        return arguments

    async def may_have(self, kind: EventType, principal: str | None, arguments: Mapping[str, Any]) -> bool:
        """Whether a principal may have events for these arguments, now."""
        allowed = kind.allows(principal, arguments)
        return bool(await allowed if isawaitable(allowed) else allowed)

    async def poll(
        self, kind: EventType, principal: str | None, arguments: Mapping[str, Any], cursor: str | None,
        *, max_age: int | None = None, max_events: int = MAX_EVENTS,
    ) -> dict[str, Any]:
        """The result of `events/poll`, without the time to wait. Raises StoreError."""
        topic = self.topic(kind.name)
        begin, truncated = await topic.start(cursor, max_age)
        if cursor is None:
            return self._polled(topic, [], begin, False, False)
        page = await topic.after(begin, limit=PAGE)
        events: list[dict[str, Any]] = []
        position, has_more = page.position, page.has_more
        for event in page.events:
            if len(events) == max_events:
                position, has_more = type(position)(position.epoch, event["id"] - 1), True
                break
            if kind.matches(arguments, event["data"]["data"], principal):
                events.append(event["data"])
        return self._polled(topic, events, position, truncated or page.truncated, has_more)

    @staticmethod
    def _polled(
        topic: Topic, events: Sequence[dict[str, Any]], position: Any, truncated: bool, has_more: bool,
    ) -> dict[str, Any]:
        return {"events": list(events), "cursor": position.cursor(topic.session_id), "truncated": truncated,
                "hasMore": has_more}


def conform(schema: Mapping[str, Any], value: Any, what: str) -> None:
    """Raises ValueError when a value is not of a schema."""
    try:
        validator_for(schema)(schema).validate(value)
    except ValidationError as error:
        at = "".join(f"/{part}" for part in error.absolute_path)
        raise ValueError(f"{what} are not of their schema{' at ' + at if at else ''}: {error.message[:300]}") from None


def moment(time: datetime | None) -> str:
    """RFC 3339 in UTC, with milliseconds; None: now."""
    time = datetime.now(timezone.utc) if time is None else time.astimezone(timezone.utc)
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1_000:03d}Z"
