"""Make ``pth_files``, the fuzzer and the table of faults importable."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

# The same examples in every run, as in tests/core, and however slow the machine.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

TESTS = Path(__file__).parents[1]

sys.path[:0] = [str(TESTS / folder) for folder in ("core/weights", "faults", "fuzz")]
