"""What a part of the reliability tests is given, and what it gives back.

A part is a module of this folder with a function

    def run(form: Form) -> list[Finding]

that tries to break some promises of the README and says what it tried and what it found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Form:
    """How a part is to run."""

    #: the program under test
    binary: Path
    #: an empty directory of the part's own; it is kept when something broke
    directory: Path
    #: where all randomness of the part comes from: the same seed tries the same again
    seed: int
    #: hours of machine time are welcome; else a minute on two cores
    is_long: bool
    #: tells whoever watches how far it is
    say: Callable[[str], None]
    #: where pictures go, which outlive the run
    results: Path = Path(__file__).with_name("results")


@dataclass
class Finding:
    """One promise: what was tried against it, and what broke."""

    promise: str
    #: with numbers: "500 kills, 61,204 writes"
    tried: str
    #: each a sentence that says what was expected and what was seen; empty when the promise held
    broken: list[str] = field(default_factory=list)


def told(error: BaseException) -> list[str]:
    """What each of the failures is, if there are several."""
    if isinstance(error, BaseExceptionGroup):
        return [text for each in error.exceptions for text in told(each)]
    return ["\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])]
