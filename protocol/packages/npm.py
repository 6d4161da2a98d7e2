"""The npm packages: the client, and one package for each platform with the program in it."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from licences import NOTICE, notices
from program import COMPANION, companion
from release import CLIENTS, LICENCE, NAME, ROOT, machine, run, sha256, version

MANIFEST = CLIENTS / "node" / "package.json"


def platform_package() -> str:
    return f"{NAME}-{'-'.join(machine().node)}"


def build(program: Path, out: Path) -> list[Path]:
    with tempfile.TemporaryDirectory() as folder:
        return [pack(client(Path(folder), program), out), pack(platform(Path(folder), program), out)]


def client(folder: Path, program: Path) -> Path:
    """The parent: it names its platform's package by exact version, and knows what the program in it must be."""
    place = folder / "client"
    shutil.copytree(CLIENTS / "node", place, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copy(ROOT / "LICENSE", place)
    write(place / "program.json", {
        platform_package(): {"version": version(), "bytes": program.stat().st_size, "sha256": sha256(program)}})
    for types in place.glob("*.d.mts"):  # what `require` finds is the same module under the other name
        text = types.read_text(encoding="utf-8").replace(".mjs'", ".cjs'")
        types.with_suffix("").with_suffix(".d.cts").write_text(text, encoding="utf-8")
    return place


def platform(folder: Path, program: Path) -> Path:
    system, processor = machine().node
    place = folder / "platform"
    (place / "bin").mkdir(parents=True)
    for file, name in ((program, NAME), (companion(program), COMPANION)):
        shutil.copy(file, place / "bin" / name)
        (place / "bin" / name).chmod(0o755)
    shutil.copy(ROOT / "LICENSE", place)
    (place / NOTICE).write_text(notices(), encoding="utf-8")
    (place / "README.md").write_text(
        f"# {platform_package()}\n\nThe program of [{NAME}](https://www.npmjs.com/package/{NAME}) for {system} on "
        f"{processor}. Install `{NAME}`, which brings this package along.\n", encoding="utf-8")
    write(place / "package.json", {
        "name": platform_package(), "version": version(), "description": f"The program of {NAME}, {system} {processor}",
        "license": LICENCE, "os": [system], "cpu": [processor], "preferUnplugged": True,
        "files": [f"bin/{NAME}", f"bin/{COMPANION}", NOTICE], "engines": {"node": ">=18"},
    })
    return place


def pack(place: Path, out: Path) -> Path:
    told = json.loads(run(["npm", "pack", "--json", "--ignore-scripts", "--pack-destination", out], cwd=place))
    return out / told[0]["filename"]


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
