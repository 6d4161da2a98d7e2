"""The wheel as its users install it: without Swift, without this checkout, in every layout that people use."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import zipapp
import zipfile
from pathlib import Path

import pytest

from installing import ROOT, environment, one, pip, run

HELLO = """
import asyncio, sys
from mcp_session_store import Store

async def main():
    async with Store(sys.argv[1]) as store:
        print((await store.create_session(session_id="s-1"))["session_id"], store.info["version"])

asyncio.run(main())
"""

Environment = dict[str, str]


@pytest.fixture(scope="module")
def wheel(packages: Path) -> Path:
    return one(packages, "*.whl")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    return environment(tmp_path / "venv")


def test_it_is_what_tools_expect_of_a_wheel(wheel: Path) -> None:
    run([Path(sys.executable).with_name("check-wheel-contents"), wheel])
    tags = [line for line in read(wheel, "WHEEL").splitlines() if line.startswith("Tag: ")]
    assert len(tags) == 2 and all(tag.startswith("Tag: py3-none-") for tag in tags)
    assert "manylinux_2_17" in tags[0] and "musllinux_1_1" in tags[1]


def read(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(path for path in archive.namelist() if path.endswith(name))).decode()


def test_the_program_needs_nothing(wheel: Path, tmp_path: Path) -> None:
    program = unpacked(wheel, tmp_path) / "mcp_session_store/_program/mcp-session-store"
    assert "not a dynamic executable" in run(["ldd", program], fails=True)


def unpacked(wheel: Path, place: Path) -> Path:
    run([sys.executable, "-m", "zipfile", "-e", wheel, place / "unpacked"])
    return place / "unpacked"


def test_installed_alone_it_serves_and_goes_without_a_trace(
    wheel: Path, python: Path, tmp_path: Path, elsewhere: Environment
) -> None:
    before = listing(python)
    pip(python, "install", "--no-index", wheel)
    database = tmp_path / "sessions.db"
    assert run([python, "-c", HELLO, database], env=elsewhere, cwd=tmp_path).startswith("s-1 ")
    command = python.with_name("mcp-session-store")
    assert "sessions" in run([command, "status", "--database", database], env=elsewhere, cwd=tmp_path)
    assert run([command, "--version"], env=elsewhere).startswith("mcp-session-store ")
    assert "nonsense" in run([command, "nonsense"], env=elsewhere, fails=True)
    pip(python, "uninstall", "--yes", "mcp-session-store")
    assert listing(python) == before


def listing(python: Path) -> set[Path]:
    return {path for path in python.parents[1].rglob("*") if "__pycache__" not in path.parts}


def test_a_target_folder_on_the_path(wheel: Path, tmp_path: Path, elsewhere: Environment) -> None:
    target = tmp_path / "target"
    pip(Path(sys.executable), "install", "--no-index", "--target", target, wheel)
    variables = {**elsewhere, "PYTHONPATH": str(target)}
    assert run([sys.executable, "-c", HELLO, tmp_path / "s.db"], env=variables).startswith("s-1 ")


def test_uv_run_with(wheel: Path, tmp_path: Path, elsewhere: Environment) -> None:
    uv = Path(sys.executable).with_name("uv")
    variables = {**elsewhere, "HOME": str(tmp_path)}
    printed = run(
        [uv, "run", "--no-project", "--offline", "--quiet", "--python", sys.executable, "--with", wheel, "python", "-c",
         HELLO, tmp_path / "s.db"], env=variables, cwd=tmp_path)
    assert printed.startswith("s-1 ")


def test_from_a_zip_archive_it_says_why_not(wheel: Path, tmp_path: Path, elsewhere: Environment) -> None:
    source = unpacked(wheel, tmp_path)
    shutil.rmtree(next(source.glob("*.dist-info")))
    (source / "__main__.py").write_text(HELLO)
    zipapp.create_archive(source, tmp_path / "app.pyz")
    said = run([sys.executable, tmp_path / "app.pyz", tmp_path / "s.db"], env=elsewhere, fails=True)
    assert "inside of the archive" in said and "app.pyz" in said and "MCP_SESSION_STORE_BINARY" in said


def test_the_source_package_is_the_client_alone_and_says_so(
    packages: Path, python: Path, tmp_path: Path, elsewhere: Environment
) -> None:
    pip(python, "install", one(packages, "mcp_session_store-*.tar.gz"))
    said = run([python, "-c", HELLO, tmp_path / "s.db"], env=elsewhere, fails=True)
    assert "the source package is the client alone" in said and "Looked for:" in said
    for place in ("_program/mcp-session-store (not there)", "/usr/bin/mcp-session-store"):
        assert place in said
    assert "client alone" in run([python.with_name("mcp-session-store"), "status"], env=elsewhere, fails=True)
    # With a program somewhere it works: its own script, which stands first on the PATH, is not taken for one.
    program = unpacked(one(packages, "*.whl"), tmp_path) / "mcp_session_store/_program/mcp-session-store"
    program.chmod(0o755)
    variables = {**elsewhere, "PATH": f"{python.parent}:{program.parent}:{elsewhere['PATH']}"}
    assert run([python, "-c", HELLO, tmp_path / "s.db"], env=variables).startswith("s-1 ")


def test_the_folder_of_the_client_can_be_installed(python: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "protocol/clients/python", tmp_path / "client")
    pip(python, "install", tmp_path / "client")
    run([python, "-c", "import mcp_session_store; print(mcp_session_store.__version__)"])


@pytest.mark.parametrize("explicit", ["option", "environment"])
def test_what_is_named_is_not_replaced(
    explicit: str, wheel: Path, python: Path, tmp_path: Path, elsewhere: Environment
) -> None:
    pip(python, "install", "--no-index", wheel)
    missing = tmp_path / "no-such-program"
    code, variables = HELLO, dict(elsewhere)
    if explicit == "option":
        code = HELLO.replace("Store(sys.argv[1])", f"Store(sys.argv[1], binary={str(missing)!r})")
    else:
        variables["MCP_SESSION_STORE_BINARY"] = str(missing)
    said = run([python, "-c", code, tmp_path / "s.db"], env=variables, fails=True)
    assert f"names '{missing}', which is not there" in said


def test_no_right_to_execute_it(wheel: Path, python: Path, tmp_path: Path, elsewhere: Environment) -> None:
    pip(python, "install", "--no-index", wheel)
    program = next((tmp_path / "venv").rglob("_program/mcp-session-store"))
    program.chmod(stat.S_IRUSR | stat.S_IWUSR)
    said = run([python, "-c", HELLO, tmp_path / "s.db"], env=elsewhere, fails=True)
    assert f"not executable: chmod +x {program}" in said
    assert "Permission denied" in run([python.with_name("mcp-session-store"), "status"], env=elsewhere, fails=True)


SERVER = """
import sys
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp_session_store import Restart, Store
from mcp_session_store.mcp_sessions import streamable_http_app

