"""JSON as it goes over the wire: one line, every integer exact, nothing that another reader would take otherwise."""

from __future__ import annotations

import json
import secrets
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: digits that any interpreter converts, whatever `sys.set_int_max_str_digits` says
DIGITS = 600
#: digits of an integer that is one in Python; what is longer, and would take long, is a Decimal, as exact
LONGEST_INTEGER = 100_000

_decoder = json.JSONDecoder()
_decode = _decoder.decode
_scan = _decoder.scan_once  # type: ignore[attr-defined]
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _made_once() -> Callable[[Any], str]:
    """The encoder's `encode`, without making what does the work anew for each value, which takes longer than most
    values do. Where Python has changed inside, `encode` itself."""
    try:
        write: Any = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
            None, _encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, False)

        def written(value: Any) -> str:
            parts = write(value, 0)
            return parts[0] if len(parts) == 1 else "".join(parts)

        if written({"a": [1, "b", None]}) == _encoder.encode({"a": [1, "b", None]}):
            return written
    except (AttributeError, TypeError):
        pass
    return _encoder.encode


_encode = _made_once()


def encode(value: Any) -> str:
    """The value on one line. Raises ValueError for NaN, the infinities and what is nested too deeply, TypeError for
    what JSON cannot say."""
    try:
        return _encode(value)
    except RecursionError:
        raise ValueError("The value is nested too deeply for JSON.") from None
    except (TypeError, ValueError):
        text = _encode_long_integers(value)
        if text is None:
            raise
        return text


def _encode_long_integers(value: Any) -> str | None:
    """Python refuses to write integers of some thousand digits; they are put in afterwards. None: there are none."""
    mark = secrets.token_hex(16)
    found: list[str] = []

    def marked(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: marked(member) for name, member in part.items()}
        if isinstance(part, (list, tuple)):
            return [marked(member) for member in part]
        if isinstance(part, Decimal) and part == part.to_integral_value():
            found.append(format(part, "f"))
        elif isinstance(part, int) and part.bit_length() > 3 * DIGITS:
            found.append(str(Decimal(part)))
        else:
            return part
        return f"{mark} {len(found) - 1} "

    text = _encode(marked(value))
    for number, digits in enumerate(found):
        text = text.replace(f'"{mark} {number} "', digits)
    return text if found else None


def decode(line: bytes) -> Any:
    """What a line says. Raises ValueError when it is no JSON."""
    text = line.decode()
    try:
        try:
            value, end = _scan(text, 0)
            if end == len(text):
                return value
        except StopIteration:
            pass
        return _decode(text)  # with blanks around it, or none
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:
        # No syntax, but an integer that is longer than Python likes.
        return json.loads(text, parse_int=integer)


def integer(digits: str) -> int | Decimal:
    """An integer of any length, exactly."""
    if len(digits) > LONGEST_INTEGER:
        return Decimal(digits)
    if digits.startswith("-"):
        return -_natural(digits[1:])
    return _natural(digits)


def _natural(digits: str) -> int:
    if len(digits) <= DIGITS:
        return int(digits)
    half = len(digits) // 2
    power: int = 10**half
    return _natural(digits[:-half]) * power + _natural(digits[-half:])


def _refused(constant: str) -> Any:
    raise json.JSONDecodeError(f"{constant} is no JSON", constant, 0)


_reader = json.JSONDecoder(parse_constant=_refused)
_patient_reader = json.JSONDecoder(parse_constant=_refused, parse_int=len)
_line_ends = str.maketrans("\n\r", "  ")


class Encoded(str):
    """The text of one JSON object as an encoder wrote it: it is not read again. Never for what somebody else wrote."""

    __slots__ = ()


def one_object(text: str) -> str:
    """JSON text that is one object, on one line. Raises ValueError when it is anything else."""
    if isinstance(text, Encoded):
        return text
    try:
        try:
            value = _reader.decode(text)
        except json.JSONDecodeError:
            raise
        except ValueError:
            value = _patient_reader.decode(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The parameters are no JSON text: {str(error)[:200]}.") from None
    if not isinstance(value, dict):
        raise ValueError("The parameters must be a JSON object, {…}.")
    # Between two tokens, for within a string there may be none.
    return text.translate(_line_ends) if "\n" in text or "\r" in text else text


def members_of(text: str) -> dict[str, Any]:
    """What the text of one JSON object says, its integers exact. Raises ValueError when it is anything else."""
    value = json.loads(one_object(text), parse_int=integer)
    assert isinstance(value, dict)
    return value
