"""The store's values as a store of py-key-value, where FastMCP keeps session state, responses and OAuth state."""

from __future__ import annotations

import asyncio
import hashlib
import math
from typing import TYPE_CHECKING, Any

try:
    # The names of collections and keys, and the form of an entry, have no public place in the library.
    from key_value.aio._utils.sanitization import SanitizationStrategy
    from key_value.aio.errors import SerializationError, ValueTooLargeError
    from key_value.aio.stores.base import BaseCullStore, BaseDestroyCollectionStore, BaseEnumerateKeysStore
except ImportError as missing:
    raise ImportError(
        "KeyValueStore needs py-key-value-aio and was tried with 0.4.6: 'pip install py-key-value-aio==0.4.6'. "
        f"Without it, the store's own values work as ever. ({missing})") from missing

from .contract import PayloadTooLarge
from .errors import RequestError, RequestTooLarge
from .store import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from key_value.aio._utils.managed_entry import ManagedEntry

    from .contract import ListValuesResult, TransactionCalls
    from .store import Store

#: calls that one transaction takes
TRANSACTION = 1_000
#: bytes of a name in the contract
NAME = 1_024
#: what a name begins with that is the hash of another
HASHED = "sha256:"
#: entries of a page
PAGE = 1_000
#: bytes of a line around the calls of a transaction, at most
ENVELOPE = 1_000
#: keys that are listed when nobody says how many, as other stores of the library have it
KEYS = 10_000


class NameStrategy(SanitizationStrategy):
    """Any text as a name that the contract takes: 1 to 1,024 bytes of UTF-8.

    A name that fits stays as it is. Others become `sha256:` and their hash, and so do names that begin like that, so
    that no two become one and none is refused.
    """

    def sanitize(self, value: str) -> str:
        encoded = value.encode("utf-8", "surrogatepass")
        if 0 < len(encoded) <= NAME and not is_hashed(value) and is_utf8(encoded):
            return value
        return HASHED + hashlib.sha256(encoded).hexdigest()

    def validate(self, value: str) -> None:
        """Every name will do."""


