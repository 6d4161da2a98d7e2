"""Event streams of the official MCP SDK, versions 1 and 2, that resume after a lost connection or a restart."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from mcp.server.streamable_http import GET_STREAM_KEY, EventMessage
from mcp.server.streamable_http import EventStore as SDKEventStore
from mcp.types import (
    INTERNAL_ERROR, JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse,
)

from .contract import InvalidSessionStatus, PayloadTooLarge, SessionExpired, SessionNotFound
from .errors import ChildError, RequestTooLarge, StoreError
from .sdk_internals import IS_FIRST
from .session_watch import Owners
from .json_text import Encoded, encode
from .store import sent
from .unset import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcp.server.streamable_http import EventCallback, EventId, StreamId

    from .contract import Event, EventPage
    from .store import Store
    from .subscription import EventSubscription

#: the type of an event that was stored only to have an id; the contract's SSE format leaves it out too
PRIMING = "keepalive"
#: those that are never replayed, whoever stored them
NOT_REPLAYED = frozenset({PRIMING, "priming", "ping"})
TOO_LARGE = "The answer was too large to be kept for a connection that resumes."
NOT_KEPT = "The answer could not be kept for a connection that resumes."

#: Each version leaves out what its own transport leaves out, so that a message looks the same live and replayed.
_AROUND: Any = JSONRPCMessage if IS_FIRST else None
_LEAVES_OUT: dict[str, Any] = {"exclude_none": True} if IS_FIRST else {"exclude_unset": True}

#: What `model_validate` of each kind does, without what it asks first, which takes as long as a third of it.
_read_request, _read_notification, _read_response, _read_error = (
    kind.__pydantic_validator__.validate_python
    for kind in (JSONRPCRequest, JSONRPCNotification, JSONRPCResponse, JSONRPCError))

#: bytes of a stream's name in the contract
NAME = 1_024
#: events that are read at once: of a thousand, so many objects live together that Python looks for garbage in all of
#: the server's more often, which takes as long as half of the replay
PAGE = 250
#: events that are read first, so that something is sent soon
FIRST_PAGE = 50
#: what a name begins with that is the hash of another
HASHED = "sha256:"
#: characters of an event id; a longer one is none of ours
MAX_EVENT_ID = 4_096
#: a number that Python's JSON does not read again
HUGE = 4_300
HUGE_NUMBER = re.compile(rf"(?<![0-9])[0-9]{{{HUGE + 1}}}")
HALF_A_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Cursor:
    """What an event id says."""

    number: int
    #: of the stream, in the store
    name: str
    #: what the ids of this request's events have besides
    tag: str


class _Replay:
    is_over = False
    live: EventSubscription | None = None
    #: what goes on as long as the replay does
    beside: asyncio.Task[None] | None = None


class EventStore(SDKEventStore):
    """The events of one session, for the transport that serves this session.

        await store.create_session(session_id=transport_session_id, principal="alice", status="active")
        events = EventStore(store, transport_session_id, principal="alice")

    Give each session an object of its own: the SDK names streams by request ids, which repeat from session to session.
    `mcp_sessions` does that for a whole server.

    Event ids look like `17.3f1c9a….7`, in visible ASCII: the session's number of the event, a check of session and
    stream, the stream (or its hash, where the contract takes no such name). An id of another session is unknown here,
    and an unknown id replays nothing.

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
        of an answer an error is stored, or who resumes would wait for it for ever.) To raise would end the SDK's
        routing of the whole session.

        A place to resume from is asked for before a request is dispatched; there it does raise, the client is answered
        500, and nothing was done.
        """
        if message is None:
            return await self._append(stream_id, "null", PRIMING)
        try:
            return await self._append(stream_id, _text_of(message))
        except Exception as error:
            self._logger.error(
                "A message of stream '%s' could not be stored and cannot be replayed: %s", stream_id[:64], error)
            answer = getattr(message, "root", message)
            if isinstance(answer, (JSONRPCResponse, JSONRPCError)) and not isinstance(error, ChildError):
                is_large = isinstance(error, (PayloadTooLarge, RequestTooLarge))
                await self._append_error(stream_id, answer.id, TOO_LARGE if is_large else NOT_KEPT)
            return ""

    async def _append_error(self, stream_id: StreamId, request_id: Any, message: str) -> None:
        """Stores an error as the answer to the stream's request, if that is possible."""
        refusal = {"code": INTERNAL_ERROR, "message": message}
        await self._append_if_possible(stream_id, encode({"jsonrpc": "2.0", "id": request_id, "error": refusal}))

    async def _append_if_possible(self, stream_id: StreamId, data: str) -> None:
        try:
            await self._append(stream_id, data)
        except StoreError as error:
            self._logger.error("Nor could what stands in its place: %s", error)

    async def _append(self, stream_id: StreamId, data: str, event_type: str = "message") -> EventId:
        """data: as JSON that an encoder wrote."""
        name = name_of(stream_id)
        params = Encoded(f'{self._session},{_place(name, event_type)},"data":{data}}}')
        known = self._newest_id
        try:
            number: int = (await self._store.call("store_event", params))["id"]
        except ChildError as error:
            if error.outcome != "unknown":
                raise
            # The process ended in the middle. When the store starts another one, that one knows whether it was done.
            page = await self._store.get_recent_events(self.session_id, stream_id=name, **self._owners)
            for event in page["events"]:
                # Two of PRIMING do no harm.
                if event["id"] > known and event_type != PRIMING and event["data"] == json.loads(data):
                    number = event["id"]
                    break
            else:
                number = (await self._store.call("store_event", params))["id"]
        self._newest_id = max(self._newest_id, number)
        # What `_event_id` says, without a cursor: one is made for each event that is stored.
        return f"{number}.{_mark(self.session_id, name, self._tag_of(stream_id))}"

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
        cursor = self.cursor_of(last_event_id)
        # From the event itself on, for it may be the answer that ended the stream.
        page = await self._read(cursor.name, cursor.number - 1, FIRST_PAGE) if cursor else None
        if cursor is None or page is None or cursor.number > page["newest_id"]:
            self._logger.info("Nothing to replay after the unknown event id '%s'.", last_event_id[:64])
            return None
        if not page["events"] or page["events"][0]["id"] != cursor.number:
            # It was evicted, which loses nothing by itself.
            page = await self._read(cursor.name, cursor.number, FIRST_PAGE)
        elif _is_answer(page["events"].pop(0)):
            return None
        mark = _mark(self.session_id, cursor.name, cursor.tag)  # of all of them
        async with aclosing(self._pages(cursor, page)) as pages:
            async for events in pages:
                events.reverse()
                while events:
                    # What is sent lives no longer: of what lives together Python looks for garbage more often.
                    event = events.pop()
                    if event["event_type"] in NOT_REPLAYED:
                        continue
                    message = _read_message(event["data"])
                    if message is None:
                        self._logger.error("Event %d of the session is no message, and is not replayed.", event["id"])
                        continue
                    await send_callback(EventMessage(message, f"{event['id']}.{mark}"))
                    if _is_answer(event):
                        return self._stream_of(cursor.name)
        return self._stream_of(cursor.name)

    def stream_of(self, event_id: EventId) -> StreamId | None:
        """The stream that an id of this session belongs to; None: it is none."""
        cursor = self.cursor_of(event_id)
        return None if cursor is None else self._stream_of(cursor.name)

    def is_replaying(self, stream_id: StreamId) -> bool:
        """Whether a connection that resumed the stream is being served by the store."""
        return name_of(stream_id) in self._replays

    def end_replay(self, stream_id: StreamId) -> None:
        """Ends a replay that goes on, as the SDK's `close_sse_stream` ends a connection that it serves itself."""
        self._end_replay(name_of(stream_id))

    def _end_replay(self, name: str) -> None:
        replay = self._replays.pop(name, None)
        if replay is not None:
            replay.is_over = True
            if replay.live is not None:
                self._store.spawn(replay.live.aclose())

    async def _read(self, name: str, after: int, limit: int) -> EventPage:
        return await self._store.get_events_after(
            self.session_id, after_event_id=after, stream_id=name, limit=limit, **self._owners)

    async def _pages(self, cursor: Cursor, page: EventPage) -> AsyncGenerator[list[Event], None]:
        """The events of the page and of those behind it, until one comes back empty: more may be stored meanwhile.

        Then, when following, what comes until the session ends or another replay takes the stream over.
        """
        name = cursor.name
        self._end_replay(name)
        replay = _Replay()
        if self._follow:
            self._replays[name] = replay
        ahead: asyncio.Task[EventPage] | None = None
        try:
            after = page["next_after"]
            while page["events"] or page["has_more"] or page["gap"]:
                self._tell_gap(name, page["gap"]["dropped"] if page["gap"] else 0)
                if page["has_more"]:
                    # The store reads the next page while this one is sent.
                    ahead = asyncio.Task(self._read(name, after, PAGE))
                    await asyncio.sleep(0)  # in which it is asked
                yield page["events"]
                page = await (ahead or self._read(name, after, PAGE))
                ahead = None
                after = page["next_after"]
            if not self._follow or replay.is_over:
                return
            replay.live = await self._store.subscribe_events(
                self.session_id, after_event_id=after, stream_id=name, **self._owners)
            if replay.is_over:  # meanwhile
                return
            await self._caught_up(cursor, replay)
            lost = 0
            async for event in replay.live:
                self._tell_gap(name, replay.live.lost - lost)
                lost = replay.live.lost
                yield [event]
        finally:
            if self._replays.get(name) is replay:
                del self._replays[name]
            if ahead is not None:
                ahead.cancel()
                ahead.add_done_callback(_let_go)
            if replay.beside is not None:
                replay.beside.cancel()
            if replay.live is not None:
                # Not here and now: whoever lost the connection is being cancelled and could not wait for the answer.
                self._store.spawn(replay.live.aclose())

    async def _caught_up(self, cursor: Cursor, replay: _Replay) -> None:
        """A replay has sent what there was, found no answer, and goes on with what is stored from here on."""

    def _tell_gap(self, name: str, dropped: int) -> None:
        if dropped:
            self._logger.warning(
                "A replay of stream '%s' has a hole: up to %d events are gone already.", name[:64], dropped)

    def _tag_of(self, stream_id: StreamId) -> str:
        """What the ids of the events of the stream's request have besides; `-` and letters and digits."""
        return ""

    def _stream_of(self, name: str) -> StreamId:
        """What the SDK calls the stream; of a name that is a hash, the name, where nobody knows more."""
        return name

    def _event_id(self, cursor: Cursor) -> EventId:
        return f"{cursor.number}.{_mark(self.session_id, cursor.name, cursor.tag)}"

    def cursor_of(self, event_id: EventId) -> Cursor | None:
        """What the id says; None when it is none of this session's."""
        if len(event_id) > MAX_EVENT_ID:
            return None
        number, _, rest = event_id.partition(".")
        check, _, quoted = rest.partition(".")
        if not (number.isascii() and number.isdigit() and len(number) < 16):
            return None
        cursor = Cursor(int(number), unquote(quoted), check[16:])
        return cursor if cursor.number and event_id == self._event_id(cursor) else None


