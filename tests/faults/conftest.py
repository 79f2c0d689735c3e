"""Makes what other tests have importable here: ``pth_files``, ``small_training``, the fuzzer's."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]

sys.path[:0] = [
    str(TESTS / folder) for folder in ("core/weights", "core/training", "core/data", "fuzz")
]
