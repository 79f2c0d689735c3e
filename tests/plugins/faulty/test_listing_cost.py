"""Modules imported by listing models; ``tests/benchmarks`` measures the time."""

from __future__ import annotations

import json
from importlib.metadata import entry_points

#: Large packages that listing must not import.
HEAVY = {
    *("numba", "llvmlite", "PIL", "click", "tqdm", "safetensors", "threadpoolctl"),
    *("matplotlib", "pycocotools", "lucid.cli", "lucid.kernels.compiled", "toy_heavy.engine"),
}
LIST = "import lucid; lucid.models.list_models()"


def imported_by(installed, source: str) -> set[str]:
    """Return the modules reported by ``-X importtime`` and those in ``sys.modules``.

    ``-X importtime`` includes modules that are removed later, but not
    ``importlib.import_module``.
    """
    source = f"{source}; import sys; show(sorted(sys.modules))"
    done = installed.python(source, "-X", "importtime", "-W", "ignore")
    lines = [line.split("|") for line in done.stderr.splitlines() if line.startswith("import time")]
    (shown,) = [line for line in done.stdout.splitlines() if line.startswith("shown:")]
    # The header is "import time: self [us] | cumulative | imported package".
    return {fields[2].strip() for fields in lines[1:]} | set(json.loads(shown[6:]))


def below(modules: set[str], packages: set[str]) -> set[str]:
    return {m for m in modules if any(m == p or m.startswith(p + ".") for p in packages)}


def test_listing_imports_only_plugin_modules(installed) -> None:
    modules = imported_by(installed, LIST)
    targets = {point.module for point in entry_points(group="lucid.models")}
    packages = {target.partition(".")[0] for target in targets}
    assert {"lucid_models_classification.plugin", "toy_good.plugin"} <= modules
    assert below(modules, packages) <= packages | targets
    assert not below(modules, HEAVY)


def test_large_packages_are_imported_when_model_is_built(installed) -> None:
    light = imported_by(installed, LIST + "; lucid.models.model_info('toy_heavy')")
    heavy = imported_by(installed, "import lucid; lucid.models.create_model('toy_heavy')")
    expected = {"toy_heavy.builders", "toy_heavy.engine", "numba", "PIL"}
    assert not below(light, expected)
    assert below(heavy, expected) >= expected


def test_import_lucid_runs_no_discovery(installed) -> None:
    modules = imported_by(installed, "import lucid, lucid.models, lucid.nn, lucid.optim")
    discovery = {"importlib_metadata", "pluggy", "packaging", "toy_good"}
    assert not below(modules, HEAVY | discovery)
