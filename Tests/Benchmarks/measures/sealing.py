"""What a codec costs its client, beside the same without one."""

import json
import subprocess
import sys
from pathlib import Path

from bench import Bench, Failed
from measures.clients import empty
from measures.row import Row
from programs import NODE

HERE = Path(__file__).parents[1]
CLIENTS = HERE.parents[1] / "protocol/clients"
#: of each language: its program, and its client
LANGUAGES = {"Python": (sys.executable, "sealing.py", "python"), "Node": (NODE, "sealing.mjs", "node")}


def rows(language: str) -> tuple[Row, ...]:
    payload, event = f"{language}, a payload of 4 KiB", f"{language}, store_event of 4 KiB, 64 at once"
    return (
        Row(f"{payload} sealed and opened, of each KiB", "µs", f"{language}_sealed", f"{language}_plain",
            "written as JSON and read"),
        Row(f"{payload} compressed, sealed and opened, of each KiB", "µs", f"{language}_compressed",
            f"{language}_plain", "written as JSON and read"),
        Row(f"{event}, encrypted", "events/s", f"{language}_sealed_events", f"{language}_plain_events",
            "without a codec"),
    )  # fmt: skip


class Sealing:
    """Of payloads by themselves, and of events through the whole client."""

    name = "codec"
    rows = (*rows("Python"), *rows("Node"))

    def prepare(self, bench: Bench) -> None:
        self.bench = bench

    def round(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for language, (program, driver, client) in LANGUAGES.items():
            command = [program, HERE / "drivers" / driver, CLIENTS / client, self.bench.binary,
                       empty(self.bench) / "sealed.db", str(self.bench.sizes.client_lone_events)]  # fmt: skip
            done = subprocess.run(command, stdout=subprocess.PIPE, timeout=300)
            if done.returncode != 0:
                raise Failed(f"{driver} ended with {done.returncode}")
            figures |= {f"{language}_{name}": figure for name, figure in json.loads(done.stdout).items()}
        return figures
