"""The disk that fails and forgets: a Swift program beside this file, built from the product's own rooms."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from part import Finding, Form

ROOT = Path(__file__).resolve().parents[2]
#: as the release build of the program itself, whose rooms are not compiled a second time then
BUILD = ["swift", "build", "--package-path", str(ROOT), "-c", "release", "--static-swift-stdlib"]
BUILD += ["--product", "disk-faults"]


def build(form: Form) -> Path:
    """Builds the program, which is a matter of seconds when it has been built before."""
    form.say("building disk-faults")
    done = subprocess.run(BUILD, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"disk-faults cannot be built: {done.stdout[-4_000:]}{done.stderr[-4_000:]}")
    folder = subprocess.run([*BUILD, "--show-bin-path"], capture_output=True, text=True, check=True).stdout.strip()
    return Path(folder) / "disk-faults"


def findings(part: str, form: Form) -> list[Finding]:
    """What the program finds in one of its parts."""
    program = build(form)
    # No sync is needed for what is looked at here, and no disk is as fast as memory.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else form.directory) as directory:
        command = [str(program), part, directory, str(form.seed), "long" if form.is_long else "short"]
        found = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                finding = Finding(**json.loads(line))
                form.say(f"{finding.promise}: {finding.tried}, {len(finding.broken)} broken")
                found.append(finding)
        if process.returncode != 0 or not found:
            found.append(Finding("disk-faults runs to its end", part, [f"it ended with {process.returncode}"]))
    return found
