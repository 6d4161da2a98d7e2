"""What a store does by itself when something fails for now, and the limits of what it may be told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Restart:
    """How a process that ended by itself is started again.

    Reads, and calls that were not written yet, are sent to the new one; every other call that was on its way fails with
    the outcome `unknown`. Subscriptions go on behind what they told last.
    """

    #: starts within `within` seconds after which it gives up
    attempts: int = 5
    within: float = 60.0
    #: seconds before the first start; doubles with each one that fails, and varies by half
    delay: float = 0.05
    max_delay: float = 5.0
    #: seconds after which a call tries again what was given up; None: only `open` does
    pause: float | None = 30.0

    def __post_init__(self) -> None:
        whole("attempts", self.attempts, 0)
        seconds("within", self.within)
        at_least_none("delay", self.delay)
        at_least_none("max_delay", self.max_delay)
        seconds("pause", self.pause)


@dataclass(frozen=True)
class Retry:
    """How a call is repeated that the store refused for now, such as `database_busy`, and of which nothing took effect.

    It is repeated with a random pause (full jitter), and never beyond the call's timeout.
    """

    #: repetitions
    attempts: int = 3
    #: seconds of the longest first pause; doubles with each further one
    delay: float = 0.05
    max_delay: float = 1.0

    def __post_init__(self) -> None:
        whole("attempts", self.attempts, 0)
        at_least_none("delay", self.delay)
        at_least_none("max_delay", self.max_delay)


def one_of(name: str, value: T | None, kind: type[T]) -> T | None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}(…), or None for none, not {value!r}.")
    return value


def seconds(name: str, value: float | None) -> float | None:
    """A time above zero; None: any time."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, or None for any time, not {value!r}.")
    if not value > 0:
        raise ValueError(f"{name} must be above 0 seconds, or None for any time, not {value!r}.")
    return None if value == math.inf else value


def at_least_none(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}.")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a number of seconds from 0 on, not {value!r}.")


def whole(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value!r}.")
