"""JSON in the one form that everybody writes alike (RFC 8785), so that a digest of it is the same in every language."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

#: what a double holds exactly; beyond it every reader of JSON may round
EXACT = 2**53


def canonical(value: Any) -> str:
    """The value with its members in the order of UTF-16, without blanks, numbers as ECMAScript writes them.

    Raises ValueError for NaN and the infinities, TypeError for what JSON cannot say.
    """
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"The name of a member must be text, not {name!r}.")
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_text(name)}:{canonical(member)}" for name, member in members) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int) and abs(value) <= EXACT:
        return str(value)
    if isinstance(value, (int, float, Decimal)):
        return _number(float(value))
    raise TypeError(f"JSON cannot say {value!r}.")


def canonical_bytes(value: Any) -> bytes:
    """The same in UTF-8; half a surrogate pair, which UTF-8 cannot spell, stays the escape that JSON has for it."""
    return canonical(value).encode("utf-8", "backslashreplace")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError("JSON has no NaN and no infinity.")
    if value == 0:
        return "0"
    # Both languages find the same digits, the fewest that tell the double; they differ in where the point goes.
    digits, _, exponent = f"{Decimal(repr(abs(value))).normalize():e}".partition("e")
    digits = digits.replace(".", "")
    point = int(exponent) + 1
    if 0 < point <= 21:
        whole = digits.ljust(point, "0")
        text = whole[:point] + ("." + whole[point:] if whole[point:] else "")
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{point - 1:+d}"
    return ("-" if value < 0 else "") + text
