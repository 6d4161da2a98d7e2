"""Fuzzing guided by coverage, under the address sanitizer: the scanner, the framing, and the whole machine on a store
in memory, once with any lines and once with calls whose parameters are of their types. What each looks for besides
crashes stands in its target, under Tests/Fuzz.

It starts from the contract, which is the conversations of protocol/transcripts and the examples of
protocol/openrpc.json, and from what fuzzing found before: Tests/Fuzz/Corpus, an input a line, each byte a character.
An input that breaks something stays in the part's directory; give it to the target again with

    SWIFT_BACKTRACE=enable=no .build/fuzz/release/FuzzSidecar INPUT

and, when it was FuzzMethods that it broke, with FUZZ_METHODS=1 before it.

To renew the corpus, fuzz each target for so many seconds and keep the fewest inputs that reach as much:

    Tests/.venv/bin/python Tests/Reliability/fuzz.py 600
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from part import Finding, Form

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "Tests" / "Fuzz" / "Corpus"
#: seconds for each target
SHORT, LONG = 20, 20 * 60
#: what is shown of a failure
SHOWN = 2_000
#: runs a program from a process that has never held much: Linux hands down the most that a process has held to what it
#: starts, and the fuzzer's limit would count what other parts have held here
APART = ("sh", "-c", '"$@"; exit $?', "sh")


@dataclass(frozen=True)
class Target:
    name: str
    promise: str
    #: bytes of an input
    longest: int
    #: compares values, not only branches: finds magic words, costs speed
    looks_at_values: bool
    #: in the environment of the program
    mode: str = ""

    @property
    def program(self) -> str:
        return self.name if not self.mode else "FuzzSidecar"

    @property
    def corpus(self) -> Path:
        return CORPUS / f"{self.name}.jsonl"

    def seeds(self) -> list[bytes]:
        found = [json.loads(line).encode("latin-1") for line in self.corpus.read_text().splitlines()]
        return [*self.contract(), *found]

    def contract(self) -> list[bytes]:
        match self.name:
            case "FuzzJSON":
                return [line for text in conversations() for line in text.splitlines()]
            case "FuzzJSONRPC":  # a limit of 255 bytes, pieces of 8 and of 64
                return [bytes([255, piece]) + text for text in conversations() for piece in (7, 63)]
            case "FuzzMethods":  # a byte chooses: of these, some calls each
                return [bytes(range(start, start + 96)) for start in range(0, 128, 8)]
            case _:
                return conversations()


TARGETS = [
    Target("FuzzJSON", "the scanner takes what is JSON, and nothing else", 512, True),
    Target("FuzzJSONRPC", "any bytes in any pieces are the same lines and requests", 512, True),
    Target("FuzzSidecar", "whatever comes in, each line is answered as alone, and the store stays sound", 8_192, False),
    Target("FuzzMethods", "whatever is called with what its parameters may be, the same", 512, False, "FUZZ_METHODS"),
]


def conversations() -> list[bytes]:
    """What the transcripts send, one text for each, and the examples of all methods."""
    texts = []
    for path in sorted((ROOT / "protocol" / "transcripts").glob("*.jsonl")):
        steps = [json.loads(line) for line in path.read_text().splitlines()]
        texts.append(lines([step["send"] for step in steps if "send" in step]))
    calls = [{"jsonrpc": "2.0", "id": number, "method": method["name"],
              "params": {parameter["name"]: parameter["value"] for parameter in example["params"]}}
             for number, method in enumerate(document()["methods"]) for example in method["examples"]]  # fmt: skip
    return [*texts, lines(calls), *(lines([call]) for call in calls)]


def lines(messages: list[Any]) -> bytes:
    return b"".join(json.dumps(each, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for each in messages)


def document() -> dict[str, Any]:
    return json.loads((ROOT / "protocol" / "openrpc.json").read_text())


def words() -> str:
    """A dictionary for the fuzzer: the names of methods and parameters, and what JSON-RPC itself knows."""
    names = {'"jsonrpc":"2.0"', '"id":1', '"method":"', '"params":{', "null", "\\u0061", "\\ud800"}
    for method in document()["methods"]:
        names |= {f'"{method["name"]}"'} | {f'"{parameter["name"]}":' for parameter in method["params"]}
    return "".join(f"{json.dumps(name)}\n" for name in sorted(names))


def build(target: Target) -> Path:
    folder = ROOT / ".build" / "fuzz"
    # The first of the two makes the package manager link the fuzzer's entry point. Of several such flags the compiler
    # takes the last one alone, and the package manager passes its own in any order.
    command = ["swift", "build", "-c", "release", "--sanitize=fuzzer", "-Xswiftc", "-sanitize=fuzzer,address",
               "-Xswiftc", "-enable-testing", "--build-path", folder, "--product", target.program]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"FUZZ": "1"}, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{target.name} cannot be built:\n{done.stdout[-SHOWN:]}{done.stderr[-SHOWN:]}")
    program = folder / "release" / target.program
    symbols = program.read_bytes()
    for made in ("sancov.module_ctor", "asan.module_ctor"):
        if made.encode() not in symbols:
            raise RuntimeError(f"{target.name} is not built as asked for: without {made} it finds little")
    return program


def started(target: Target, program: Path, folder: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*APART, program, *options, f"-max_len={target.longest}", "-timeout=120"],
        cwd=folder, capture_output=True, text=True, errors="replace",
        # The backtracer of the language would take the signal, and no input would be written. Leaks are not looked
        # for: pointers with tags are no pointers to the sanitizer, which takes the method table for lost.
        env=os.environ | {"SWIFT_BACKTRACE": "enable=no", "ASAN_OPTIONS": "detect_leaks=0"}
        | ({target.mode: "1"} if target.mode else {}),
    )  # fmt: skip


def fuzzed(
    target: Target, program: Path, folder: Path, seconds: int, seed: int
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Everything that is worth keeping, and what the fuzzer says."""
    corpus = folder / target.name
    corpus.mkdir()
    for number, text in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(text[: target.longest])
    dictionary = folder / "words.txt"
    dictionary.write_text(words())
    return corpus, started(
        target, program, folder, corpus, f"-dict={dictionary}", f"-seed={seed % (1 << 32) or 1}",
        f"-max_total_time={seconds}", "-print_final_stats=1", f"-use_value_profile={int(target.looks_at_values)}",
        f"-artifact_prefix={folder}/",
    )  # fmt: skip


