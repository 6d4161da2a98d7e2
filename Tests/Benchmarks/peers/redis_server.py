"""Redis as a peer: a server of our own on a unix socket, with an append-only file that is synced as it is told."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from socket import AF_UNIX, socket


class RedisServer:
    """Runs while the `with` block does, in a directory of its own that is empty at first.

    `sync` is Redis's `appendfsync`: "always" answers after the disk has it, "everysec" may lose a second.
    """

    def __init__(self, directory: Path, sync: str):
        self.directory = directory / "redis"
        self.sync = sync

    def __enter__(self) -> "RedisServer":
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        # Everything that was written before is on disk: Redis does not pay for another's writes.
        os.sync()
        settings = {
            "port": "0", "unixsocket": "socket", "dir": str(self.directory), "save": "", "loglevel": "warning",
            "appendonly": "yes", "appendfsync": self.sync, "auto-aof-rewrite-percentage": "0",
        }  # fmt: skip
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        # The working directory keeps the socket's path short: sockets allow 107 bytes.
        self.server = subprocess.Popen(["redis-server", *words], cwd=self.directory, stdout=subprocess.DEVNULL)
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.server.terminate()
        self.server.wait()

    def wait(self) -> None:
        """Returns when it answers."""
        deadline = time.monotonic() + 60
        while True:
            try:
                with socket(AF_UNIX) as client:
                    client.connect(str(self.socket))
                    client.sendall(b"PING\r\n")
                    if client.recv(64).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("redis-server did not start; install it (Debian: redis-server)")
            time.sleep(0.005)

    @property
    def socket(self) -> Path:
        return self.directory / "socket"

    @property
    def command(self) -> list[str]:
        """What the drivers take in place of a program."""
        return [f"unix:{self.socket}"]

    @property
    def resident_mib(self) -> float:
        for line in Path(f"/proc/{self.server.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("redis-server has no resident memory")

    @property
    def file_bytes(self) -> int:
        """Of the append-only file."""
        return sum(file.stat().st_size for file in (self.directory / "appendonlydir").iterdir())
