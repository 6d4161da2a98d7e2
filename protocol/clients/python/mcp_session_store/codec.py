"""Payloads that the program keeps without being able to read them: encrypted, compressed, or both.

What is stored is legible JSON that names its codec, an *envelope*:

    {"$codec": "1/A256GCM+zstd", "key": "2026-11", "nonce": "…", "data": "…"}
"""

from __future__ import annotations

import base64
import binascii
import importlib
import os
import re
import secrets
import threading
import time
import uuid
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from .errors import CodecError
from .frames import frames_of
from .json_text import decode, encode
from .payloads import PARAMS, RESULTS, TOLD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Compression = Literal["auto", "zstd", "deflate"]
#: what a payload is bound to: the name of its place, and what says which one
Place = tuple["str | None", ...]

MARK = "$codec"
CIPHER = "A256GCM"
#: what says how a payload is kept; of a later version than this client's too
CODEC = re.compile(r"[1-9][0-9]{0,3}/[A-Za-z0-9]+(?:\+[a-z0-9]+)?")
KEY_ID = re.compile(r"[!-~]{1,64}")
KEY_BYTES = 32
NONCE_BYTES = 12
#: bytes; what is shorter is not worth the trouble
LEAST_TO_COMPRESS = 128
#: of both; beyond it, time buys little
LEVEL = 3
#: bytes of one payload, so that nobody's envelope can fill the memory of who opens it
MOST = 64 << 20
#: of a log entry, what the program reads, and so stays beside what it cannot
READ_OF_ENTRIES = ("message_id", "kind", "entry_kind", "received_at", "received_at_ms", "sender")
#: bytes of a sender that the program reads
LONGEST_SENDER = 1_024
#: places whose payloads are texts, and so are their envelopes
TEXTS = frozenset({"task.status_message", "task.error.message", "event_subscription.secret"})
#: places that take nothing but an object
OBJECTS = frozenset({"session.metadata", "log.entry"})
#: an event that went to many sessions at once is bound to none of them
BROADCAST = "broadcast"


