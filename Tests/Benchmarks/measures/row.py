"""What a line of the table compares, and what is demanded of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench import Bench


@dataclass(frozen=True)
class Goal:
    """A bound for the median of the ratios."""

    bound: float
    is_lower: bool

    def holds(self, ratio: float) -> bool:
        return ratio >= self.bound if self.is_lower else ratio <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.is_lower else '≤'} {self.bound:g}"


def at_least(bound: float) -> Goal:
    return Goal(bound, is_lower=True)


def at_most(bound: float) -> Goal:
    return Goal(bound, is_lower=False)


@dataclass(frozen=True)
class Row:
    """A figure of ours beside that of a floor or a peer. `ours` and `other` name what a round gives."""

    figure: str
    unit: str
    ours: str
    other: str
    other_name: str
    goal: Goal | None = None


class Measure(Protocol):
    """A measure may have `is_slow`, when it takes minutes and is done only when it is asked for."""

    name: str
    rows: Sequence[Row]

    def prepare(self, bench: Bench) -> None:
        """Makes the files that all rounds use."""

    def round(self) -> dict[str, float]:
        """Runs ours and all that stand beside it, in turn; gives the figures that the rows name."""
