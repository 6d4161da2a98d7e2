"""The first commands of the README, as printed: an installation, and a program that survives its end.

A registry on loopback stands for the real ones: it hands out the packages that were made from this checkout.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from installing import ROOT, run

README = (ROOT / "README.md").read_text(encoding="utf-8")
Environment = dict[str, str]


def block(language: str, beginning: str) -> str:
    found = re.findall(rf"^```{language}\n({re.escape(beginning)}.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"{len(found)} blocks of '{language}' that begin with '{beginning}'"
    return str(found[0])


def test_pip_install_and_the_program(packages: Path, tmp_path: Path, elsewhere: Environment) -> None:
    run([sys.executable, "-m", "venv", tmp_path / "venv"])
    elsewhere |= {
        "PATH": f"{tmp_path / 'venv/bin'}:{elsewhere['PATH']}", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(packages),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1", "HOME": str(tmp_path),
    }
    run(["sh", "-ec", block("sh", "pip install")], env=elsewhere, cwd=tmp_path)
    (tmp_path / "counter.py").write_text(block("python", "# counter.py"), encoding="utf-8")
    for number in (1, 2, 3):
        assert run(["python", "counter.py"], env=elsewhere, cwd=tmp_path) == f"run {number}\n"


class Registry(http.server.BaseHTTPRequestHandler):
    """As much of npm's as an installation asks for."""

    packages: Path

    def do_GET(self) -> None:
        name = self.path.strip("/").split("?")[0]
        file = self.packages / name.removeprefix("tarballs/")
        if name.startswith("tarballs/") and file.exists():
            return self.answer(200, file.read_bytes())
        for path in sorted(self.packages.glob("*.tgz")):
            with tarfile.open(path) as archive:
                member = archive.extractfile("package/package.json")
                assert member is not None
                manifest = json.loads(member.read())
            if manifest["name"] == name:
                host = self.headers["Host"]
                digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
                manifest["dist"] = {"tarball": f"http://{host}/tarballs/{path.name}", "integrity": f"sha512-{digest}"}
                version = manifest["version"]
                document = {"name": name, "dist-tags": {"latest": version}, "versions": {version: manifest}}
                return self.answer(200, json.dumps(document).encode())
        return self.answer(404, b"{}")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry(packages: Path) -> Iterator[str]:
    handler = type("Handler", (Registry,), {"packages": packages})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_npm_install_and_the_program(registry: str, tmp_path: Path, elsewhere: Environment) -> None:
    elsewhere |= {
        "HOME": str(tmp_path), "npm_config_cache": str(tmp_path / "cache"), "npm_config_registry": registry,
        "npm_config_audit": "false", "npm_config_fund": "false", "npm_config_ignore_scripts": "true",
    }
    project = tmp_path / "project"
    project.mkdir()
    (project / "package.json").write_text('{"name": "project", "private": true}')
    run(["sh", "-ec", block("sh", "npm install")], env=elsewhere, cwd=project)
    (project / "counter.mjs").write_text(block("js", "// counter.mjs"), encoding="utf-8")
    for number in (1, 2, 3):
        assert run(["node", "counter.mjs"], env=elsewhere, cwd=project) == f"run {number}\n"
