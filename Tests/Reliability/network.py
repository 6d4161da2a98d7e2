"""A network that can be slow, stopped and broken, between a program and a server on this machine."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("network.c")


@functools.cache
def compiled() -> str:
    directory = Path(tempfile.mkdtemp(prefix="mcp-network-"))
    atexit.register(shutil.rmtree, directory)
    flags = ["-std=gnu2x", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
    subprocess.run(["cc", *flags, SOURCE, "-o", directory / "network", "-lpthread"], check=True)
    return str(directory / "network")


class Network:
    """The way to one port. It is a process of its own and ends with this one."""

    def __init__(self, target: int) -> None:
        self.process = subprocess.Popen(
            [compiled(), str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.port = self._answer()

    def delay(self, seconds: float) -> None:
        """Everything takes so much longer, each way."""
        self._tell(f"delay {round(seconds * 1e6)}")

    def lead_to(self, port: int) -> None:
        self._tell(f"target {port}")

    def stall(self) -> None:
        """Nothing arrives any more, and nobody is told."""
        self._tell("stall")

    def flow(self) -> None:
        self._tell("flow")

    def refuse(self) -> None:
        """Nobody gets a connection; those that are there stay."""
        self._tell("refuse")

    def accept(self) -> None:
        self._tell("accept")

    def cut(self) -> int:
        """Ends all connections, with all that is on its way. Returns how many there were."""
        return self._tell("cut")

    def lose_commits(self, count: int) -> int:
        """The next answers to a COMMIT are lost, and their connections cut. Returns how many were lost before."""
        return self._tell(f"lose {count}")

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, command: str) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        return self._answer()

    def _answer(self) -> int:
        assert self.process.stdout is not None
        number = int(self.process.stdout.readline())
        assert number >= 0, "no such command"
        return number
