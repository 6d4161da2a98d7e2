"""The files under protocol/deploying, looked at by the tools that read them, as far as a machine without them can."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from installing import ROOT, run
from release import version

DEPLOYING = ROOT / "protocol" / "deploying"


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    unit = (DEPLOYING / "mcp-server.service").read_text()
    assert re.search(r"^KillMode=mixed$", unit, re.MULTILINE), "the store would end before the server's last write"
    # The server of the example is nobody's: any program that is there stands for it.
    (tmp_path / "mcp-server.service").write_text(re.sub(r"ExecStart=.*", "ExecStart=/bin/true", unit))
    said = run(["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", tmp_path / "mcp-server.service"])
    assert "mcp-server.service" not in said, said


def test_kubernetes_takes_the_objects() -> None:
    said = run([Path(sys.executable).with_name("kubernetes-validate"), "--strict", DEPLOYING / "kubernetes.yaml"])
    assert said.count("passed") == 2
    workload = next(yaml.safe_load_all((DEPLOYING / "kubernetes.yaml").read_text()))
    assert workload["spec"]["replicas"] == 1, "a file serves one node"
    claim = workload["spec"]["volumeClaimTemplates"][0]["spec"]
    assert claim["accessModes"] == ["ReadWriteOncePod"]
    mounts = workload["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {mount["mountPath"] for mount in mounts} == {"/data", "/tmp"}, "the root file system is read-only"


def test_kubernetes_takes_three_replicas_on_a_server() -> None:
    path = DEPLOYING / "kubernetes-postgres.yaml"
    said = run([Path(sys.executable).with_name("kubernetes-validate"), "--strict", path])
    assert said.count("passed") == 3
    secret, workload, service = yaml.safe_load_all(path.read_text())
    assert workload["kind"] == "Deployment" and workload["spec"]["replicas"] == 3
    assert service["spec"]["sessionAffinity"] == "None"
    [container] = workload["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry for entry in container["env"]}
    address = environment["MCP_SESSION_STORE_DATABASE"]["value"]
    assert address.startswith("postgresql://mcp@") and secret["stringData"]["password"] not in path.read_text().split(
        "kind: Deployment")[1], "the password would show where processes are listed"
    assert environment["PGPASSWORD"]["valueFrom"]["secretKeyRef"]["name"] == secret["metadata"]["name"]
    assert "MCP_SESSION_STORE_BUSY_TIMEOUT" in environment
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp"}, "nothing is kept in a pod"


def test_the_compose_file_keeps_the_data_and_gives_time_to_end() -> None:
    said = yaml.safe_load((DEPLOYING / "compose.yaml").read_text())
    server = said["services"]["server"]
    assert server["volumes"] == ["sessions:/data"] and "sessions" in said["volumes"]
    assert server["stop_grace_period"] == "30s" and server["read_only"] is True


def test_the_dockerfile_runs_the_server_itself_and_not_as_root() -> None:
    lines = [line for line in (DEPLOYING / "Dockerfile").read_text().splitlines() if line]
    said = dict(line.split(" ", 1) for line in lines if re.match(r"(USER|VOLUME|CMD|FROM) ", line))
    assert said["USER"] == "server" and said["VOLUME"] == "/data"
    assert said["CMD"].startswith("["), "a shell would be told to stop in the server's place"
    assert f"COPY --from=mcp-session-store:{version()} /mcp-session-store" in (DEPLOYING / "Dockerfile").read_text()


def test_the_dockerfile_for_a_server_has_what_the_program_loads() -> None:
    text = (DEPLOYING / "Dockerfile.postgres").read_text()
    assert re.search(r"^RUN .*install .*\blibpq5\b", text, re.MULTILINE) and "pip install" in text
    assert re.search(r"^FROM python:[\d.]+-slim$", text, re.MULTILINE), "its libc must be new enough, and be glibc"
    assert re.search(r"^USER server$", text, re.MULTILINE) and re.search(r"^CMD \[", text, re.MULTILINE)


def test_the_page_names_every_file() -> None:
    page = (DEPLOYING / "README.md").read_text()
    for path in DEPLOYING.iterdir():
        assert path.name == "README.md" or f"]({path.name})" in page, path.name
