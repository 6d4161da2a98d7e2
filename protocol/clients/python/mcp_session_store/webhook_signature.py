"""Signatures of Standard Webhooks, as MCP Events sends and expects them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "whsec_"
#: bytes of a secret
SHORTEST, LONGEST = 24, 64


def decoded(secret: object) -> bytes | None:
    """The bytes of a secret, `whsec_` and the base64 of 24 to 64 of them; None: it is none."""
    if not isinstance(secret, str) or not secret.startswith(PREFIX):
        return None
    try:
        key = base64.b64decode(secret[len(PREFIX):].encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if SHORTEST <= len(key) <= LONGEST else None


def signature(secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret that holds now.

    timestamp: Unix seconds, of this attempt. Raises ValueError when one is no secret.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    found = []
    for secret in secrets:
        key = decoded(secret)
        if key is None:
            raise ValueError(f"A secret is '{PREFIX}' and the base64 of {SHORTEST} to {LONGEST} bytes.")
        found.append("v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode())
    return " ".join(found)
