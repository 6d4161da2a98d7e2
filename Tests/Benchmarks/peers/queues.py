"""Queues over SQLite that one finds at PyPI, in the server's own process: put, take, and say that it is done.

queues.py NAME FILE ITEMS DATA: each item is put, taken and settled before the next one, and each step is on disk before
the one behind it.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path


def litequeue(path: str) -> Callable[[str], None]:
    from litequeue import LiteQueue

    queue = LiteQueue(path)
    queue.conn.execute("PRAGMA synchronous = FULL")  # it comes with NORMAL, which a power cut may cost something

    def cycle(data: str) -> None:
        queue.put(data)
        message = queue.pop()
        assert message is not None and message.data == data
        queue.done(message.message_id)

    return cycle


def persist_queue(path: str) -> Callable[[str], None]:
    from persistqueue import SQLiteAckQueue

    queue = SQLiteAckQueue(str(Path(path).parent), db_file_name=Path(path).name, auto_commit=True)

    def cycle(data: str) -> None:
        queue.put(data)
        item = queue.get()
        assert item == data
        queue.ack(item)

    return cycle


def huey(path: str) -> Callable[[str], None]:
    """Its storage knows no lease: what was taken is gone with its worker, and nothing is to be settled."""
    from huey.storage import SqliteStorage

    queue = SqliteStorage("work", filename=path, fsync=True)

    def cycle(data: str) -> None:
        queue.enqueue(data.encode())
        item = queue.dequeue()
        assert item is not None and bytes(item) == data.encode()

    return cycle


QUEUES = {"litequeue": litequeue, "persist_queue": persist_queue, "huey": huey}


def main() -> None:
    name, path, items, data = sys.argv[1:]
    cycle = QUEUES[name](path)
    cycle(data)
    start = time.perf_counter()
    for _ in range(int(items)):
        cycle(data)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "cycle_us": seconds * 1e6 / int(items)}))


if __name__ == "__main__":
    main()
