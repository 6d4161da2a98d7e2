"""The container image, started by an OCI runtime: as nobody in particular, from nothing, with its data on a volume."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from installing import one, run
from release import version

CREATE = b'{"jsonrpc":"2.0","id":1,"method":"create_session","params":{"session_id":"s-1"}}\n'
COUNT = b'{"jsonrpc":"2.0","id":1,"method":"session_count"}\n'


@pytest.fixture(scope="module")
def image(packages: Path) -> Path:
    return one(packages, "*.oci.tar")


def described(image: Path) -> dict[str, object]:
    """What the image says of itself, as a tool of somebody else reads it."""
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    return json.loads(run(["skopeo", "inspect", "--config", f"oci-archive:{image}"]))


def test_it_says_what_it_is(image: Path) -> None:
    said = described(image)
    config = said["config"]
    assert isinstance(config, dict)
    assert config["User"] == "65532:65532" and config["Entrypoint"] == ["/mcp-session-store"]
    assert list(config["Volumes"]) == ["/data"]
    assert config["Labels"]["org.opencontainers.image.version"] == version()


@pytest.fixture
def bundle(image: Path, tmp_path: Path) -> Path:
    """What a runtime takes: the layer unpacked, and the configuration that follows from the image's."""
    config = described(image)["config"]
    assert isinstance(config, dict)
    run(["skopeo", "copy", "--quiet", f"oci-archive:{image}", f"dir:{tmp_path / 'copied'}"])
    manifest = json.loads((tmp_path / "copied/manifest.json").read_text())
    assert len(manifest["layers"]) == 1, "one layer, from scratch"
    layer = tmp_path / "copied" / manifest["layers"][0]["digest"].removeprefix("sha256:")
    root = tmp_path / "bundle/rootfs"
    root.mkdir(parents=True)
    with tarfile.open(layer) as archive:
        archive.extractall(root, numeric_owner=True, filter="fully_trusted")
    user, group = (int(part) for part in config["User"].split(":"))
    (tmp_path / "bundle/config.json").write_text(json.dumps({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False, "user": {"uid": user, "gid": group}, "args": config["Entrypoint"], "env": config["Env"],
            "cwd": config["WorkingDir"], "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
    }))
    return tmp_path / "bundle"


def start(bundle: Path, name: str, request: bytes) -> bytes:
    return subprocess.run(
        ["runc", "--root", bundle / "state", "run", "--bundle", bundle, name], input=request, capture_output=True,
        timeout=120, check=True).stdout


def test_it_serves_as_an_ordinary_user_and_finds_its_data_again(bundle: Path) -> None:
    if os.geteuid() != 0 or shutil.which("runc") is None:
        pytest.skip("runc is not installed, or this user is not root")
    assert b'"session_id":"s-1"' in start(bundle, f"first-{os.getpid()}", CREATE)
    assert start(bundle, f"second-{os.getpid()}", COUNT) == b'{"jsonrpc":"2.0","id":1,"result":{"count":1}}\n'
    made = (bundle / "rootfs/data/sessions.db").stat()
    assert (made.st_uid, made.st_mode & 0o777) == (65_532, 0o600)


def test_another_image_can_take_the_program_from_it(image: Path, tmp_path: Path) -> None:
    """`COPY --from=… /mcp-session-store /usr/local/bin/`"""
    run(["skopeo", "copy", "--quiet", f"oci-archive:{image}", f"dir:{tmp_path}"])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    with tarfile.open(tmp_path / manifest["layers"][0]["digest"].removeprefix("sha256:")) as archive:
        archive.extract("mcp-session-store", tmp_path, filter="data")
        assert sorted(archive.getnames()) == [
            "data", "licenses/LICENSE", "licenses/THIRD-PARTY-LICENSES.txt", "mcp-session-store", "tmp"]
    assert run([tmp_path / "mcp-session-store", "--version"]).startswith("mcp-session-store ")
