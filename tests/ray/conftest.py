"""Ray exists in the ``ray`` session only; elsewhere nothing here is collected."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

collect_ignore_glob = [] if importlib.util.find_spec("ray") else ["test_*.py"]

# For ``markdown_examples``, which reads what the pages of the site spell out.
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
