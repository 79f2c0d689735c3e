"""What a fresh process imports to list models: facts, not timings."""

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


def test_listing_imports_no_model_and_nothing_heavy() -> None:
    modules = modules_after(
        "import lucid; names = lucid.models.list_models();"
        "[lucid.models.model_info(name) for name in names]; lucid.models.list_plugins()"
    )
    assert not modules & HEAVY
    assert "lucid.nn" not in modules
    assert "lucid.models.summary" not in modules
    # A plugin's own modules: its package, which exports lazily, and the plugin module.
    of_plugins = {name for name in modules if name.startswith("lucid_models_")}
    assert all("." not in name or name.endswith(".plugin") for name in of_plugins)


def test_importing_lucid_discovers_nothing() -> None:
    modules = modules_after("import lucid, lucid.models; lucid.models.register_model")
    assert not modules & (HEAVY | {"importlib_metadata", "pluggy", "packaging"})
    assert "numpy.random" not in modules
    assert not {name for name in modules if name.startswith("lucid_models_")}


def test_the_help_of_the_command_line_imports_nothing_that_only_a_command_needs() -> None:
    modules = modules_after("from lucid.cli import main; main(['--help'])")
    assert "lucid.cli.check_data" in modules
    assert not modules & ((HEAVY - {"click"}) | {"lucid.data", "lucid.nn", "numpy.random"})
