"""Putting all payloads of a store under the key that a codec seals with now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .codec import TEXTS, key_of, place_of, walk
from .errors import CodecError, RequestError
from .json_text import decode, encode
from .payloads import TOLD

if TYPE_CHECKING:
    from collections.abc import Callable

    from .codec import Codec
    from .store import Store

#: payloads of a page, and of a call that replaces some
PAGE = 100
#: bytes of such a call, unless one payload alone has more
MOST_BYTES = 1 << 20


@dataclass
class Rotation:
    """How far a rotation is, and what it found."""

    #: payloads that were looked at
    seen: int = 0
    #: those that were sealed anew
    sealed: int = 0
    #: those that somebody changed or deleted meanwhile, which the next round looks at
    missed: int = 0
    #: payloads by the key that they are under now; `""`: none
    keys: Counter[str] = field(default_factory=Counter)
    #: what does not open, and stays as it is
    unreadable: list[CodecError] = field(default_factory=list)
    #: where to go on; None: at the beginning, or it is done
    cursor: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left under another key: then that one may go, unless somebody still seals with it."""
        return not self.missed and not self.unreadable


async def rotate(
    store: Store, codec: Codec | None, cursor: str | None, on_page: Callable[[Rotation], object] | None, rounds: int,
) -> Rotation:
    """What `Store.rotate` does."""
    assert codec is not None
    for number in range(max(1, rounds)):
        found = await _round(store, codec, cursor if number == 0 else None, on_page)
        if not found.missed:
            break
    return found


async def _round(
    store: Store, codec: Codec, cursor: str | None, on_page: Callable[[Rotation], object] | None,
) -> Rotation:
    done = Rotation(cursor=cursor)
    while True:
        params = {"limit": PAGE} if done.cursor is None else {"limit": PAGE, "cursor": done.cursor}
        try:
            page = await store.call("list_payloads", params)
        except RequestError as error:
            # One payload that no answer holds does not bring it to a stand.
            if error.kind != "payload_too_large" or "next_cursor" not in error.data:
                raise
            page = {"payloads": [], "next_cursor": error.data["next_cursor"]}
            done.unreadable.append(CodecError(str(error), "too_large"))
        changes: list[dict[str, str]] = []
        size = 0
        for payload in page["payloads"]:
            done.seen += 1
            replacement = _resealed(codec, payload, done)
            if replacement is None:
                continue
            changes.append({"ref": payload["ref"], "text": payload["text"], "replacement": replacement})
            size += len(payload["text"]) + len(replacement)
            if size > MOST_BYTES:
                await _replace(store, changes, done)
                changes, size = [], 0
        await _replace(store, changes, done)
        done.cursor = page["next_cursor"]
        if on_page is not None:
            on_page(done)
        if done.cursor is None:
            return done


async def _replace(store: Store, changes: list[dict[str, str]], done: Rotation) -> None:
    if not changes:
        return
    try:
        result = await store.call("replace_payloads", {"changes": changes})
    except RequestError as error:
        if error.kind != "payload_too_large":
            raise
        if len(changes) > 1:
            for change in changes:
                await _replace(store, [change], done)
        else:  # sealed, it is larger
            done.unreadable.append(CodecError(f"{changes[0]['ref']}: {error}", "too_large"))
        return
    done.sealed += result["replaced"]
    done.missed += len(result["missed"])


def _resealed(codec: Codec, payload: dict[str, Any], done: Rotation) -> str | None:
    """The payload's text as it is to be; None: as it is."""
    place, text = payload["place"], payload["text"]
    is_text = place in TEXTS
    stored = text if is_text else decode(text.encode())
    made_anew = 0

    def resealed(value: Any, place: str, key: str | None, around: Any, path: list[str]) -> Any:
        nonlocal made_anew
        at = place_of(place, key, around)
        if value is None or value == {}:
            return value
        if codec.is_current(value, at):
            done.keys[key_of(value)] += 1
            return value
        try:
            sealed = codec.seal_again(value, at)
        except CodecError as error:
            done.unreadable.append(error.at(f"{payload['ref']} {'.'.join(filter(None, map(str, at)))}"))
            done.keys[key_of(value)] += 1
            return value
        done.keys[key_of(sealed)] += 1
        made_anew += sealed != value
        return sealed

    plan, name = TOLD["Task"].get(place.removeprefix("task.")), place.removeprefix("task.")
    if place.startswith("task.") and plan is not None:
        result = walk({name: stored}, {name: plan}, (payload,), [], resealed)[name]
    else:
        result = resealed(stored, place, payload["key"], (payload,), [])
    if not made_anew:
        return None
    return str(result) if is_text else encode(result)
