"""A server with many flows over the whole client, under calls, cancels, refusals, subscriptions and kills of its store.

    python Tests/Reliability/client_soak.py                        # 20,000 calls of each client, seconds
    python Tests/Reliability/client_soak.py --calls 1000000        # by hand: minutes
    python Tests/Reliability/client_soak.py --language node --node PATH

`sdk_soak.py` does the same through the SDK's transport, where a call takes a hundred times as long. Here each flow does
one thing after the other in a session of its own and looks at each answer; the store's process is killed every
thousand calls. At the end memory and descriptors of the server and of its store, and what the server's runtime has
under way, must be where they were after the first quarter.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from resources import grown, held

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PARTS = 20


def soak(language: str, command: list[str], binary: Path, calls: int, flows: int, kill_every: int) -> str:
    """Says how it went. Raises AssertionError when something grew, or was not as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        setup = {
            "binary": str(binary), "database": f"{folder}/sessions.db", "flows": flows, "kill_every": kill_every,
            "goals": [calls * part // PARTS for part in range(1, PARTS + 1)],
        }
        server = subprocess.Popen(
            [*command, json.dumps(setup)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert server.stdin is not None and server.stdout is not None
        try:
            begun, base, now, report = time.monotonic(), {}, {}, {}
            for part in range(1, PARTS + 1):
                line = server.stdout.readline()
                assert line, f"{language}: the server ended with {server.wait()}"
                report = json.loads(line)
                now = {**held(server.pid), **report["held"]}
                print(f"{language} {report['calls']:>8} calls, {time.monotonic() - begun:5.0f} s: {now}", flush=True)
                if part == PARTS // 4:
                    base = now
                server.stdin.write("go on\n")
                server.stdin.flush()
            assert server.wait(60) == 0, f"{language}: the server ended with {server.returncode}"
        finally:
            server.kill()
            server.wait()
            server.stdin.close()
            server.stdout.close()
    wrong = grown(base, now)
    assert not wrong, f"{language}: {'; '.join(wrong)}"
    missing = [kind for kind, count in report["kinds"].items() if count == 0]
    assert not missing, f"{language}: nothing of this kind happened: {', '.join(missing)}"
    return f"{language}: {report['kinds']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--flows", type=int, default=64)
    parser.add_argument("--kill-every", type=int, default=1_000, help="calls between two kills of the store's process")
    parser.add_argument("--language", choices=("python", "node"), action="append")
    parser.add_argument("--node", default="node", help="the program (default: that of the PATH)")
    arguments = parser.parse_args()
    binary = Path(os.environ.get("MCP_SESSION_STORE_BINARY") or ROOT / ".build/release/mcp-session-store").absolute()
    commands = {
        "python": [sys.executable, "-W", "error", str(HERE / "soaked/server.py")],
        "node": [arguments.node, "--expose-gc", str(HERE / "soaked/server.mjs")],
    }
    ends = [soak(language, commands[language], binary, arguments.calls, arguments.flows, arguments.kill_every)
            for language in arguments.language or commands]
    print("\n".join([*ends, "Everything stayed where it was."]))


if __name__ == "__main__":
    main()
