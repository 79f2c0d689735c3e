"""Collect the tests only where PyTorch or ONNX is installed, as in the ``conformance`` session.

They are not reported as skipped: the main test session does not include them.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]
if not importlib.util.find_spec("onnx"):
    collect_ignore_glob.append("test_onnx_*.py")

# For the helper modules here, such as ``torchvision_cpu``.
sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--publish-parity", metavar="FILE", help="write the page of torchvision's parity there"
    )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the comparison with torchvision after the tests of detectors."""
    parity = sys.modules.get("parity")
    if parity is None or not (parity.DETECTIONS or parity.RETINANET_DETECTIONS):
        return
    versions = {name: version(name).partition("+")[0] for name in ("torch", "torchvision")}
    page = parity.page(versions)
    terminalreporter.section("beside torchvision")
    terminalreporter.write_line(page)
    # Known only where this file was read before the command line, as for this directory alone.
    path = config.getoption("publish_parity", None)
    if path:
        Path(path).write_text(page, encoding="utf-8")
