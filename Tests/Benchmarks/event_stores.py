"""The event stores that a Python server can choose from, each as it is meant to be used, opened on an empty directory.

All of them implement the SDK's `EventStore`. `durability` says what an answer of theirs promises, asked of the store
itself where it can be asked.
"""

import asyncio
import shutil
import subprocess
import sys
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "protocol/clients/python"
sys.path.insert(0, str(CLIENT))

import aiosqlite
from fastmcp.server.event_store import EventStore as FastMCPEventStore
from key_value.aio.stores.disk import DiskStore
from key_value.aio.stores.redis import RedisStore
from mcp.server.streamable_http import EventStore
from mcp_persist import SQLiteEventStore
from mcp_session_store import Store
from mcp_session_store.mcp_events import EventStore as OurEventStore
from redis.asyncio import BlockingConnectionPool, Redis, UnixDomainSocketConnection


class Contender:
    """Sessions of one server, and the store of each of them."""

    name: str
    durability = ""

    def __init__(self, directory: Path, binary: Path, sessions: int, stream_events: int = 100):
        self.directory = directory
        self.binary = binary
        self.sessions = sessions
        #: what FastMCP keeps of a stream; 100 is its default
        self.stream_events = stream_events
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> "Contender":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def open(self) -> None:
        raise NotImplementedError

    def store(self, session: int) -> EventStore:
        """The store that the transport of a session is given."""
        raise NotImplementedError

    def stream(self, session: int, number: int) -> str:
        """A stream's name; where all sessions share one store the session's is in it, as their own scopes have it."""
        return f"session-{session}:{number}"


class Ours(Contender):
    name = "mcp-session-store"

    async def open(self) -> None:
        # A session keeps all that a round stores, as the neighbours do.
        options = {"max_events_per_session": 0}
        store = Store(self.directory / "sessions.db", binary=self.binary, options=options)
        await self.stack.enter_async_context(store)
        for number in range(self.sessions):
            await store.create_session(session_id=f"session-{number}", status="active")
        self.stores = [OurEventStore(store, f"session-{number}") for number in range(self.sessions)]
        self.durability = f"SQLite {store.info['sqlite_version']}, WAL, synchronous={store.info['durability']}"

    def store(self, session: int) -> EventStore:
        return self.stores[session]

    def stream(self, session: int, number: int) -> str:
        return str(number)


class McpPersist(Contender):
    name = f"mcp-persist {version('mcp-persist')}, SQLite"

    async def open(self) -> None:
        path = self.directory / "events.db"
        self.shared = await self.stack.enter_async_context(SQLiteEventStore.create(str(path), ttl=3_600))
        levels = {0: "off", 1: "normal", 2: "full", 3: "extra"}
        pragmas = []
        # A connection of the same library and settings says what the store's own has: it sets nothing but the journal.
        async with aiosqlite.connect(path) as connection:
            for pragma in ("journal_mode", "synchronous"):
                async with connection.execute(f"PRAGMA {pragma}") as cursor:
                    pragmas.append((await cursor.fetchone())[0])
        self.durability = f"SQLite of Python, {pragmas[0].upper()}, synchronous={levels[pragmas[1]]}"

    def store(self, session: int) -> EventStore:
        return self.shared


class FastMCPDisk(Contender):
    name = f"FastMCP {version('fastmcp')}, DiskStore"

    async def open(self) -> None:
        disk = await self.stack.enter_async_context(DiskStore(directory=self.directory / "disk"))
        self.shared = FastMCPEventStore(storage=disk, max_events_per_stream=self.stream_events)
        levels = {0: "off", 1: "normal", 2: "full"}
        cache = disk._cache
        self.durability = (
            f"diskcache {version('diskcache')}: SQLite of Python, {cache.sqlite_journal_mode.upper()}, "
            f"synchronous={levels[cache.sqlite_synchronous]} (a power cut may take the last events)")

    def store(self, session: int) -> EventStore:
        return self.shared


class FastMCPRedis(Contender):
    name = f"FastMCP {version('fastmcp')}, Redis"

    async def open(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise FileNotFoundError("redis-server is not installed")
        # A socket's path is short; the directory's may not be.
        socket = Path(self.directory / "redis.sock").resolve()
        server = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", str(socket), "--dir", str(self.directory), "--appendonly", "yes",
             "--appendfsync", "always", "--save", ""], stdout=subprocess.DEVNULL)
        self.stack.callback(server.wait)
        self.stack.callback(server.terminate)
        # The client's own pool raises when more than a hundred callers come at once; this one lets them wait.
        pool = BlockingConnectionPool(
            connection_class=UnixDomainSocketConnection, path=str(socket), decode_responses=True, timeout=60)
        client = Redis(connection_pool=pool)
        self.stack.push_async_callback(client.aclose)
        while not socket.exists():
            if server.poll() is not None:
                raise ChildProcessError(f"redis-server ended with {server.returncode}")
            await asyncio.sleep(0.01)
        info = await client.info("server")
        redis = await self.stack.enter_async_context(RedisStore(client=client))
        self.shared = FastMCPEventStore(storage=redis, max_events_per_stream=self.stream_events)
        settings = await client.config_get("append*")
        self.durability = (
            f"Redis {info['redis_version']} over a socket, appendonly {settings['appendonly']}, "
            f"appendfsync {settings['appendfsync']}")

    def store(self, session: int) -> EventStore:
        return self.shared


CONTENDERS = (Ours, McpPersist, FastMCPDisk, FastMCPRedis)
