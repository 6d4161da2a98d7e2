"""Which server processes on a file are alive, so that others know when work that one of them began is gone."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import StoreError

if TYPE_CHECKING:
    from .store import Store

#: of the values that tell it
COLLECTION = "mcp-session-store/servers"
#: milliseconds after which a server that does not renew its mark is gone, where nothing else tells it
LEASE = 30_000
#: seconds
RENEWAL = 10.0

#: those of this process that are kept up
_kept_up: set[str] = set()
_of_stores: weakref.WeakKeyDictionary[Store, Presence] = weakref.WeakKeyDictionary()


def presence_of(store: Store) -> Presence:
    """The one mark of whoever uses this store."""
    return _of_stores.setdefault(store, Presence(store))


class Presence:
    """A mark in the store that this server is alive, and a look at the marks of others.

    Servers on one machine tell by the process whether it is still there, at once. Where they cannot see each other's
    processes, in containers for instance, a server is gone when it has not renewed its mark for half a minute.
    """

    def __init__(self, store: Store) -> None:
        self._store = weakref.ref(store)
        #: names this server, as long as it lives
        self.id = secrets.token_hex(8)
        self._keeping_up: asyncio.Task[None] | None = None

    async def announce(self) -> None:
        """Puts the mark up, once, and keeps it up until the store is closed. Raises StoreError."""
        if self._keeping_up is not None and not self._keeping_up.done():
            return
        store = self._store()
        assert store is not None  # whoever calls this has it
        keeping_up = self._keeping_up = store.spawn(self._keep_up())
        _kept_up.add(self.id)
        keeping_up.add_done_callback(lambda _: _kept_up.discard(self.id))
        await self._put_up(store)

    async def withdraw(self) -> None:
        """Takes the mark down, so that others need not find out."""
        keeping_up, self._keeping_up = self._keeping_up, None
        store = self._store()
        if keeping_up is None or store is None:
            return
        keeping_up.cancel()
        _kept_up.discard(self.id)
        try:
            await store.delete_value(COLLECTION, key=self.id, tenant_id=None, principal=None)
        except StoreError:
            pass  # it lapses

    async def is_alive(self, server: str) -> bool:
        """Whether that server is still there. Raises StoreError."""
        if server == self.id:
            return True
        store = self._store()
        assert store is not None
        found = await store.get_value(COLLECTION, key=server, tenant_id=None, principal=None)
        if not found["exists"]:
            return False
        mark, process = found["value"], _process(os.getpid())
        if process is None or not isinstance(mark, dict) or mark.get("machine") != process["machine"]:
            return True
        if mark == process:
            return server in _kept_up
        return _process(int(mark["pid"])) == mark

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL)
            store = self._store()
            if store is None:
                return
            try:
                await self._put_up(store)
            except StoreError as error:
                logging.getLogger("mcp_session_store").warning("This server could not tell that it is alive: %s", error)

    async def _put_up(self, store: Store) -> None:
        await store.put_value(
            COLLECTION, key=self.id, value=_process(os.getpid()), ttl=LEASE, tenant_id=None, principal=None)


def _process(pid: int) -> dict[str, Any] | None:
    """What tells a process from all others, before and after it too; None: there is none, or nobody can know."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # A name may have blanks and brackets in it; the time of the start is the twentieth behind it.
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return {"machine": [boot, os.readlink("/proc/self/ns/pid")], "pid": pid, "started": started}
    except (OSError, IndexError):
        return None
