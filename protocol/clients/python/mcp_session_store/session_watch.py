"""Tells when a session is over, for whoever serves it for longer than a moment."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypedDict

from .contract import InvalidSessionStatus, SessionExpired, SessionNotFound
from .errors import StoreError
from .unset import Unset

if TYPE_CHECKING:
    from .store import Store
    from .subscription import EventSubscription

#: seconds after which a request is served for so long that its session is watched; most are over before
WATCH_AFTER = 0.25
#: seconds between two looks at a session that cannot be subscribed to
POLL = 0.5
#: of its inactivity timeout, after which a session in use is touched
TOUCH_AFTER = 0.25
#: a stream on which nothing is ever stored: who subscribes to it is told of the end of the session alone
NO_STREAM = "mcp-session-store/none"

logger = logging.getLogger("mcp_session_store")


class Owners(TypedDict):
    """For whom calls are made; left out: for the server itself."""

    tenant_id: str | None | Unset
    principal: str | None | Unset


async def until_over(store: Store, session_id: str, owners: Owners, *, inactivity_timeout: int | None) -> None:
    """Returns when the session is invalidated, deleted or expired, by whatever process, within a second.

    Until then it is touched, for whoever is served uses it; one that is suspended is not over.

    inactivity_timeout: milliseconds, of the session.
    """
    touch = inactivity_timeout / 1_000 * TOUCH_AFTER if inactivity_timeout else None
    loop = asyncio.get_running_loop()
    touch_at = None if touch is None else loop.time() + touch
    subscription: EventSubscription | None = None
    await asyncio.sleep(WATCH_AFTER)
    try:
        while True:
            try:
                if subscription is None:
                    subscription = await store.subscribe_events(session_id, stream_id=NO_STREAM, **owners)
                if await _is_over(subscription, None if touch_at is None else max(0.0, touch_at - loop.time())):
                    return
                if touch is not None:
                    touch_at = loop.time() + touch
                    await store.touch_session(session_id, **owners)
            except (SessionNotFound, SessionExpired):
                return
            except InvalidSessionStatus as error:
                if error.data.get("current") != "suspended":
                    return
            except StoreError as error:
                # Too many subscriptions, say, or the store's process is just gone: looked at instead, for a while.
                logger.warning("A session that is served cannot be watched: %s", error)
                lost, subscription = subscription, None
                if lost is not None:
                    await lost.aclose()
                if await _is_gone(store, session_id, owners):
                    return
                await asyncio.sleep(POLL)
    finally:
        if subscription is not None:
            # Not here and now: who watches is mostly being cancelled.
            store.spawn(subscription.aclose())


async def _is_over(subscription: EventSubscription, wait: float | None) -> bool:
    """Whether the subscription ends within so many seconds."""

    async def end() -> None:
        async for _ in subscription:
            pass

    try:
        await asyncio.wait_for(end(), wait)
    except asyncio.TimeoutError:
        return False
    return True


async def _is_gone(store: Store, session_id: str, owners: Owners) -> bool:
    try:
        session = await store.get_session(session_id, **owners)
    except StoreError:
        return False  # nobody knows
    return session is None or session["status"] == "invalidated"
