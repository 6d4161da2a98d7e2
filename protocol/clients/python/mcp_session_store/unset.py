"""A parameter that is left out, where None would mean something else."""

from __future__ import annotations

import enum
from typing import Final


class Unset(enum.Enum):
    UNSET = "UNSET"


#: The parameter is left out. Of owners: the call says nothing about them.
UNSET: Final = Unset.UNSET
