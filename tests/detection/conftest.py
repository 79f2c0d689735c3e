"""Makes ``pth_files``, which the tests of reading weights share, importable here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "core" / "weights"))