mcp = MCPServer("counter")
uvicorn.run(streamable_http_app(mcp, Store(sys.argv[1], restart=Restart())), port=int(sys.argv[2]), log_level="error")
"""

CLIENT = """
import json, sys, time, urllib.error, urllib.request

def post(port, body, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/mcp", json.dumps(body).encode(), {
        "Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers})
    for _ in range(600):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.headers, f"status {error.code}"
        except OSError:
            time.sleep(0.1)
    sys.exit("the server does not answer")

port, session = sys.argv[1], sys.argv[2]
if session == "-":
    headers, body = post(port, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}})
    print(headers["mcp-session-id"])
else:
    print(post(port, {"jsonrpc": "2.0", "id": 2, "method": "ping"}, **{
        "Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-06-18"})[1])
"""


def test_a_real_server_is_killed_and_knows_its_session_again(
    wheel: Path, python: Path, tmp_path: Path, elsewhere: Environment
) -> None:
    pip(python, "install", f"{wheel}[mcp]")
    (tmp_path / "server.py").write_text(SERVER)
    port = free_port()
    variables = {**elsewhere, "HOME": str(tmp_path)}

    def server() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [python, tmp_path / "server.py", tmp_path / "sessions.db", str(port)], env=variables, cwd=tmp_path)

    def client(session: str) -> str:
        return run([sys.executable, "-c", CLIENT, str(port), session], env=variables).strip()

    first = server()
    try:
        session = client("-")
        assert len(session) > 20
    finally:
        first.kill()
        first.wait()
    second = server()
    try:
        assert '"result":{}' in client(session)
        assert client("somebody-else's") == "status 404"
    finally:
        second.kill()
        second.wait()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nothing_of_this_checkout_was_on_a_path(elsewhere: Environment) -> None:
    for folder in elsewhere["PATH"].split(os.pathsep):
        assert not Path(folder).is_relative_to(ROOT)
        assert not (Path(folder) / "swift").exists()
