"""A release as a whole: the same bytes each time, sums, one version, what it is made of, no trace of who made it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from installing import ROOT, one, run
from release import MACHINES, version


def test_a_second_run_makes_the_same_bytes(packages: Path, tmp_path: Path) -> None:
    run([ROOT / "protocol/packages/build", tmp_path / "again"])
    assert (tmp_path / "again/SHA256SUMS").read_text() == (packages / "SHA256SUMS").read_text()


def test_the_sums_name_every_file_and_hold(packages: Path) -> None:
    sums = dict(reversed(line.split("  ")) for line in (packages / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {path.name for path in packages.iterdir()} - {"SHA256SUMS"}
    assert len(sums) == 8
    for name, digest in sums.items():
        assert hashlib.sha256((packages / name).read_bytes()).hexdigest() == digest
    assert "FAILED" not in run(["sha256sum", "--check", "SHA256SUMS"], cwd=packages)


def test_one_version_everywhere(packages: Path) -> None:
    source = (ROOT / "Sources/Sidecar").rglob("*.swift")
    said = {match[1] for path in source for match in re.finditer(r'static let version = "([^"]+)"', path.read_text())}
    assert said == {version()}
    manifest = json.loads((ROOT / "protocol/clients/node/package.json").read_text())
    assert {manifest["version"], *manifest["optionalDependencies"].values()} == said
    assert set(manifest["optionalDependencies"]) == {"mcp-session-store-" + "-".join(kind.node) for kind in MACHINES}
    assert all(version() in path.name for path in packages.iterdir() if path.name != "SHA256SUMS")
    generated = subprocess.run([sys.executable, ROOT / "protocol/clients/generate", "--check"], check=False)
    assert generated.returncode == 0


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """What is in an archive, archives in it included."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist())
    elif path.suffix == ".deb":
        data = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], capture_output=True, check=True).stdout
        yield from members(data)
    elif path.suffix in (".tgz", ".gz", ".tar"):
        yield from members(path.read_bytes())
    else:
        yield path.name, path.read_bytes()


def members(data: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            inner = file.read()
            yield member.name, inner
            if inner.startswith(b"\x1f\x8b"):
                try:
                    yield from members(inner)
                except tarfile.ReadError:
                    pass


def test_nothing_says_where_it_was_made(packages: Path) -> None:
    looked = 0
    for path in packages.iterdir():
        for name, data in contents(path):
            looked += 1
            for trace in (str(ROOT).encode(), str(packages).encode()):
                assert trace not in data, f"{trace!r} stands in {name} of {path.name}"
    assert looked > 60


def test_every_package_carries_the_licences(packages: Path) -> None:
    for path in packages.iterdir():
        if path.suffix not in (".whl", ".deb", ".tgz", ".gz", ".tar"):
            continue
        names = " ".join(name for name, _ in contents(path))
        assert "LICENSE" in names or "copyright" in names, path.name
        if "mcp-session-store-0" in path.name and path.suffix == ".tgz":
            continue  # the client alone
        if path.name == f"mcp_session_store-{version()}.tar.gz":
            continue
        text = b"".join(data for name, data in contents(path) if "THIRD-PARTY" in name or "copyright" in name)
        for part in (b"SQLite", b"GNU C Library", b"Swift standard library"):
            assert part in text, f"{part!r} is not named in {path.name}"


def test_the_bill_of_materials_is_valid_and_complete(packages: Path) -> None:
    bill = one(packages, "*.spdx.json")
    run([Path(sys.executable).with_name("pyspdxtools"), "-i", bill])
    document = json.loads(bill.read_text())
    names = {package["name"] for package in document["packages"]}
    assert {"SQLite", "GNU C Library", "Swift standard library and runtime"} < names
    assert {path.name for path in packages.iterdir()} - {bill.name, "SHA256SUMS"} < names
    assert all(package["versionInfo"] != "unknown" for package in document["packages"])


def test_the_extras_are_what_the_tests_run_with() -> None:
    """An adapter is tested with a version that its extra allows."""
    from packaging.requirements import Requirement

    extras = tomllib.loads((ROOT / "protocol/clients/python/pyproject.toml").read_text())
    tested: dict[str, set[str]] = {}
    for file in ("requirements.txt", "requirements-sdk1.txt"):
        for line in (ROOT / "Tests" / file).read_text().splitlines():
            requirement = Requirement(line)
            tested.setdefault(requirement.name, set()).update(
                specifier.version for specifier in requirement.specifier)
    for requirements in extras["project"]["optional-dependencies"].values():
        for requirement in map(Requirement, requirements):
            assert any(requirement.specifier.contains(version) for version in tested[requirement.name]), requirement