def fuzz(target: Target, form: Form) -> Finding:
    program = build(target)
    seconds = LONG if form.is_long else SHORT
    form.say(f"{target.name} for {seconds} s")
    corpus, done = fuzzed(target, program, form.directory, seconds, form.seed)
    executed = re.search(r"number_of_executed_units: *(\d+)", done.stderr)
    inputs = int(executed[1]) if executed else 0
    broken = []
    if done.returncode != 0:
        telling = re.compile(r"[Ff]atal error|ERROR:|written to")
        said = "\n".join(text for text in done.stderr.splitlines() if telling.search(text))
        broken.append(f"{target.name} ends with {done.returncode}: {(said or done.stderr)[-SHOWN:]}")
    if inputs < len(list(corpus.glob("seed-*"))) and not broken:
        broken.append(f"{target.name} tried only {inputs} inputs")
    return Finding(target.promise, f"{inputs:,} inputs to {target.name}", broken)


def run(form: Form) -> list[Finding]:
    return [fuzz(target, form) for target in TARGETS]


def renew(target: Target, seconds: int) -> None:
    program = build(target)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        corpus, done = fuzzed(target, program, folder, seconds, seed=0)
        if done.returncode != 0:
            raise SystemExit(f"{target.name} found something; run the part fuzz:\n{done.stderr[-SHOWN:]}")
        fewest = folder / "fewest"
        fewest.mkdir()
        # Branches reached, not how often: else there are ten times as many.
        merged = started(target, program, folder, "-set_cover_merge=1", "-use_counters=0", fewest, corpus)
        if merged.returncode != 0:
            raise SystemExit(f"{target.name} cannot be merged:\n{merged.stderr[-SHOWN:]}")
        contract = {text[: target.longest] for text in target.contract()}
        inputs = {path.read_bytes() for path in fewest.iterdir()} - contract
        lines = [json.dumps(text.decode("latin-1")) for text in sorted(inputs, key=lambda text: (len(text), text))]
        target.corpus.write_text("".join(f"{line}\n" for line in lines))
        print(f"{target.name}: {len(lines)} inputs, {target.corpus.stat().st_size:,} bytes")


if __name__ == "__main__":
    for each in TARGETS:
        renew(each, int(sys.argv[1]))
