"""The bill of materials (SPDX 2.3): what the programs are made of, and what each package of this release is."""

from __future__ import annotations

import json
import time
from pathlib import Path

from licences import C_LIBRARY, parts
from program import COMPANION, companion
from release import LICENCE, NAME, moment, sha256, version

OWN = {NAME: "SPDXRef-program", COMPANION: "SPDXRef-companion"}


def build(program: Path, made: list[Path], out: Path) -> list[Path]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment()))
    packages, relations = [], []
    for name, file in ((NAME, program), (COMPANION, companion(program))):
        packages.append({
            "SPDXID": OWN[name], "name": name, "versionInfo": version(), "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False, "licenseConcluded": LICENCE, "licenseDeclared": LICENCE,
            "copyrightText": "NOASSERTION", "primaryPackagePurpose": "APPLICATION",
            "checksums": [{"algorithm": "SHA256", "checksumValue": sha256(file)}],
        })
        relations.append(relation("SPDXRef-DOCUMENT", "DESCRIBES", OWN[name]))
    for number, part in enumerate(parts()):
        name = f"SPDXRef-part-{number}"
        packages.append({
            "SPDXID": name, "name": part.name, "versionInfo": part.version, "supplier": part.supplier,
            "downloadLocation": "NOASSERTION", "homepage": part.home, "filesAnalyzed": False,
            "licenseConcluded": part.licence, "licenseDeclared": part.licence, "copyrightText": "NOASSERTION",
            "primaryPackagePurpose": "LIBRARY",
        })
        relations.append(relation(OWN[NAME], "STATIC_LINK", name))
        kind = "DYNAMIC_LINK" if part.name == C_LIBRARY else "STATIC_LINK"
        relations.append(relation(OWN[COMPANION], kind, name))
    for number, path in enumerate(made):
        name = f"SPDXRef-package-{number}"
        packages.append({
            "SPDXID": name, "name": path.name, "versionInfo": version(), "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False, "licenseConcluded": LICENCE, "licenseDeclared": LICENCE,
            "copyrightText": "NOASSERTION", "primaryPackagePurpose": "ARCHIVE",
            "checksums": [{"algorithm": "SHA256", "checksumValue": sha256(path)}],
        })
        relations.append(relation("SPDXRef-DOCUMENT", "DESCRIBES", name))
    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{NAME}-{version()}",
        "documentNamespace": f"https://spdx.org/spdxdocs/{NAME}-{version()}-{sha256(program)}",
        "creationInfo": {"created": created, "creators": ["Tool: protocol/packages/build"]},
        "packages": packages, "relationships": relations,
    }
    path = out / f"{NAME}-{version()}.spdx.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return [path]


def relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