class KeyValueStore(BaseEnumerateKeysStore, BaseDestroyCollectionStore, BaseCullStore):
    """Keeps what FastMCP and others keep by collection and key, in the file of a `Store`.

        store = Store("sessions.db")
        server = FastMCP("notes", session_state_store=KeyValueStore(store))
        server.add_middleware(ResponseCachingMiddleware(cache_storage=KeyValueStore(store)))

    It implements `AsyncKeyValue` with `keys`, `destroy_collection` and `cull`; the contract has no list of collections.
    What is written has the library's own form, so an entry also holds its unhashed key and its times. One that is over
    the program's --max-payload-bytes (1 MiB) is a ValueTooLargeError. FastMCP's cache lets through as much, and then
    fails the request: give it a `max_item_size` of 1,000,000, or the program a higher limit.

    store: opens itself with the first call and stays yours to close.
    default_collection: for calls that name none.
    tenant_id, principal: whose values these are; values of others are out of reach. None: of nobody.
    """

    def __init__(
        self, store: Store, *, default_collection: str | None = None, tenant_id: str | None = None,
        principal: str | None = None,
    ) -> None:
        self._store = store
        self._owners = {"tenant_id": tenant_id, "principal": principal}
        super().__init__(
            default_collection=default_collection, key_sanitization_strategy=NameStrategy(),
            collection_sanitization_strategy=NameStrategy(), stable_api=True)

    async def _get_managed_entry(self, *, collection: str, key: str) -> ManagedEntry | None:
        found = await self._store.call("get_value", self._name(collection, key))
        return self._serialization_adapter.load_dict(found["value"]) if found["exists"] else None

    async def _get_managed_entries(self, *, collection: str, keys: Sequence[str]) -> list[ManagedEntry | None]:
        # Written together, but answered one by one, for together they may be more than one answer holds.
        return list(await asyncio.gather(*(self._get_managed_entry(collection=collection, key=key) for key in keys)))

    async def _put_managed_entry(self, *, collection: str, key: str, managed_entry: ManagedEntry) -> None:
        await self._write("put_value", self._entry(collection, key, managed_entry))

    async def _put_managed_entries(
        self, *, collection: str, keys: Sequence[str], managed_entries: Sequence[ManagedEntry], ttl: float | None,
        created_at: datetime, expires_at: datetime | None,
    ) -> None:
        """All or none, as long as they are at most 1,000 and fit into one line of the store; else several such."""
        await self._transact([
            {"method": "put_value", "params": self._entry(collection, key, entry)}
            for key, entry in zip(keys, managed_entries, strict=True)])

    async def _delete_managed_entry(self, *, key: str, collection: str) -> bool:
        deleted: bool = (await self._store.call("delete_value", self._name(collection, key)))["deleted"]
        return deleted

    async def _delete_managed_entries(self, *, keys: Sequence[str], collection: str) -> int:
        return await self._transact(
            [{"method": "delete_value", "params": self._name(collection, key)} for key in keys])

    async def _get_collection_keys(self, *, collection: str, limit: int | None = None) -> list[str]:
        """The keys in the order in which they were first put; 10,000 of them when `limit` is None."""
        keys: list[str] = []
        limit = KEYS if limit is None else limit
        cursor = None
        while len(keys) < limit:
            page = await self._list(collection, limit - len(keys), cursor)
            keys += [each["value"]["key"] if is_hashed(each["key"]) else each["key"] for each in page["values"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return keys

    async def _delete_collection(self, *, collection: str) -> bool:
        deleted = 0
        while values := (await self._list(collection, TRANSACTION))["values"]:
            name = {**self._owners, "collection": self._sanitize_collection(collection)}
            deleted += await self._transact(
                [{"method": "delete_value", "params": {**name, "key": each["key"]}} for each in values])
        return deleted > 0

    async def _cull(self) -> None:
        """Removes at once what has lapsed, of all kinds and owners; it happens by itself every minute as well."""
        while (await self._store.maintenance())["has_more"]:
            pass

    # What goes over the wire

    def _name(self, collection: str, key: str) -> dict[str, Any]:
        collection, key = self._sanitize_collection_and_key(collection, key)
        return {"collection": collection, "key": key, **self._owners}

    def _entry(self, collection: str, key: str, entry: ManagedEntry) -> dict[str, Any]:
        # What reads goes by the entry's own time; the store's, which is never earlier, lets the row be removed.
        ttl = {} if entry.ttl is None else {"ttl": max(1, math.ceil(entry.ttl * 1_000))}
        return {
            **self._name(collection, key), "value": self._serialization_adapter.dump_dict(entry, key=key), **ttl,
        }

    async def _list(self, collection: str, limit: int, cursor: str | None = None) -> ListValuesResult:
        result: ListValuesResult = await self._store.call("list_values", {
            "collection": self._sanitize_collection(collection), "cursor": cursor, "limit": min(limit, PAGE),
            **self._owners,
        })
        return result

    async def _write(self, method: str, params: dict[str, Any]) -> Any:
        try:
            return await self._store.call(method, params)
        except (RequestTooLarge, PayloadTooLarge) as error:
            limit = self._store.info["limits"]["max_payload_bytes"]
            raise ValueTooLargeError(size_of(params), limit, params.get("collection"), params.get("key")) from error
        except RequestError as error:
            if error.kind == "parse_error":  # JSON that has too many levels
                raise SerializationError(str(error)) from error
            raise
        except (TypeError, ValueError, RecursionError) as error:
            raise SerializationError(f"The value is no JSON: {error}") from error

    async def _transact(self, calls: list[TransactionCalls]) -> int:
        """Makes the calls in as few transactions as hold them; returns how many deleted something."""
        if self._store.state != "ready":
            await self._store.server_info()  # the limits are known then
        deleted = 0
        for some in list(split(calls, self._store.info["limits"]["max_line_bytes"] - ENVELOPE)):
            results = (await self._write("transaction", {"calls": some}))["results"]
            deleted += sum(result.get("deleted", False) for result in results)
        return deleted


def split(calls: list[TransactionCalls], room: int) -> Iterator[list[TransactionCalls]]:
    """The calls in groups of at most 1,000 and at most `room` bytes; a call that is larger stands alone."""
    some: list[TransactionCalls] = []
    size = 0
    for call in calls:
        more = size_of(call) + 1
        if some and (len(some) == TRANSACTION or size + more > room):
            yield some
            some, size = [], 0
        some.append(call)
        size += more
    if some:
        yield some


def size_of(value: Any) -> int:
    """Bytes that it takes on the wire."""
    try:
        return len(encode(value).encode("utf-8", "backslashreplace"))
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(f"The value is no JSON: {error}") from error


def is_hashed(name: str) -> bool:
    """Whether the name stands for one that the contract does not take."""
    return name.startswith(HASHED)


def is_utf8(encoded: bytes) -> bool:
    """False for half a surrogate pair, which a Python string can hold."""
    try:
        encoded.decode()
    except UnicodeDecodeError:
        return False
    return True
