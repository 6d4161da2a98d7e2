"""The Debian package. It depends on nothing: the program is static.

It lies with its companion, which it looks for where it lies itself; a link leads to it from the PATH.
"""

from __future__ import annotations

import tempfile
import textwrap
from email.utils import formatdate
from pathlib import Path

import manual
from archive import gzipped
from licences import notices
from program import COMPANION, companion
from release import DESCRIPTION, NAME, ROOT, SUMMARY, machine, moment, run, version

MAINTAINER = "The mcp-session-store developers <maintainers@mcp-session-store.invalid>"


def build(program: Path, out: Path) -> list[Path]:
    path = out / f"{NAME}_{version()}_{machine().debian}.deb"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        put(root, program)
        run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, path],
            env={"SOURCE_DATE_EPOCH": str(moment()), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
    return [path]


def put(root: Path, program: Path) -> None:
    place = root / "usr/lib" / NAME
    write(place / NAME, program.read_bytes(), 0o755)
    write(place / COMPANION, companion(program).read_bytes(), 0o755)
    (root / "usr/bin").mkdir()
    (root / "usr/bin" / NAME).symlink_to(f"../lib/{NAME}/{NAME}")
    write(root / "usr/share/man/man1" / f"{NAME}.1.gz", gzipped(manual.page(program).encode()))
    places = {
        "bash": "usr/share/bash-completion/completions", "zsh": "usr/share/zsh/vendor-completions",
        "fish": "usr/share/fish/vendor_completions.d",
    }
    for shell, file in manual.completions(program).items():
        write(root / places[shell] / file, run([program, "completions", shell]).encode())
    documents = root / "usr/share/doc" / NAME
    for example in sorted((ROOT / "protocol" / "deploying").glob("*")):
        write(documents / "examples" / example.name, example.read_bytes())
    write(documents / "copyright", copyright_file().encode())
    write(documents / "changelog.gz", gzipped(changelog().encode()))
    size = sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) // 1024 + 1
    write(root / "DEBIAN/control", control(size).encode())


def changelog() -> str:
    day = formatdate(moment())
    return f"{NAME} ({version()}) stable; urgency=medium\n\n  * Release {version()}.\n\n -- {MAINTAINER}  {day}\n"


def control(kibibytes: int) -> str:
    description = textwrap.fill(DESCRIPTION, 78, initial_indent=" ", subsequent_indent=" ")
    return (
        f"Package: {NAME}\nVersion: {version()}\nArchitecture: {machine().debian}\nMaintainer: {MAINTAINER}\n"
        f"Installed-Size: {kibibytes}\nSection: database\nPriority: optional\nSuggests: libpq5\n"
        f"Description: {SUMMARY.rstrip('.').lower()}\n{description}\n")


def copyright_file() -> str:
    """Debian keeps the text of the licence itself."""
    return (
        f"{NAME} is licensed under the Apache License, version 2.0, which stands in\n"
        f"/usr/share/common-licenses/Apache-2.0.\n\n{notices()}")


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
