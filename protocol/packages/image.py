"""The container image: one layer with the program, from nothing, as an archive in the OCI image layout (1.0).

Made without a daemon: `skopeo copy oci-archive:FILE docker-daemon:NAME` or `podman load --input FILE` takes it in.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from archive import Tree, gzipped
from licences import NOTICE, notices
from release import LICENCE, NAME, ROOT, SUMMARY, machine, moment, version

#: nobody in particular, and not root; the same number that "distroless" images use
USER = 65_532


def build(program: Path, out: Path) -> list[Path]:
    layer = files(program).tar()
    packed = gzipped(layer)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment()))
    labels = {
        "org.opencontainers.image.title": NAME, "org.opencontainers.image.version": version(),
        "org.opencontainers.image.description": SUMMARY, "org.opencontainers.image.licenses": LICENCE,
        "org.opencontainers.image.created": created,
    }
    blobs: dict[str, bytes] = {}

    def blob(kind: str, data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    config = blob("config.v1+json", text({
        "created": created, "os": "linux", "architecture": machine().image,
        "config": {
            "User": f"{USER}:{USER}", "Entrypoint": [f"/{NAME}"], "WorkingDir": "/data", "Volumes": {"/data": {}},
            "Env": ["MCP_SESSION_STORE_DATABASE=/data/sessions.db"], "Labels": labels, "StopSignal": "SIGTERM",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": created, "created_by": "protocol/packages/build"}],
    }))
    manifest = blob("manifest.v1+json", text({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
        "layers": [blob("layer.v1.tar+gzip", packed)], "annotations": labels,
    }))
    manifest["annotations"] = {"org.opencontainers.image.ref.name": version()}
    manifest["platform"] = {"os": "linux", "architecture": machine().image}
    archive = Tree(moment())
    archive.file("oci-layout", text({"imageLayoutVersion": "1.0.0"}))
    archive.file("index.json", text({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]}))
    for path, data in blobs.items():
        archive.file(path, data)
    path = out / f"{NAME}-{version()}-linux-{machine().image}.oci.tar"
    path.write_bytes(archive.tar())
    return [path]


def files(program: Path) -> Tree:
    tree = Tree(moment())
    tree.file(NAME, program, 0o755)
    tree.folder("data", 0o700, USER)
    tree.folder("tmp", 0o1777)
    tree.file(f"licenses/{NOTICE}", notices())
    tree.file("licenses/LICENSE", ROOT / "LICENSE")
    return tree


def text(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
