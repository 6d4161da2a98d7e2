"""The Debian package in a Debian of its own: installed, used, removed without a trace."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from installing import ROOT, one, run

#: a minimal system costs half a minute: it is made once and copied for each test
SYSTEM = ROOT / ".build" / "debian"


@pytest.fixture(scope="module")
def system() -> Path:
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("debootstrap is not installed, or this user is not root")
    if not (SYSTEM / "done").exists():
        shutil.rmtree(SYSTEM, ignore_errors=True)
        run(["debootstrap", "--variant=minbase", "bookworm", SYSTEM])
        (SYSTEM / "done").touch()
    return SYSTEM


@pytest.fixture
def chroot(system: Path, tmp_path: Path) -> Path:
    root = tmp_path / "root"
    run(["cp", "-a", "--reflink=auto", system, root])
    return root


def inside(root: Path, script: str, *, fails: bool = False, proc: bool = True) -> str:
    """Runs it there, with its own /proc unless told otherwise, which goes with it."""
    mount = f"mount -t proc proc {root}/proc && " if proc else ""
    return run(
        ["unshare", "--mount", "--pid", "--fork", "sh", "-c", f"{mount}exec chroot {root} sh -ec '{script}'"],
        fails=fails, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"})


def listing(root: Path) -> set[str]:
    volatile = ("/var/lib/dpkg", "/var/log", "/proc", "/var/cache")
    found = {str(path).removeprefix(str(root)) for path in root.rglob("*")}
    return {path for path in found if not path.startswith(volatile)}


def test_installed_used_and_removed_without_a_trace(packages: Path, chroot: Path) -> None:
    package = one(packages, "*.deb")
    before = listing(chroot)
    shutil.copy(package, chroot / "package.deb")
    (chroot / "request.json").write_text(
        '{"jsonrpc":"2.0","id":1,"method":"create_session","params":{"session_id":"s-1"}}')
    said = inside(chroot, """
        dpkg -i /package.deb
        mcp-session-store --database /tmp/sessions.db </request.json
        mcp-session-store sessions --database /tmp/sessions.db
        rm /tmp/sessions.db* /request.json
        dpkg -L mcp-session-store
    """)
    assert '"session_id":"s-1"' in said
    for path in ("/usr/bin/mcp-session-store", "/usr/share/bash-completion/completions/mcp-session-store"):
        assert path in said
    inside(chroot, "dpkg --purge mcp-session-store && rm /package.deb")
    assert listing(chroot) == before


def test_a_host_that_has_no_proc_is_told(packages: Path, chroot: Path) -> None:
    """Swift's runtime reads its own path and arguments there; the README names it."""
    run(["dpkg-deb", "-x", one(packages, "*.deb"), chroot])
    said = inside(chroot, "mcp-session-store --version", proc=False, fails=True)
    assert "Swift runtime path" in said
    # With the path given, the arguments are still missing: no option may be passed over in silence.
    said = inside(chroot, "SWIFT_ROOT=/ mcp-session-store --version", proc=False, fails=True)
    assert "the command line cannot be read: mount /proc" in said


def test_the_manual_reads_well(packages: Path, tmp_path: Path) -> None:
    run(["dpkg-deb", "-x", one(packages, "*.deb"), tmp_path])
    page = tmp_path / "usr/share/man/man1/mcp-session-store.1.gz"
    shown = subprocess.run(
        ["man", "--warnings", "--local-file", page], capture_output=True, text=True, check=True,
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "100", "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""})
    assert shown.stderr == ""
    for part in ("NAME", "SYNOPSIS", "COMMANDS", "OPTIONS OF SERVE", "--database PATH", "Exit codes", "doctor"):
        assert part in shown.stdout


def test_lintian_finds_no_error(packages: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    # It is not made for Debian's own archive: a static program, an embedded SQLite, no bug number and the text of the
    # Apache licence, with which Swift's exception stands, are meant so.
    meant = [
        "statically-linked-binary", "embedded-library", "initial-upload-closes-no-bugs",
        "copyright-file-contains-full-apache-2-license",
    ]
    said = run([
        "lintian", "--allow-root", "--fail-on", "error", "--suppress-tags", ",".join(meant), one(packages, "*.deb")])
    assert "E:" not in said
