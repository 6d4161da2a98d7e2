"""Event streams of the official MCP SDK, versions 1 and 2, that resume after a lost connection or a restart."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import aclosing
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote, unquote

from mcp.server.streamable_http import EventMessage
from mcp.server.streamable_http import EventStore as SDKEventStore
from mcp.types import (
    INTERNAL_ERROR, JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse,
)

from .contract import InvalidSessionStatus, PayloadTooLarge, SessionExpired, SessionNotFound
from .errors import ChildError, RequestTooLarge, StoreError
from .store import encode, sent
from .unset import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcp.server.streamable_http import EventCallback, EventId, StreamId

    from .contract import Event, EventPage
    from .store import Store
    from .subscription import EventSubscription

#: the type of an event that was stored only to have an id; the contract's SSE format leaves it out too
PRIMING = "keepalive"
TOO_LARGE = "The answer was too large to be kept for a connection that resumes."

#: Version 1 has a model around the union of messages, version 2 the bare union. Each leaves out what its own transport
#: leaves out, so that a message looks the same live and replayed.
_AROUND: Any = JSONRPCMessage if isinstance(JSONRPCMessage, type) else None
_LEAVES_OUT: dict[str, Any] = {"exclude_none": True} if _AROUND else {"exclude_unset": True}


class Owners(TypedDict):
    """For whom calls are made; left out: for the server itself."""

    tenant_id: str | None | Unset
    principal: str | None | Unset


class _Replay:
    is_over = False
    live: EventSubscription | None = None


class EventStore(SDKEventStore):
    """The events of one session, for the transport that serves this session.

        await store.create_session(session_id=transport_session_id, principal="alice", status="active")
        events = EventStore(store, transport_session_id, principal="alice")

    Give each session an object of its own: the SDK names streams by request ids, which repeat from session to session.
    `mcp_sessions` does that for a whole server.

    Event ids look like `17.3f1c9a….7`, in visible ASCII: the session's number of the event, a check of session and
    stream, the stream. An id of another session is unknown here, and an unknown id replays nothing.

    A replay shows the one stream that the id belongs to, from behind it up to the answer to the request that the
    stream is named after. Request ids may be used again: what comes behind that answer is another request's.

    follow: Let a replay go on with what is stored later, by whatever process, until the stream's answer was sent. A
        resumed connection is then served by the store alone. Otherwise a replay ends with what there is, and the
        transport sends on what it is handed itself; the SDK loses what is stored between the two.
    """

    def __init__(
        self, store: Store, session_id: str, *, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, follow: bool = False, logger: logging.Logger | None = None,
    ) -> None:
        self._store = store
        self.session_id = session_id
        self._owners: Owners = {"tenant_id": tenant_id, "principal": principal}
        #: what the parameters of all events begin with
        self._session = encode({"session_id": session_id, **sent(self._owners)})[:-1]
        self._follow = follow
        self._logger = logger or logging.getLogger("mcp_session_store")
        #: that this object knows of
        self._newest_id = 0
        #: those that go on, by their streams
        self._replays: dict[str, _Replay] = {}

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        """Stores a message, or with None a place to resume from, and gives the id for the wire.

        A message that cannot be stored, be the store's process gone or the message too large, is logged and gets the
        empty id: it goes out without one, so it reaches those who are connected and cannot be replayed. (In the place
        of an answer that is too large, an error is stored.) To raise would end the SDK's routing of the whole session.

        A place to resume from is asked for before a request is dispatched; there it does raise, the client is answered
        500, and nothing was done.
        """
        if message is None:
            return await self._append(stream_id, "null", PRIMING)
        try:
            data = message.model_dump_json(by_alias=True, **_LEAVES_OUT)
            return await self._append(stream_id, data)
        except Exception as error:
            self._logger.error(
                "A message of stream '%s' could not be stored and cannot be replayed: %s", stream_id[:64], error)
            if isinstance(error, (PayloadTooLarge, RequestTooLarge)) and "method" not in (answer := json.loads(data)):
                # Or who resumes would wait for it for ever.
                refusal = {"code": INTERNAL_ERROR, "message": TOO_LARGE}
                await self._append_if_possible(
                    stream_id, encode({"jsonrpc": "2.0", "id": answer["id"], "error": refusal}))
            return ""

    async def _append_if_possible(self, stream_id: StreamId, data: str) -> None:
        try:
            await self._append(stream_id, data)
        except StoreError as error:
            self._logger.error("Nor could what stands in its place: %s", error)

    async def _append(self, stream_id: StreamId, data: str, event_type: str = "message") -> EventId:
        """data: as JSON."""
        params = f'{self._session},"stream_id":{encode(stream_id)},"event_type":{encode(event_type)},"data":{data}}}'
        known = self._newest_id
        try:
            number: int = (await self._store.call("store_event", params))["id"]
        except ChildError as error:
            if error.outcome != "unknown":
                raise
            # The process ended in the middle. When the store starts another one, that one knows whether it was done.
            page = await self._store.get_recent_events(self.session_id, stream_id=stream_id, **self._owners)
            for event in page["events"]:
                # Two of PRIMING do no harm.
                if event["id"] > known and event_type != PRIMING and event["data"] == json.loads(data):
                    number = event["id"]
                    break
            else:
                number = (await self._store.call("store_event", params))["id"]
        self._newest_id = max(self._newest_id, number)
        return self._event_id(number, stream_id)

    async def replay_events_after(self, last_event_id: EventId, send_callback: EventCallback) -> StreamId | None:
        """Sends what the client missed on the stream that the id belongs to, and gives that stream.

        None: the id is unknown, or nothing more will come on the stream. Raises StoreError when the store fails.
        """
        try:
            stream_id = await self._replay(last_event_id, send_callback)
        except (SessionNotFound, SessionExpired, InvalidSessionStatus) as error:
            self._logger.info("A replay ends: %s", error)
            return None
        return None if self._follow else stream_id

    async def _replay(self, last_event_id: EventId, send_callback: EventCallback) -> StreamId | None:
        number, stream_id = self._read_event_id(last_event_id)
        # From the event itself on, for it may be the answer that ended the stream.
        page = await self._read(stream_id, number - 1) if number else None
        if page is None or number > page["newest_id"]:
            self._logger.info("Nothing to replay after the unknown event id '%s'.", last_event_id[:64])
            return None
        if not page["events"] or page["events"][0]["id"] != number:  # it was evicted, which loses nothing by itself
            page = await self._read(stream_id, number)
        elif _is_answer(page["events"].pop(0)):
            return None
        async with aclosing(self._events(stream_id, page)) as events:
            async for event in events:
                if event["event_type"] == PRIMING:
                    continue
                message = _read_message(event["data"])
                await send_callback(EventMessage(message, self._event_id(event["id"], stream_id)))
                if _is_answer(event):
                    break
        return stream_id

    def stream_of(self, event_id: EventId) -> StreamId | None:
        """The stream that an id of this session belongs to; None: it is none."""
        number, stream_id = self._read_event_id(event_id)
        return stream_id if number else None

    def end_replay(self, stream_id: StreamId) -> None:
        """Ends a replay that goes on, as the SDK's `close_sse_stream` ends a connection that it serves itself."""
        replay = self._replays.pop(stream_id, None)
        if replay is not None:
            replay.is_over = True
            if replay.live is not None:
                self._store.spawn(replay.live.aclose())

    async def _read(self, stream_id: StreamId, after: int) -> EventPage:
        return await self._store.get_events_after(
            self.session_id, after_event_id=after, stream_id=stream_id, **self._owners)

    async def _events(self, stream_id: StreamId, page: EventPage) -> AsyncGenerator[Event, None]:
        """The page and what is behind it, until a page comes back empty: more may be stored while one is sent.

        Then, when following, what comes until the session ends or another replay takes the stream over.
        """
        self.end_replay(stream_id)
        replay = _Replay()
        if self._follow:
            self._replays[stream_id] = replay
        try:
            after = page["next_after"]
            while page["events"] or page["has_more"] or page["gap"]:
                self._tell_gap(stream_id, page["gap"]["dropped"] if page["gap"] else 0)
                for event in page["events"]:
                    yield event
                page = await self._read(stream_id, after)
                after = page["next_after"]
            if not self._follow or replay.is_over:
                return
            await self._caught_up(stream_id)
            replay.live = await self._store.subscribe_events(
                self.session_id, after_event_id=after, stream_id=stream_id, **self._owners)
            if replay.is_over:  # meanwhile
                return
            lost = 0
            async for event in replay.live:
                self._tell_gap(stream_id, replay.live.lost - lost)
                lost = replay.live.lost
                yield event
        finally:
            if self._replays.get(stream_id) is replay:
                del self._replays[stream_id]
            if replay.live is not None:
                # Not here and now: whoever lost the connection is being cancelled and could not wait for the answer.
                self._store.spawn(replay.live.aclose())

    async def _caught_up(self, stream_id: StreamId) -> None:
        """A replay has sent what there was, found no answer, and goes on with what is stored from here on."""

    def _tell_gap(self, stream_id: StreamId, dropped: int) -> None:
        if dropped:
            self._logger.warning(
                "A replay of stream '%s' has a hole: up to %d events are gone already.", stream_id[:64], dropped)

    def _event_id(self, number: int, stream_id: StreamId) -> EventId:
        return f"{number}.{_mark(self.session_id, stream_id)}"

    def _read_event_id(self, event_id: EventId) -> tuple[int, StreamId]:
        """The number and the stream; 0 when it is none of this session's."""
        number, _, rest = event_id.partition(".")
        stream_id = unquote(rest.partition(".")[2])
        if not (number.isascii() and number.isdigit() and len(number) < 16):
            return 0, stream_id
        is_ours = event_id == self._event_id(int(number), stream_id)
        return int(number) if is_ours else 0, stream_id


@lru_cache(maxsize=1_024)
def _mark(session_id: str, stream_id: StreamId) -> str:
    """What all event ids of a stream end with."""
    check = hashlib.sha256(f"{session_id}\n{stream_id}".encode()).hexdigest()[:16]
    return f"{check}.{quote(stream_id, safe='')}"


def _read_message(data: Any) -> JSONRPCMessage:
    """To let pydantic try each kind of the union would take twice as long."""
    kind: Any
    if "method" in data:
        kind = JSONRPCRequest if "id" in data else JSONRPCNotification
    else:
        kind = JSONRPCResponse if "result" in data else JSONRPCError
    message: JSONRPCMessage = kind.model_validate(data)
    return _AROUND(message) if _AROUND else message


def _is_answer(event: Event) -> bool:
    """Whether the event is the answer that ends its stream: to the request whose id the stream has for a name."""
    data = event["data"]
    return isinstance(data, dict) and "method" not in data and str(data.get("id")) == event["stream_id"]