def _let_go(ahead: asyncio.Task[EventPage]) -> None:
    """Nobody wants to know any more how it ended."""
    if not ahead.cancelled():
        ahead.exception()


def name_of(stream_id: StreamId) -> str:
    """What the store calls a stream: its own name, or where the contract takes none such, a hash."""
    if stream_id.isascii() and 0 < len(stream_id) <= NAME and not stream_id.startswith(HASHED):
        return stream_id  # as nearly all of them
    encoded = stream_id.encode("utf-8", "surrogatepass")
    if 0 < len(encoded) <= NAME and not stream_id.startswith(HASHED) and not HALF_A_PAIR.search(stream_id):
        return stream_id
    return HASHED + hashlib.sha256(encoded).hexdigest()


def request_id_of(name: str, *, is_text: bool = False) -> int | str | None:
    """The id of the request that a stream is named after, a number unless said otherwise where it looks like one.

    None: it is named after none, or nobody can know.
    """
    if name == GET_STREAM_KEY or name.startswith(HASHED):
        return None
    return int(name) if not is_text and looks_like_a_number(name) else name


def looks_like_a_number(stream_id: StreamId) -> bool:
    """Whether a request with a number for an id has a stream of this name."""
    return len(stream_id) < 4_300 and re.fullmatch("0|-?[1-9][0-9]*", stream_id) is not None


