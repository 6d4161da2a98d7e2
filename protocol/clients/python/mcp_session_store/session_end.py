"""How a session ends that its client is done with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .contract import InvalidSessionStatus, SessionExpired, SessionNotFound

if TYPE_CHECKING:
    from .session_watch import Owners
    from .store import Store


async def end_session(store: Store, session_id: str, owners: Owners, *, resolve: bool) -> None:
    """Deletes it, or leaves what it had for as long as the store keeps what has ended."""
    if not resolve:
        await store.delete_session(session_id, **owners)
        return
    try:
        await store.resolve_session(session_id, **owners)
    except (SessionNotFound, SessionExpired, InvalidSessionStatus):
        pass  # it has ended already
