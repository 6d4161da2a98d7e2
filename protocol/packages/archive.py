"""Archives whose bytes depend on what is in them, and on nothing else."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path


class Tree:
    """Files, folders and links by their path, each with its mode and owner, in the order of the paths."""

    def __init__(self, moment: int) -> None:
        self._moment = moment
        self._members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def file(self, path: str, content: bytes | str | Path, mode: int = 0o644, owner: int = 0) -> None:
        if isinstance(content, Path):
            content = content.read_bytes()
        data = content.encode() if isinstance(content, str) else content
        info = self._info(path, mode, owner)
        info.size = len(data)
        self._members[path] = (info, data)

    def folder(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        info = self._info(path, mode, owner)
        info.type = tarfile.DIRTYPE
        self._members[path] = (info, b"")

    def _info(self, path: str, mode: int, owner: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path)
        info.mode, info.uid, info.gid, info.mtime = mode, owner, owner, self._moment
        return info

    def tar(self) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for path in sorted(self._members):
                info, data = self._members[path]
                archive.addfile(info, io.BytesIO(data))
        return out.getvalue()


def gzipped(data: bytes) -> bytes:
    """Compressed without the name and the time that gzip would note."""
    return gzip.compress(data, compresslevel=9, mtime=0)
