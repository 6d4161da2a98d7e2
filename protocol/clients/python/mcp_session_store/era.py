"""Which era of MCP a request is of, and a word to the host whose clients are of the other one."""

from __future__ import annotations

import re
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging
    from collections.abc import MutableMapping

    from .store import Store

#: from here on there are no sessions
FIRST_WITHOUT_SESSIONS = "2026-07-28"
PROTOCOL_VERSION = b"mcp-protocol-version"
_VERSION = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}")

#: stores whose log has been told
_told: weakref.WeakSet[Store] = weakref.WeakSet()


def is_modern(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request is of an era without sessions, by the header that it must have then."""
    return any(
        name.lower() == PROTOCOL_VERSION and _VERSION.fullmatch(value) and value.decode() >= FIRST_WITHOUT_SESSIONS
        for name, value in scope["headers"])


def hint_at_era(store: Store, adapter: str, logger: logging.Logger) -> None:
    """Tells the log, once, that a client came for which sessions keep nothing: nobody else would say so."""
    if store not in _told:
        _told.add(store)
        logger.warning(
            "A client of MCP %s came, which has no sessions: %s keeps nothing for it, unless it falls back to "
            "2025-11-25. What both shall find again belongs into values and tasks: see 'Both eras' in the README.",
            FIRST_WITHOUT_SESSIONS, adapter)
