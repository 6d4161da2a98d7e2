"""The npm packages as their users install them: offline, without scripts, from ES modules, CommonJS and TypeScript."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from installing import ROOT, one, run
from release import version

NAME = "mcp-session-store"
OWN = f"{NAME}-linux-x64" if platform.machine() == "x86_64" else f"{NAME}-linux-arm64"
Environment = dict[str, str]

HELLO = """
const store = await SessionStore.open({ database: process.argv[2] })
const { session_id } = await store.createSession({ session_id: 's-1' })
console.log(session_id, store.info.version)
await store.close()
"""
MODULE = f"import {{ SessionStore }} from '{NAME}'\n{HELLO}"
COMMON = f"const {{ SessionStore }} = require('{NAME}')\n;(async () => {{{HELLO}}})()\n"
#: under one name in each system of modules
TYPED = """
import { SessionStore } from 'mcp-session-store'

export async function hello(database: string): Promise<string> {
  const store = await SessionStore.open({ database })
  const { session_id } = await store.createSession({ session_id: 's-1' })
  await store.close()
  return session_id
}
"""


@pytest.fixture(scope="module")
def client(packages: Path) -> Path:
    return one(packages, f"{NAME}-{version()}.tgz")


@pytest.fixture(scope="module")
def program(packages: Path) -> Path:
    return one(packages, f"{OWN}-{version()}.tgz")


@pytest.fixture
def project(tmp_path: Path, elsewhere: Environment) -> Path:
    """An empty project of somebody who cannot reach a registry."""
    elsewhere |= {"HOME": str(tmp_path), "npm_config_cache": str(tmp_path / "cache")}
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "package.json").write_text('{"name": "project", "private": true}')
    (folder / "hello.mjs").write_text(MODULE)
    (folder / "hello.cjs").write_text(COMMON)
    return folder


def install(project: Path, environment: Environment, *packages: Path, more: tuple[str, ...] = ()) -> str:
    return run(
        ["npm", "install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", *more, *packages], cwd=project,
        env=environment)


def hello(project: Path, environment: Environment, file: str = "hello.mjs", *, fails: bool = False) -> str:
    return run(["node", file, project / "sessions.db"], cwd=project, env=environment, fails=fails)


# --- What they are


def manifest(package: Path) -> dict[str, object]:
    with tarfile.open(package) as archive:
        file = archive.extractfile("package/package.json")
        assert file is not None
        return json.loads(file.read())


def names(package: Path) -> set[str]:
    with tarfile.open(package) as archive:
        return {"./" + name.removeprefix("package/") for name in archive.getnames()}


def test_every_export_is_there_and_in_an_order_that_resolvers_read(client: Path) -> None:
    there = names(client)
    exports = manifest(client)["exports"]
    assert isinstance(exports, dict)

    def check(target: object) -> None:
        if isinstance(target, str):
            assert target in there, f"{target} is exported and not packed"
            return
        assert isinstance(target, dict)
        keys = list(target)
        assert "default" in keys, f"{target} has no default"
        assert keys[-1] == "default", f"what stands behind default is never read: {keys}"
        if "types" in keys:
            assert keys.index("types") < keys.index("default")
        for inner in target.values():
            check(inner)

    for entry in exports.values():
        check(entry)
    # Every module that has types is an entry or is used by one, and the other way round.
    modules = {name for name in there if re.fullmatch(r"\./[^/]+\.mjs", name)}
    for types in (name for name in there if name.endswith((".d.mts", ".d.cts"))):
        assert re.sub(r"\.d\.[mc]ts$", ".mjs", types) in modules, types


def test_every_adapter_is_exported(client: Path) -> None:
    exports = manifest(client)["exports"]
    assert isinstance(exports, dict)
    with tarfile.open(client) as archive:
        page = archive.extractfile("package/README.md")
        assert page is not None
        rows = re.findall(r"^\| `([a-z-]+)\.mjs`[^|]*\| \[", page.read().decode(), re.MULTILINE)
    assert {f"./{name}" for name in rows} == set(exports) - {".", "./package.json"}


def test_what_a_module_imports_is_packed(client: Path) -> None:
    there = names(client)
    with tarfile.open(client) as archive:
        for name in sorted(there):
            if not name.endswith((".mjs", ".cjs", ".d.mts", ".d.cts")):
                continue
            file = archive.extractfile("package/" + name.removeprefix("./"))
            assert file is not None
            for found in re.findall(r"(?:from|import|require)\s*\(?\s*'(\.[^']+)'", file.read().decode()):
                place = os.path.normpath(os.path.join(os.path.dirname(name), found))
                target = "./" + place
                types = re.sub(r"\.([mc])js$", r".d.\1ts", target)
                assert target in there or types in there, f"{name} imports {found}"


def test_no_scripts_and_exact_versions(client: Path, program: Path) -> None:
    for package in (client, program):
        said = manifest(package)
        assert "scripts" not in said and "dependencies" not in said
        assert said["version"] == version()
    optional = manifest(client)["optionalDependencies"]
    assert isinstance(optional, dict)
    assert set(optional.values()) == {version()} and OWN in optional
    own = manifest(program)
    assert own["os"] == ["linux"] and own["cpu"] == [OWN.rsplit("-", 1)[1]] and own["preferUnplugged"] is True


# --- Installed


def test_installed_offline_it_serves_from_every_kind_of_module_and_goes_without_a_trace(
    client: Path, program: Path, project: Path, elsewhere: Environment
) -> None:
    before = {path for path in project.rglob("*")}
    install(project, elsewhere, client, program)
    assert hello(project, elsewhere) == f"s-1 {version()}\n"
    (project / "sessions.db").unlink()
    assert hello(project, elsewhere, "hello.cjs") == f"s-1 {version()}\n"
    command = project / "node_modules/.bin" / NAME
    assert "sessions" in run([command, "status", "--database", "sessions.db"], cwd=project, env=elsewhere)
    assert "nonsense" in run([command, "nonsense"], cwd=project, env=elsewhere, fails=True)
    for file in project.glob("sessions.db*"):
        file.unlink()
    run(["npm", "uninstall", "--offline", "--no-audit", "--no-fund", NAME, OWN], cwd=project, env=elsewhere)
    left = {path for path in project.rglob("*")} - before
    assert {path.name for path in left} <= {"package-lock.json", "node_modules", ".package-lock.json", ".bin"}


@pytest.mark.parametrize(("kind", "file"), [("module", "use.mts"), ("commonjs", "use.cts")])
def test_typescript_takes_it_strictly(
    kind: str, file: str, client: Path, program: Path, project: Path, elsewhere: Environment
) -> None:
    install(project, elsewhere, client, program)
    (project / file).write_text(TYPED)
    run(
        ["tsc", "--strict", "--module", "node16", "--moduleResolution", "node16", "--target", "es2022", "--lib",
         "es2022,esnext.disposable,dom" if newer_typescript(elsewhere) else "es2022,dom", file], cwd=project,
        env=elsewhere)
    compiled = "use.mjs" if kind == "module" else "use.cjs"
    call = f"import('./{compiled}').then((m) => m.hello(process.argv[1])).then(console.log)"
    assert run(["node", "-e", call, project / "sessions.db"], cwd=project, env=elsewhere) == "s-1\n"


def newer_typescript(environment: Environment) -> bool:
    major, minor, *_ = (int(part) for part in re.findall(r"\d+", run(["tsc", "--version"], env=environment)))
    return (major, minor) >= (5, 2)


# --- What goes wrong


def test_without_the_platforms_package_it_says_what_to_do(
    client: Path, project: Path, elsewhere: Environment
) -> None:
    install(project, elsewhere, client, more=("--omit=optional",))
    said = hello(project, elsewhere, fails=True)
    assert f"the package {OWN} is not installed" in said and "--omit=optional" in said and "lockfile" in said
    command = run([project / "node_modules/.bin" / NAME, "status"], cwd=project, env=elsewhere, fails=True)
    assert f"the package {OWN} is not installed" in command


def test_another_platform(client: Path, program: Path, project: Path, elsewhere: Environment) -> None:
    install(project, elsewhere, client, program)
    (project / "mac.mjs").write_text("Object.defineProperty(process, 'platform', { value: 'darwin' })\n")
    said = run(
        ["node", "--import", "./mac.mjs", "hello.mjs", project / "s.db"], cwd=project, env=elsewhere, fails=True)
    assert "there is no package for darwin on" in said and OWN in said and "container" in said


def installed_program(project: Path) -> Path:
    return project / "node_modules" / OWN / "bin" / NAME


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_broken_file(
    damage: str, client: Path, program: Path, project: Path, elsewhere: Environment
) -> None:
    install(project, elsewhere, client, program)
    path = installed_program(project)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2:]
    else:
        data[:4] = b"\x7fELG"
    path.write_bytes(data)
    said = hello(project, elsewhere, fails=True)
    assert "is not the file that was published" in said and "SHA-256" in said and "install again" in said


def test_no_right_to_execute_it(client: Path, program: Path, project: Path, elsewhere: Environment) -> None:
    install(project, elsewhere, client, program)
    installed_program(project).chmod(0o644)
    assert f"not executable: run chmod +x {installed_program(project)}" in hello(project, elsewhere, fails=True)


def test_another_version_of_the_program(client: Path, program: Path, project: Path, elsewhere: Environment) -> None:
    install(project, elsewhere, client, program)
    path = project / "node_modules" / OWN / "package.json"
    path.write_text(path.read_text().replace(f'"version": "{version()}"', '"version": "0.0.1"'))
    said = hello(project, elsewhere, fails=True)
    assert f"{OWN} is version 0.0.1, this client needs exactly {version()}" in said


def test_a_program_of_ones_own_goes_before(client: Path, program: Path, project: Path, elsewhere: Environment) -> None:
    install(project, elsewhere, client, program)
    own = shutil.copy(installed_program(project), project / "own")
    installed_program(project).unlink()
    assert hello(project, {**elsewhere, "MCP_SESSION_STORE_BINARY": str(own)}) == f"s-1 {version()}\n"
    said = hello(project, {**elsewhere, "MCP_SESSION_STORE_BINARY": str(project / "none")}, fails=True)
    assert f"MCP_SESSION_STORE_BINARY names '{project / 'none'}'" in said


def test_the_folder_of_the_client_can_be_installed(project: Path, elsewhere: Environment) -> None:
    run(
        ["npm", "install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional",
         ROOT / "protocol/clients/node"], cwd=project, env=elsewhere)
    said = hello(project, elsewhere, fails=True)
    assert "came without packages" in said
