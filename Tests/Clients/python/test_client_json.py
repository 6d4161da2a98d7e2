"""JSON as the client writes and reads it."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from mcp_session_store.json_text import LONGEST_INTEGER, decode, encode, integer, one_object

HUGE = 10**6_000 - 7


@pytest.mark.parametrize("value", [
    HUGE, -HUGE, [1, {"a": (HUGE, "9" * 6_000)}], {"a": [HUGE, -HUGE, HUGE], "b": None}, 10**4_299, -(10**4_300),
], ids=lambda _: "")  # pytest itself cannot write them
def test_integers_of_any_length_go_and_come_exactly(value: Any) -> None:
    text = encode(value)
    assert "\n" not in text and decode(text.encode()) == listed(value)


def listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: listed(part) for name, part in value.items()}
    return [listed(part) for part in value] if isinstance(value, (list, tuple)) else value


def test_an_integer_that_would_take_long_is_a_decimal_as_exact() -> None:
    digits = "9" * (LONGEST_INTEGER + 1)
    found = decode(b"[%b]" % digits.encode())[0]
    assert isinstance(found, Decimal) and found == Decimal(digits) and encode([found]) == f"[{digits}]"


def test_integers_are_put_together_as_they_were_cut() -> None:
    source = random.Random(7)
    for length in (1, 599, 600, 601, 1_199, 1_200, 1_201, 4_299):
        digits = "".join(source.choice("0123456789") for _ in range(length))
        assert integer(digits) == int(digits) and integer("-" + digits) == -int(digits)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": -float("inf")}, [HUGE, float("nan")]],
                         ids=lambda _: "")
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        encode(value)


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(ValueError, match="deeply"):
        encode(deep)
    with pytest.raises(ValueError):
        decode(b"[" * 200_000 + b"]" * 200_000)
    while deep:
        deep = deep.pop()


@pytest.mark.parametrize(("text", "expected"), [
    ('{"a": 1}', '{"a": 1}'), (' {"a":\n[1,\r\n2]}\n', ' {"a": [1,  2]} '), ('{"a":"\u2028"}', '{"a":"\u2028"}'),
    ('{"a":"\ud83d"}', '{"a":"\ud83d"}'), ("{}", "{}"), (f'{{"a":{"9" * 9_000}}}', f'{{"a":{"9" * 9_000}}}'),
])
def test_json_text_stays_what_it_is_on_one_line(text: str, expected: str) -> None:
    assert one_object(text) == expected


@pytest.mark.parametrize("text", [
    "", " ", "1", "[]", "null", '"{}"', "{}}", "{", '{"a":1}\n{"b":2}', '{}, "method":"x"', '{"a":NaN}',
    '{"a":Infinity}', '{"a":"\n"}', '{"a":"\x00"}', '{"a":01}', "{'a':1}", '{"a":1,}', "\ufeff{}", "{}\x00", "{}\u2028",
    '{"a":' + "[" * 9_999,
])
def test_text_that_is_not_one_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parameters"):
        one_object(text)
