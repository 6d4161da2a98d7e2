"""What everything of MCP Events is called in the store, and the cursors and ids that clients are given.

All clients of this contract name it so: `protocol/clients/events/README.md`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from .canonical_json import canonical_bytes

NAMESPACE = "mcp-events"
_NAMESPACE = re.compile(r"[\x21-\x2e\x30-\x7e]{1,40}")
_NAME = re.compile(r"[\x21-\x7e]{1,128}")
_EVENT_ID = re.compile(r"[\x21-\x7e]{1,200}")
_CURSOR = re.compile(r"c1-([0-9a-f]{8})-(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})")


@dataclass(frozen=True)
class EventNames:
    """The names that begin with a namespace, which servers that share a database and are no replicas choose apart."""

    namespace: str = NAMESPACE

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ValueError("namespace: 1 to 40 visible ASCII characters without a slash, not "
                             f"{self.namespace[:60]!r}.")

    def topic(self, name: str) -> str:
        """The session that keeps the events of a type."""
        return f"{self.namespace}/{name}"

    @property
    def fanout(self) -> str:
        """The queue of what is still to be handed to subscriptions."""
        return f"{self.namespace}/fanout"

    @property
    def deliveries(self) -> str:
        """The queue of what is still to be sent."""
        return f"{self.namespace}/deliveries"

    @property
    def ended(self) -> str:
        """The queue of what is still to be told of subscriptions that ended."""
        return f"{self.namespace}/ended"

    @property
    def fanned(self) -> str:
        """The collection of values that say how far topics were handed on."""
        return f"{self.namespace}/fanned"

    @property
    def verified(self) -> str:
        """The collection of receivers that proved themselves."""
        return f"{self.namespace}/verified"

    def subscription_id(self, principal: str | None, url: str, name: str, arguments: Any) -> str:
        """The same for the same subscription, over refreshes and restarts, in every language."""
        return "sub_" + digest([principal, url, self.topic(name), arguments])[:32]

    def nonce(self, name: str, event_id: str) -> str:
        """By which an event that a publisher names is remembered."""
        return digest([self.topic(name), event_id])


@dataclass(frozen=True)
class Position:
    """A place in a topic: everything up to an event, in one life of the topic."""

    epoch: int
    event_id: int

    def cursor(self, topic: str) -> str:
        """What a client is given for it."""
        return f"c1-{_mark(topic)}-{self.epoch}-{self.event_id}"


def position_of(topic: str, cursor: str) -> Position | None:
    """Where a cursor of this topic is; None: it is none of it."""
    found = _CURSOR.fullmatch(cursor)
    if found is None or found[1] != _mark(topic):
        return None
    return Position(int(found[2]), int(found[3]))


def checked_name(name: str) -> str:
    """Raises ValueError when it cannot be the name of an event type."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"An event type's name is 1 to 128 visible ASCII characters, not {name!r:.150}.")
    return name


def checked_event_id(event_id: str) -> str:
    """Raises ValueError when it cannot stand in the header of a webhook."""
    if not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
        raise ValueError(f"An eventId is 1 to 200 visible ASCII characters, not {event_id!r:.220}.")
    return event_id


def message_id(subscription_id: str, event_id: str) -> str:
    """The `webhook-id` of a delivery, where each has its own; the same in each attempt."""
    return "msg_" + digest([subscription_id, event_id])[:32]


def receiver_key(principal: str | None, url: str) -> str:
    """By which it is remembered that a receiver proved itself to somebody."""
    return digest([principal, url])


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal digits."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def _mark(topic: str) -> str:
    return hashlib.sha256(topic.encode()).hexdigest()[:8]
