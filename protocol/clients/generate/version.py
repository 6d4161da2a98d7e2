"""The version, which the contract says, where each client's package has it."""

import json
from pathlib import Path

CLIENTS = Path(__file__).resolve().parent.parent
MANIFEST = "node/package.json"


def files(contract: dict) -> dict[str, str]:
    version = contract["info"]["version"]
    return {
        "python/mcp_session_store/version.py": (
            "# Made by protocol/clients/generate from protocol/openrpc.json.\n"
            f'"""The version of this package and of the program that belongs to it."""\n\n__version__ = "{version}"\n'),
        MANIFEST: manifest(version),
    }


def manifest(version: str) -> str:
    """The package's description, itself and the platforms' packages of exactly this version."""
    text = (CLIENTS / MANIFEST).read_text(encoding="utf-8")
    said = json.loads(text)
    text = text.replace(f'"version": "{said["version"]}"', f'"version": "{version}"', 1)
    for name, old in said["optionalDependencies"].items():
        text = text.replace(f'"{name}": "{old}"', f'"{name}": "{version}"', 1)
    return text