class Codec:
    """Seals payloads on their way to the program, and opens them on their way back.

        store = Store("sessions.db", codec=Codec({"2026-11": key}))

    Each payload is bound to its place (session and key, task, handle): one that is moved elsewhere in the file does not
    open. What was stored without a codec stays readable.

    keys: by the id that envelopes name: 32 bytes each, or their base64. Without any, payloads are compressed only.
    write: the id of the key that payloads are sealed with; needed where there is more than one.
    compression: `auto` is zstd where this Python has it and else deflate; None: off. What does not shrink stays as it
        is. Lengths tell something of what was compressed: see the page on keys.
    accept_plain: whether payloads that no key protects are read; refuse them once everything was rotated.
    """

    def __init__(
        self, keys: Mapping[str, bytes | str] | None = None, *, write: str | None = None,
        compression: Compression | None = "auto", accept_plain: bool = True,
    ) -> None:
        self._ciphers = {key_id: cipher_of(key_id, key) for key_id, key in (keys or {}).items()}
        if write is None and len(self._ciphers) > 1:
            raise ValueError(f"write: say which key seals: {', '.join(self._ciphers)}.")
        if write is not None and write not in self._ciphers:
            raise ValueError(f"write: there is no key '{write}' among {', '.join(self._ciphers) or 'none'}.")
        self._write = write if write is not None else next(iter(self._ciphers), None)
        if compression not in ("auto", "zstd", "deflate", None):
            raise ValueError(f"compression: auto, zstd, deflate or None is expected, not {compression!r}.")
        if compression == "zstd" and zstd() is None:
            raise ValueError(f"compression: {NO_ZSTD}")
        self._zip = ("deflate" if zstd() is None else "zstd") if compression == "auto" else compression
        if self._write is None and self._zip is None:
            raise ValueError("A codec without keys and without compression does nothing: leave it out.")
        if self._write is None and not accept_plain:
            raise ValueError("accept_plain: without keys, nothing else is ever stored.")
        self._accepts_plain = accept_plain

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The keys that it can read with."""
        return tuple(self._ciphers)

    @property
    def write(self) -> str | None:
        """The id of the key that it seals with; None: it compresses only."""
        return self._write

    # One payload

    def seal(self, value: Any, place: Place) -> Any:
        """The envelope of a payload, or the payload itself where it stays as it is. Raises CodecError, and what
        `encode` raises."""
        text = encode(value).encode("utf-8", "backslashreplace")
        if self._write is not None:
            return self._sealed(text, beside(value, place), place)
        name, packed = self._packed(text)
        if name:
            envelope = {**beside(value, place), MARK: f"1/{name}", "data": base64_of(packed)}
            if len(encode(envelope)) < len(text):
                return in_its_form(envelope, place)
        looks_like_one = codec_of(value) is not None
        if place[0] in TEXTS and isinstance(value, str):
            looks_like_one = envelope_in(value) is not None
        if looks_like_one:  # and is none
            return in_its_form({**beside(value, place), MARK: "1/plain", "data": value}, place)
        return value

    def _sealed(self, text: bytes, envelope: dict[str, Any], place: Place) -> Any:
        """envelope: what stands in it for the program to read."""
        if len(text) > MOST:
            raise CodecError(f"A payload has {len(text)} bytes, and a codec takes {MOST}.", "too_large")
        assert self._write is not None
        name, packed = self._packed(text)
        codec = f"1/{CIPHER}+{name}" if name else f"1/{CIPHER}"
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._write].encrypt(nonce, packed, bound(codec, self._write, place))
        envelope = {**envelope, MARK: codec, "key": self._write}
        if place[0] == BROADCAST:
            envelope["place"] = BROADCAST
        envelope["nonce"] = base64_of(nonce)
        envelope["data"] = base64_of(sealed)
        return in_its_form(envelope, place)

    def _packed(self, text: bytes) -> tuple[str, bytes]:
        """The name of what it was compressed with, which is empty where it was not, and the bytes."""
        if self._zip is not None and len(text) >= LEAST_TO_COMPRESS:
            packed = pack(self._zip, text)
            if len(packed) < len(text):
                return self._zip, packed
        return "", text

    def open(self, stored: Any, place: Place) -> Any:
        """The payload of what was stored at the place. Raises CodecError."""
        text = self._text_in(stored, place)
        return read(text) if isinstance(text, bytes) else text

    def _text_in(self, stored: Any, place: Place) -> Any:
        """The payload as JSON, bytes; or itself, where it is stored as it is."""
        envelope = envelope_in(stored) if place[0] in TEXTS and isinstance(stored, str) else stored
        codec = codec_of(envelope)
        if codec is None:
            return self._plain(stored, place)
        version, _, kind = codec.partition("/")
        cipher, _, name = kind.partition("+")
        if version != "1" or cipher not in (CIPHER, "plain", "zstd", "deflate"):
            raise CodecError(
                f"The payload was stored with the codec '{codec}', which this client does not know: use a newer one.",
                "unknown_codec")
        if cipher == "plain":
            return self._plain(envelope["data"], place)
        data = bytes_of(envelope["data"])
        if cipher != CIPHER:
            self._plain(stored, place)
            return unpack(cipher, data)
        return unpack(name, self._decrypted(envelope, codec, data, place))

    def _decrypted(self, envelope: dict[str, Any], codec: str, data: bytes, place: Place) -> bytes:
        key_id = envelope["key"]
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise CodecError(
                f"The payload is encrypted with the key '{key_id}', which this codec does not have; it has "
                f"{', '.join(self._ciphers) or 'none'}.", "unknown_key", key_id)
        if envelope.get("place") == BROADCAST and place[0] == "event.data":
            place = (BROADCAST, place[-1])
        elif place[0] == "log.entry":
            place = (*place[:2], *read_of(envelope))
        try:
            opened: bytes = cipher.decrypt(bytes_of(envelope["nonce"]), data, bound(codec, key_id, place))
        except Exception as error:
            if type(error).__name__ not in ("InvalidTag", "ValueError"):
                raise
            raise CodecError(
                f"The payload does not open with the key '{key_id}': it was encrypted with another key of that id, or "
                "the payload was changed, or moved here from elsewhere.", "wrong_key", key_id) from None
        return opened

    def _plain(self, stored: Any, place: Place) -> Any:
        # The program makes {} for what was never given, and says some texts itself.
        if not self._accepts_plain and stored != {} and place[0] not in TEXTS:
            raise CodecError(
                "The payload is not encrypted, and this codec accepts no other: it was stored without a key, or put "
                "there by somebody who has none.", "plain")
        return stored

    def is_current(self, stored: Any, place: Place) -> bool:
        """Whether a payload is under the key that it would be sealed with today."""
        return stored is None or stored == {} or (
            self._write is not None and key_of(stored) == self._write and not is_loose(stored, place))

    def seal_again(self, stored: Any, place: Place) -> Any:
        """What was stored at the place as it would be today, the payload byte for byte. Raises CodecError."""
        text = self._text_in(stored, place)
        if place[0] != "log.entry":
            return self.seal(text, place) if not isinstance(text, bytes) else self._again(text, {}, place)
        kept = stored if isinstance(text, bytes) else text
        place = (*place[:2], *read_of(kept))
        return self._again(text, beside(kept, place), place) if isinstance(text, bytes) else self.seal(text, place)

    def _again(self, text: bytes, envelope: dict[str, Any], place: Place) -> Any:
        return self._sealed(text, envelope, place) if self._write is not None else self.seal(read(text), place)

    # The payloads of a call

    def sealed(self, method: str, params: Mapping[str, Any]) -> tuple[Mapping[str, Any], Callable[[Any], Any] | None]:
        """The parameters as they are sent, and what opens the result, where there is something to open.

        Raises CodecError and what `encode` raises.
        """
        if method == "transaction":
            return self._sealed_calls(params)
        plan = PARAMS.get(method)
        if plan is not None:
            params = with_id(method, params)
            params = walk(params, plan, (), [], self._seal_at, copies=True)
        opens = RESULTS.get(method)
        form = params.get("format") if opens is not None else None
        if form in ("sse", "sse_typed"):
            # The program would write envelopes into the frames.
            params = {**params, "format": "json"}
        if opens is None:
            return params, None

        def opened(result: Any) -> Any:
            result = self._open_all(result, opens, params)
            return frames_of(result, is_typed=form == "sse_typed") if form in ("sse", "sse_typed") else result

        return params, opened

    def _sealed_calls(
        self, params: Mapping[str, Any],
    ) -> tuple[Mapping[str, Any], Callable[[Any], Any] | None]:
        calls = params.get("calls")
        if not isinstance(calls, (list, tuple)):
            return params, None
        made: list[Any] = []
        openers: list[Callable[[Any], Any] | None] = []
        for call in calls:
            method, given = (call.get("method"), call.get("params")) if isinstance(call, dict) else (None, None)
            if not isinstance(method, str) or method == "transaction" or not isinstance(given, (dict, type(None))):
                made.append(call)  # which the program refuses
                openers.append(None)
                continue
            inner, opens = self.sealed(method, given or {})
            made.append(call if given is None and not inner else {**call, "params": inner})
            openers.append(opens)

        def opened(result: Any) -> Any:
            results = result.get("results") if isinstance(result, dict) else None
            if not isinstance(results, list):
                return result
            failed: list[CodecError] = []
            for number, opens in enumerate(openers[:len(results)]):
                try:
                    results[number] = opens(results[number]) if opens is not None else results[number]
                except CodecError as error:
                    results[number] = error.result
                    failed.append(error.at(f"results[{number}]"))
            if failed:
                raise failed[0].beside(failed[1:], result)
            return result

        return {**params, "calls": made}, opened

    def _seal_at(self, value: Any, place: str, key: str | None, around: Sequence[Any], path: list[str]) -> Any:
        expected = dict if place in OBJECTS else str if place in TEXTS else object
        if not isinstance(value, expected):
            return value  # which the program refuses
        at = place_of(place, key, around)
        if place == "log.entry":
            at = (*at, *read_of(value))
        return self.seal(value, at)

    def told(self, kind: str, record: Any, around: Mapping[str, Any]) -> Any:
        """An `Event` or a `Task` that a subscription was told, opened; `around`: what was subscribed to."""
        return self._open_all(dict(record), TOLD[kind], around)

    def _open_all(self, result: Any, plan: Any, params: Mapping[str, Any]) -> Any:
        failed: list[CodecError] = []

        def opened(value: Any, place: str, key: str | None, around: Sequence[Any], path: list[str]) -> Any:
            try:
                return self.open(value, place_of(place, key, around))
            except CodecError as error:
                failed.append(error.at("".join(path)[1:]))
                return value

        result = walk(result, plan, (params,), [], opened)
        if failed:
            raise failed[0].beside(failed[1:], result)
        return result

    # Records as the file has them

    def records(self) -> RecordReader:
        """Reads what `export_user_data` hands out, and the lines of a dump, in their order."""
        return RecordReader(self)


class RecordReader:
    """Opens records of `export_user_data` or of a dump, one after the other: sessions and tasks stand before what
    belongs to them, which names them by number."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._sessions: dict[int, str] = {}
        self._tasks: dict[int, str] = {}

    def open(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record with its payloads opened. Raises CodecError; the next one can be read."""
        kind, columns = next(iter(record.items()), ("", None))
        if not isinstance(columns, dict):
            return record
        if kind == "session":
            self._sessions[columns["number"]] = columns["session_id"]
        elif kind == "task":
            self._tasks[columns["number"]] = columns["task_id"]
        names = {
            "session_id": columns.get("session_id") or self._sessions.get(columns.get("session", 0), ""),
            "task_id": columns.get("task_id") or self._tasks.get(columns.get("task", 0), ""),
        }
        opened = dict(columns)
        for column, place in COLUMNS.get(kind, {}).items():
            if columns.get(column) is not None:
                opened[column] = self._opened(columns[column], place, {**columns, **names})
        if kind == "task":
            opened |= self._codec.told("Task", {name: columns.get(name) for name in TOLD["Task"]}, names)
        elif kind == "task_payload":
            opened["payload"] = self._codec.told(
                "Task", {columns["field"]: columns["payload"]}, names)[columns["field"]]
        return {kind: opened}

    def _opened(self, value: Any, place: str, columns: dict[str, Any]) -> Any:
        if place == "value.value":
            columns = {**columns, **{name: columns[name] or None for name in ("tenant_id", "principal")}}
        return self._codec.open(value, place_of(place, columns.get("key"), (columns,)))


#: the columns of records that are payloads, and their places
COLUMNS: dict[str, dict[str, str]] = {
    "session": {name: f"session.{name}" for name in ("client_capabilities", "server_capabilities", "metadata")},
    "state": {"value": "session.state"},
    "event": {"data": "event.data"},
    "log_entry": {"entry": "log.entry"},
    "task_message": {"message": "task.message"},
    "value": {"value": "value.value"},
    "event_subscription": {"data": "event_subscription.data", "secret": "event_subscription.secret",
                           "previous_secret": "event_subscription.secret"},
    "work": {"payload": "work.payload"},
}


# Places


def place_of(place: str, key: str | None, around: Sequence[Mapping[str, Any]]) -> Place:
    """What a payload is bound to, from what stands around it."""
    noun = place.partition(".")[0]
    if noun == "event":
        event = around[0]
        event_type = event.get("event_type") or "message"
        session_id = named("session_id", around)
        return (BROADCAST, event_type) if session_id is None else (
            place, session_id, event.get("stream_id"), event_type)
    if noun == "value":
        params = around[-1]
        return place, params.get("tenant_id"), params.get("principal"), params.get("collection"), named("key", around)
    if noun == "event_subscription":
        return place, named("subscription_id", around) or named("key", around)
    if noun == "work":
        # In a list of all payloads they stand under the names that values have.
        queue, work_id = named("queue", around), named("work_id", around)
        return place, queue or named("collection", around), work_id or named("key", around)
    if place == "session.state":
        return place, named("session_id", around), key if key is not None else named("key", around)
    if place in ("task.input_requests", "task.input_responses"):
        return place, named("task_id", around), key
    return place, named("task_id" if noun == "task" else "session_id", around)


def named(name: str, around: Sequence[Mapping[str, Any]]) -> str | None:
    """What the nearest of them that has a name says."""
    return next((each[name] for each in around if each.get(name) is not None), None)


def bound(codec: str, key_id: str, place: Place) -> bytes:
    """The associated data: each part with its length before it, so that no two lists become one text."""
    parts = ["mcp-session-store", codec, key_id, *place]
    return b"".join(
        b"~," if part is None else b"%d:%b," % (len(text := bytes_in(part)), text) for part in parts)


def bytes_in(part: Any) -> bytes:
    """What goes over the wire of it, whatever type of text or number it is here."""
    return (part if isinstance(part, str) else encode(part)).encode("utf-8", "surrogatepass")


def with_id(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is made gets its id here, where payloads are to be bound to it."""
    name = {"create_session": "session_id", "create_task": "task_id"}.get(method)
    if name is None or params.get(name) is not None:
        return params
    made = uuid7() if params.get("id_format") == "uuid" else secrets.token_urlsafe(32)
    return {**{each: value for each, value in params.items() if each != "id_format"}, name: made}


def uuid7() -> str:
    """A UUID of version 7."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62))


def walk(
    node: Any, plan: Any, around: tuple[Any, ...], path: list[str],
    visit: Callable[[Any, str, str | None, Sequence[Any], list[str]], Any], *, copies: bool = False,
) -> Any:
    """Puts in the place of each payload what `visit` makes of it; null is none. With `copies`, in a copy."""
    if isinstance(plan, str):
        return node if node is None else visit(node, plan, None, around, path)
    if isinstance(plan, list):
        if not isinstance(node, (list, tuple)):
            return node
        entries = list(node)
        for number, entry in enumerate(entries):
            path.append(f"[{number}]")
            entries[number] = walk(entry, plan[0], around, path, visit, copies=copies)
            path.pop()
        return entries
    if not isinstance(node, dict):
        return node
    every = plan.get("*")
    if every is not None and not all(isinstance(name, str) for name in node):
        node = decode(encode(node).encode("utf-8", "surrogatepass"))  # numbers for names, as JSON writes them
    if copies:
        node = dict(node)
    names: Iterable[Any] = list(node) if every is not None else plan
    inner = around if every is not None else (node, *around)
    for name in names:
        value = node.get(name)
        if value is None:
            continue
        path.append(f".{name}")
        if every is not None:
            node[name] = visit(value, every, name, inner, path)
        else:
            node[name] = walk(value, plan[name], inner, path, visit, copies=copies)
        path.pop()
    return node


# Envelopes


def key_of(stored: Any) -> str:
    """The id of the key that a payload is under; empty for none."""
    envelope = envelope_in(stored) if isinstance(stored, str) else stored
    codec = codec_of(envelope)
    return str(envelope["key"]) if codec is not None and codec.partition("/")[2].startswith(CIPHER) else ""


def is_loose(stored: Any, place: Place) -> bool:
    """Whether it is bound to no session, where it could be by now."""
    return place[0] == "event.data" and stored.get("place") == BROADCAST


def codec_of(stored: Any) -> str | None:
    """The codec that an envelope names; None: it is none."""
    if not isinstance(stored, dict):
        return None
    codec = stored.get(MARK)
    if not isinstance(codec, str) or not CODEC.fullmatch(codec) or "data" not in stored:
        return None
    kind = codec.partition("/")[2]
    if kind == "plain":
        return codec
    members = ("data", "key", "nonce") if kind.startswith(CIPHER) else ("data",)
    return codec if all(isinstance(stored.get(member), str) for member in members) else None


def envelope_in(text: str) -> Any:
    """The envelope that a text is; None: it is none."""
    if not text.startswith("{") or f'"{MARK}"' not in text:
        return None
    try:
        envelope = decode(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return None
    return envelope if codec_of(envelope) is not None else None


def in_its_form(envelope: dict[str, Any], place: Place) -> Any:
    return encode(envelope) if place[0] in TEXTS else envelope


def beside(value: Any, place: Place) -> dict[str, Any]:
    """What stands in an envelope for the program to read."""
    if place[0] != "log.entry":
        return {}
    return {name: value[name] for name in READ_OF_ENTRIES if is_read(name, value.get(name))}


def read_of(entry: Any) -> tuple[Any, ...]:
    """The same, as a log entry is bound to it."""
    values = [entry.get(name) if isinstance(entry, dict) else None for name in READ_OF_ENTRIES]
    return tuple(value if is_read(name, value) else None for name, value in zip(READ_OF_ENTRIES, values, strict=True))


def is_read(name: str, value: Any) -> bool:
    if name == "sender":
        return isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) <= LONGEST_SENDER
    return value is not None


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def bytes_of(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CodecError("The payload's envelope is damaged: it holds no base64.", "damaged") from None


# Keys and compression


def cipher_of(key_id: str, key: bytes | str) -> Any:
    """Raises ValueError, and ImportError where the library is not installed."""
    if not isinstance(key_id, str) or not KEY_ID.fullmatch(key_id):
        raise ValueError(f"keys: 1 to 64 visible ASCII characters are expected for an id, not {key_id!r}.")
    if isinstance(key, str):
        try:
            key = base64.b64decode(key.replace("-", "+").replace("_", "/") + "=" * (-len(key) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"keys: the key '{key_id}' is no base64.") from None
    if not isinstance(key, (bytes, bytearray)) or len(key) != KEY_BYTES:
        raise ValueError(f"keys: the key '{key_id}' must have {KEY_BYTES} bytes.")
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as missing:
        raise ImportError(
            f"A codec with keys needs cryptography: 'pip install mcp-session-store[codec]'. ({missing})") from missing
    return AESGCM(bytes(key))


NO_ZSTD = "zstd needs Python 3.14, or zstandard: 'pip install mcp-session-store[codec]'."


@cache
def zstd() -> Any:
    """The module that has zstd: Python's own since 3.14, else the package; None: neither is there."""
    for name in ("compression.zstd", "zstandard"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


class _Contexts(threading.local):
    """Of the package zstandard; one serves one thread at a time."""

    def __init__(self) -> None:
        self.compressor: Any = zstd().ZstdCompressor(level=LEVEL)
        self.decompressor: Any = zstd().ZstdDecompressor()


@cache
def contexts() -> _Contexts | None:
    """None: it is Python's own."""
    return _Contexts() if zstd().__name__ == "zstandard" else None


def pack(name: str, text: bytes) -> bytes:
    if name == "zstd":
        own = contexts()
        packed: bytes = zstd().compress(text, level=LEVEL) if own is None else own.compressor.compress(text)
        return packed
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(text) + compressor.flush()


def pieces(more: Callable[[], bytes]) -> Iterator[bytes]:
    """Pieces until there is none, or they are more than anybody should have."""
    size = 0
    while size <= MOST and (piece := more()):
        size += len(piece)
        yield piece


def read(text: bytes) -> Any:
    """The payload as JSON. Raises CodecError."""
    try:
        return decode(text)
    except ValueError as error:
        raise CodecError(f"The payload's envelope is damaged: it holds no JSON ({error}).", "damaged") from None


def unpack(name: str, packed: bytes) -> bytes:
    """At most so many bytes, whatever the data claims. Raises CodecError."""
    if not name:
        return packed
    if name not in ("zstd", "deflate"):
        raise CodecError(
            f"The payload was compressed with '{name}', which this client does not know: use a newer one.",
            "unknown_codec")
    if name == "zstd" and zstd() is None:
        raise CodecError(f"The payload was compressed with zstd, which is missing here: {NO_ZSTD}", "missing_library")
    try:
        if name == "deflate":
            text = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, MOST + 1)
        elif (own := contexts()) is None:
            text = zstd().ZstdDecompressor().decompress(packed, max_length=MOST + 1)
        else:
            with own.decompressor.stream_reader(packed) as reader:
                text = b"".join(pieces(lambda: reader.read(1 << 16)))
    except Exception as error:
        raise CodecError(f"The payload's envelope is damaged: {name} cannot read it ({error}).", "damaged") from None
    if len(text) > MOST:
        raise CodecError(f"The payload has more than {MOST} bytes, which is what a codec takes.", "too_large")
    return text
