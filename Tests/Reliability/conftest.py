"""The driver of the program is at home with the tests of the wire."""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[1] / "Wire"))
