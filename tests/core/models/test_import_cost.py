"""Modules that a new process imports to list models."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HEAVY = {"numba", "llvmlite", "PIL", "click", "tqdm", "safetensors", "threadpoolctl", "matplotlib"}

SCRIPT = """
import sys
{code}
print("\\n".join(sys.modules))
"""


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(code=code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_listing_imports_no_model_code() -> None:
    modules = modules_after(
        "import lucid; names = lucid.models.list_models();"
        "[lucid.models.model_info(name) for name in names]; lucid.models.list_plugins()"
    )
    assert not modules & HEAVY
    assert "lucid.nn" not in modules
    assert "lucid.models.summary" not in modules
    # Of a plugin: its package, which exports lazily, and the plugin module.
    plugin_modules = {name for name in modules if name.startswith("lucid_models_")}
    assert all("." not in name or name.endswith(".plugin") for name in plugin_modules)


def test_import_lucid_runs_no_discovery() -> None:
    modules = modules_after("import lucid, lucid.models; lucid.models.register_model")
    assert not modules & (HEAVY | {"importlib_metadata", "pluggy", "packaging"})
    assert "numpy.random" not in modules
    assert not {name for name in modules if name.startswith("lucid_models_")}


def test_command_line_help_imports_no_command_dependencies() -> None:
    modules = modules_after("from lucid.cli import main; main(['--help'])")
    assert "lucid.cli.check_data" in modules
    assert not modules & ((HEAVY - {"click"}) | {"lucid.data", "lucid.nn", "numpy.random"})