@lru_cache(maxsize=1_024)
def _mark(session_id: str, name: str, tag: str) -> str:
    """What all event ids of a request end with."""
    said = f"{session_id}\n{name}\n{tag}" if tag else f"{session_id}\n{name}"
    return f"{hashlib.sha256(said.encode()).hexdigest()[:16]}{tag}.{quote(name, safe='')}"


@lru_cache(maxsize=1_024)
def _place(name: str, event_type: str) -> str:
    """What the parameters of all events of a stream and type have in common."""
    return f'"stream_id":{encode(name)},"event_type":{encode(event_type)}'


def _text_of(message: JSONRPCMessage) -> str:
    """A message as JSON. Raises ValueError when it could not be read again.

    Half a surrogate pair, which the SDK's transport could not send either, becomes the replacement character in the
    message itself: so it reaches who is connected.
    """
    try:
        text = message.model_dump_json(by_alias=True, **_LEAVES_OUT)
    except ValueError:
        mend(getattr(message, "root", message))
        text = message.model_dump_json(by_alias=True, **_LEAVES_OUT)
    if len(text) > HUGE and HUGE_NUMBER.search(text):
        json.loads(text)
    return text


def mend(message: Any) -> None:
    """Replaces each half of a surrogate pair in what a message says."""
    for member in ("result", "params"):
        value = getattr(message, member, None)
        if isinstance(value, dict):
            value.update(_mended(value))
    error = getattr(message, "error", None)
    if error is not None:
        error.message, error.data = _mended(error.message), _mended(error.data)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return HALF_A_PAIR.sub("\ufffd", value) if HALF_A_PAIR.search(value) else value
    if isinstance(value, dict):
        return {_mended(key): _mended(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mended(each) for each in value]
    return value


def _read_message(data: Any) -> JSONRPCMessage | None:
    """None when it is none. To let pydantic try each kind of the union would take twice as long."""
    if not isinstance(data, dict):
        return None
    if "method" in data:
        read = _read_request if "id" in data else _read_notification
    else:
        read = _read_response if "result" in data else _read_error
    try:
        message: JSONRPCMessage = read(data)
    except ValueError:
        return None
    return _AROUND(message) if _AROUND else message


def _is_answer(event: Event) -> bool:
    """Whether the event is the answer that ends its stream: to the request whose id the stream has for a name."""
    data = event["data"]
    return isinstance(data, dict) and "method" not in data and "id" in data and (
        name_of(str(data["id"])) == event["stream_id"])
