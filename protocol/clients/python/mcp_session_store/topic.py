"""A session that is a topic: it has no deadlines, belongs to nobody, and its events are read by positions."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .contract import SessionExists, SessionNotFound
from .event_names import Position, position_of

if TYPE_CHECKING:
    from .contract import Event
    from .store import Store

#: events that are looked through at once
PAGE = 1_000
#: a cursor behind everything that there will ever be
_END = 2**53 - 1


@dataclass(frozen=True)
class TopicPage:
    """Events behind a position."""

    events: list[Event]
    #: up to which was looked
    position: Position
    #: whether something between the cursor and this page is not there, or the cursor was none of this topic's
    truncated: bool
    has_more: bool
    #: of the newest event; 0: there was none yet
    newest_id: int


class Topic:
    """Made by whoever comes first, kept until somebody deletes the session."""

    def __init__(self, store: Store, session_id: str) -> None:
        self._store = store
        self.session_id = session_id

    async def ensure(self) -> int:
        """Makes it where it is not there. Gives its epoch. Raises StoreError."""
        while True:
            try:
                made = await self._store.create_session(
                    session_id=self.session_id, status="active", ttl=0, inactivity_timeout=0, tenant_id=None,
                    principal=None)
                return made["created_at"]
            except SessionExists:
                found = await self._store.get_session(
                    self.session_id, omit=["metadata", "state"], tenant_id=None, principal=None)
                if found is not None:
                    return found["created_at"]
                # Somebody deletes it in this moment.

    async def after(self, position: Position | None, *, limit: int = PAGE) -> TopicPage:
        """A page behind a position of this topic; None: nothing, and where the end is."""
        params: dict[str, Any] = {"session_id": self.session_id, "tenant_id": None, "principal": None}
        after = _END if position is None else position.event_id
        session: Any
        page: Any
        while True:
            try:
                # Together, or an epoch could be told with the events of another.
                session, page = (await self._store.transaction([
                    {"method": "get_session", "params": {**params, "omit": ["metadata", "state"]}},
                    {"method": "get_events_after", "params": {**params, "after_event_id": after, "limit": limit}},
                ]))["results"]
                break
            except SessionNotFound:
                await self.ensure()
        epoch, newest = session["created_at"], page["newest_id"]
        if position is None:
            return TopicPage([], Position(epoch, newest), False, False, newest)
        if position.epoch != epoch:
            # What the topic has now is all new to whoever knew it in another life.
            begun = await self.after(Position(epoch, 0), limit=limit)
            return TopicPage(begun.events, begun.position, True, begun.has_more, begun.newest_id)
        if page["cursor_ahead"]:
            return TopicPage([], Position(epoch, newest), True, False, newest)
        return TopicPage(
            page["events"], Position(epoch, page["next_after"]), page["gap"] is not None, page["has_more"], newest)

    async def start(self, cursor: str | None, max_age: int | None = None) -> tuple[Position, bool]:
        """Where reading begins for a client that has this cursor, and whether that is later than it asked for.

        max_age: milliseconds; older events are passed over.
        """
        if cursor is None:
            return (await self.after(None, limit=1)).position, False
        asked = position_of(self.session_id, cursor)
        if asked is None:
            return (await self.after(None, limit=1)).position, True
        page = await self.after(asked, limit=1)
        truncated = page.truncated
        if truncated and page.events:
            begin = Position(page.position.epoch, page.events[0]["id"] - 1)
        else:
            begin = page.position if truncated else asked
        if max_age is not None and page.events:
            floor = int(time.time() * 1_000) - max_age
            first = await self._first_since(begin, page.events[0], page.newest_id, floor)
            if first > page.events[0]["id"]:
                return Position(begin.epoch, first - 1), True
        return begin, truncated

    async def _first_since(self, begin: Position, oldest: Event, newest_id: int, floor: int) -> int:
        """The id of the first event that the store took at that time or later; one behind the newest: there is none.

        Positions have no holes, so half of them can be passed over at each look.
        """
        if oldest["timestamp"] >= floor:
            return oldest["id"]
        low, high = oldest["id"], newest_id + 1
        while high - low > 1:
            middle = (low + high) // 2
            page = await self.after(Position(begin.epoch, middle - 1), limit=1)
            if page.position.epoch != begin.epoch or not page.events:
                return high
            if page.events[0]["timestamp"] >= floor:
                high = middle
            else:
                low = max(middle, page.events[0]["id"])
        return high
