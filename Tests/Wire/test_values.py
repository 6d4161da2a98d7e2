"""list_values with a prefix: found by the keys' order where few have it, and by that of creation among many."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from sidecar import Sidecar

ODD = ["", "a", "a\0", "a\0b", "a%", "a_", "A", "\u00e9", "e\u0301", "\ud7ff", "\ue000", "\U0010ffff", "a\U0010ffff",
       "a\U0010ffff\U0010ffff", "\U0010ffff\U0010ffff", "b"]  # fmt: skip


def listed(sidecar: Sidecar, limit: int, **params: Any) -> list[str]:
    keys: list[str] = []
    cursor = None
    while True:
        page = sidecar.call("list_values", collection="c", cursor=cursor, limit=limit, **params)
        assert len(page["values"]) <= limit
        keys += [value["key"] for value in page["values"]]
        if (cursor := page["next_cursor"]) is None:
            return keys


@pytest.mark.parametrize("many", [1, 70])
def test_a_prefix_finds_what_begins_with_it_in_the_order_of_creation(spawn: Callable[..., Sidecar], many: int) -> None:
    """With 70 of each there are more with the prefix "a" than are sorted."""
    sidecar = spawn("--durability", "normal")
    keys = [first + second + str(n) for n in range(many) for first in ODD for second in ODD]
    random.Random(many).shuffle(keys)
    keys = list(dict.fromkeys(keys))
    calls = [{"method": "put_value", "params": {"collection": "c", "key": key, "value": 0}} for key in keys]
    for start in range(0, len(calls), 500):
        sidecar.call("transaction", calls=calls[start : start + 500])
    sidecar.call("put_value", collection="c", key="a of another", value=0, principal="other")
    sidecar.call("put_value", collection="d", key="a of another", value=0)
    for prefix in [*ODD[1:], "aa", "a1", "none"]:
        expected = [key for key in keys if key.startswith(prefix)]
        assert listed(sidecar, 1_000, prefix=prefix) == expected, prefix
        if many == 1:
            assert listed(sidecar, 3, prefix=prefix) == expected, prefix
    assert listed(sidecar, 1_000) == keys
    assert listed(sidecar, 10, prefix="a", principal="other") == ["a of another"]
