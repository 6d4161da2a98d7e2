"""The plain archive: the program, its companion, its manual, completions, licences."""

from __future__ import annotations

from pathlib import Path

import manual
from archive import Tree, gzipped
from licences import NOTICE, notices
from program import COMPANION, companion
from release import NAME, ROOT, machine, moment, run, version


def build(program: Path, out: Path) -> list[Path]:
    name = f"{NAME}-{version()}-linux-{machine().kernel}"
    tree = Tree(moment())
    tree.file(f"{name}/{NAME}", program, 0o755)
    tree.file(f"{name}/{COMPANION}", companion(program), 0o755)
    tree.file(f"{name}/{NAME}.1", manual.page(program))
    for shell, file in manual.completions(program).items():
        tree.file(f"{name}/completions/{file}", run([program, "completions", shell]))
    tree.file(f"{name}/README.md", ROOT / "README.md")
    tree.file(f"{name}/LICENSE", ROOT / "LICENSE")
    tree.file(f"{name}/{NOTICE}", notices())
    path = out / f"{name}.tar.gz"
    path.write_bytes(gzipped(tree.tar()))
    return [path]
