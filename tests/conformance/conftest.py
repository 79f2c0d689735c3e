"""The oracles exist in the ``conformance`` session only; elsewhere nothing here is collected.

That is not a skip: the main session answers for Lucid by itself.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]
if not importlib.util.find_spec("onnx"):
    collect_ignore_glob.append("test_onnx_*.py")

# For ``torchvision_cpu`` and ``onnx_nodes``, which are no tests and no package's.
sys.path.insert(0, str(Path(__file__).parent))
