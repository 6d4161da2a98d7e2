"""What a codec costs in Python: `sealing.py CLIENT BINARY DATABASE COUNT` writes one JSON object about that.

Of a payload of 4 KiB, microseconds for each KiB: to seal and open it, encrypted alone and compressed before; and what
the client does without a codec, to write it as JSON and read it. Then events of that size, 64 at once.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable

CLIENT, BINARY, DATABASE, COUNT = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
sys.path.insert(0, CLIENT)
from mcp_session_store import Codec, Store  # noqa: E402
from mcp_session_store.json_text import decode, encode  # noqa: E402

KIB = 4
AT_ONCE = 64
BATCHES = COUNT // AT_ONCE + 1
PLACE = ("event.data", "session-1", None, "message")
WORDS = "the import of row was read and checked against ledger account before it is written again under own".split()
KEY = os.urandom(32)


def payload() -> dict[str, object]:
    """A message of 4 KiB as tools send them, of words that repeat and numbers that do not."""
    text, number = "", 1
    while len(text) < KIB * 1_024 - 60:
        number = number * 1_103_515_245 % 2**31
        text += f"{WORDS[number % len(WORDS)]} {number % 9_973} "
    return {"level": "info", "data": text}


def microseconds(work: Callable[[], object]) -> float:
    """The best of some batches, for each KiB."""
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(COUNT // 5):
            work()
        best = min(best, (time.perf_counter() - begun) / (COUNT // 5))
    return best * 1e6 / KIB


def sealing(codec: Codec, value: object) -> Callable[[], object]:
    return lambda: codec.open(decode(encode(codec.seal(value, PLACE)).encode()), PLACE)


async def events(codec: Codec | None, name: str, value: object) -> float:
    async with Store(f"{DATABASE}-{name}", binary=BINARY, codec=codec) as store:
        await store.create_session(session_id="session-1", status="active")
        begun = time.perf_counter()
        for _ in range(BATCHES):
            await asyncio.gather(*(store.store_event("session-1", data=value) for _ in range(AT_ONCE)))
        seconds = time.perf_counter() - begun
        assert (await store.get_recent_events("session-1", limit=1))["events"][0]["data"] == value
    return BATCHES * AT_ONCE / seconds


async def main() -> None:
    value = payload()
    encrypted = Codec({"k": KEY}, compression=None)
    print(json.dumps({
        "plain": microseconds(lambda: decode(encode(value).encode())),
        "sealed": microseconds(sealing(encrypted, value)),
        "compressed": microseconds(sealing(Codec({"k": KEY}), value)),
        "plain_events": await events(None, "plain", value),
        "sealed_events": await events(encrypted, "sealed", value),
    }))


asyncio.run(main())
