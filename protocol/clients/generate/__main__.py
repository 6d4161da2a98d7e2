"""Writes the typed methods of both clients from the contract.

    python3 protocol/clients/generate            writes them
    python3 protocol/clients/generate --check    says which differ, and ends with 1 when one does
"""

import json
import sys
from pathlib import Path

import node
import payloads
import python
import version

CLIENTS = Path(__file__).resolve().parent.parent


def main() -> int:
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 64
    contract = json.loads((CLIENTS.parent / "openrpc.json").read_text(encoding="utf-8"))
    differing = []
    made = (room.files(contract) for room in (node, python, payloads, version))
    for name, text in (file for files in made for file in files.items()):
        path = CLIENTS / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            differing.append(name)
            if not sys.argv[1:]:
                path.write_text(text, encoding="utf-8")
    for name in differing:
        print(name)
    return 1 if sys.argv[1:] and differing else 0


if __name__ == "__main__":
    sys.exit(main())
