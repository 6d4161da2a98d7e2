"""What the chain of the audit trail costs calls that write to it: processor time beside the same program without it.

The program without it is a copy of the binary in which the functions of the chain return at once (x86-64, with its
symbols): hashing and salts are gone, and with those 32 of the 96 bytes of the seal in each row. Nothing waits for the
disk, for that would hide what is looked for. Both take turns.

    Tests/.venv/bin/python Tests/Benchmarks/audit_chain.py [ROUNDS]
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("MCP_SESSION_STORE_BINARY", ROOT / ".build/release/mcp-session-store"))
#: parts of the mangled names of what makes a seal
CHAIN = ("10AuditChainO6digest", "10AuditSaltsV4next", "6DigestV7HashingV6finish", "6DigestV7HashingV6append",
         "6DigestV7HashingV9takeBlock", "csha256_compress")  # fmt: skip
RETURN = 0xC3
SESSIONS = 4_000
STEPS = ("activate_session", "suspend_session", "resume_session", "delete_session")


def without_chain(target: Path) -> None:
    """Makes the copy."""
    said = subprocess.run(["nm", BINARY], capture_output=True, text=True, check=True).stdout
    program = bytearray(BINARY.read_bytes())
    starts = segments_of(program)
    patched = set()
    for line in said.splitlines():
        address, kind, name = line.split(maxsplit=2) if line[0] != " " else ("0", "", "")
        for part in CHAIN:
            if kind in ("t", "T") and part in name:
                program[place(int(address, 16), starts)] = RETURN
                patched.add(part)
    if missing := set(CHAIN) - patched:
        sys.exit(f"the binary has no symbols of {sorted(missing)}")
    target.write_bytes(program)
    target.chmod(0o755)


def segments_of(program: bytes) -> list[tuple[int, int, int]]:
    """Of each segment that is loaded: its address, where it lies in the file, and its size."""
    at, size, count = (int.from_bytes(program[a:b], "little") for a, b in ((32, 40), (54, 56), (56, 58)))
    heads = [program[at + size * number : at + size * (number + 1)] for number in range(count)]
    return [tuple(int.from_bytes(head[a : a + 8], "little") for a in (16, 8, 32))  # type: ignore[misc]
            for head in heads if int.from_bytes(head[:4], "little") == 1]  # fmt: skip


def place(address: int, segments: list[tuple[int, int, int]]) -> int:
    return next(start + address - begin for begin, start, size in segments if begin <= address < begin + size)


def calls(sessions: int) -> Iterator[bytes]:
    for step in ("create_session", *STEPS):
        for number in range(sessions):
            params = {"session_id": f"session-{number}"}
            if step == "create_session":
                params |= {"user_id": f"user-{number % 100}", "principal": f"principal-{number % 100}"}
            yield json.dumps({"jsonrpc": "2.0", "id": number, "method": step, "params": params}).encode() + b"\n"


def processor_time(binary: Path, folder: Path, lines: list[bytes], together: int) -> float:
    """User and system seconds of a process that runs the calls."""
    for old in folder.glob("sessions*"):
        old.unlink()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [binary, "--database", folder / "sessions.db", "--durability", "normal"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE)  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    for start in range(0, len(lines), together):
        some = lines[start : start + together]
        process.stdin.write(b"".join(some))
        process.stdin.flush()
        for _ in some:
            answer = process.stdout.readline()
            assert b'"result"' in answer, answer
    process.stdin.close()
    assert process.wait() == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    lines, few = list(calls(SESSIONS)), list(calls(SESSIONS // 4))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        folder = Path(directory)
        without_chain(folder / "without")
        pair = (BINARY, folder / "without")
        for name, together, some in (("200 at once", 200, lines), ("one at a time", 1, few)):
            times: dict[Path, list[float]] = {binary: [] for binary in pair}
            for number in range(rounds):
                for binary in pair if number % 2 else pair[::-1]:
                    times[binary].append(processor_time(binary, folder, some, together) / len(some) * 1e6)
            least = [min(times[binary]) for binary in pair]
            ratios = sorted(first / second for first, second in zip(*times.values(), strict=True))
            print(f"{name}: at least {least[0]:.2f} µs of a processor a call, without the chain {least[1]:.2f}: "
                  f"{least[0] / least[1]:.3f}; of each round {statistics.median(ratios):.3f} "
                  f"({ratios[0]:.3f}–{ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
