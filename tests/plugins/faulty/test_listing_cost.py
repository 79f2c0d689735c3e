"""What listing imports: facts.  What it costs is measured in ``tests/benchmarks``."""

from __future__ import annotations

import json
from importlib.metadata import entry_points

#: Large, and no part of listing; packages, with everything in them.
HEAVY = {
    *("numba", "llvmlite", "PIL", "click", "tqdm", "safetensors", "threadpoolctl"),
    *("matplotlib", "pycocotools", "lucid.cli", "lucid.kernels.compiled", "toy_heavy.engine"),
}
LIST = "import lucid; lucid.models.list_models()"


def imported_by(installed, source: str) -> set[str]:
    """The modules that ``-X importtime`` tells of, and those that are there at the end.

    ``-X importtime`` follows import statements, also those of a module that is dropped
    again; ``importlib.import_module`` passes it by.
    """
    source = f"{source}; import sys; show(sorted(sys.modules))"
    done = installed.python(source, "-X", "importtime", "-W", "ignore")
    lines = [line.split("|") for line in done.stderr.splitlines() if line.startswith("import time")]
    (shown,) = [line for line in done.stdout.splitlines() if line.startswith("shown:")]
    # Their head is "import time: self [us] | cumulative | imported package".
    return {fields[2].strip() for fields in lines[1:]} | set(json.loads(shown[6:]))


def below(modules: set[str], packages: set[str]) -> set[str]:
    return {m for m in modules if any(m == p or m.startswith(p + ".") for p in packages)}


def test_listing_imports_the_plugin_modules_and_no_other_of_any_plugin(installed) -> None:
    modules = imported_by(installed, LIST)
    targets = {point.module for point in entry_points(group="lucid.models")}
    packages = {target.partition(".")[0] for target in targets}
    assert {"lucid_models_classification.plugin", "toy_good.plugin"} <= modules
    assert below(modules, packages) <= packages | targets
    assert not below(modules, HEAVY)


def test_a_heavy_import_happens_when_the_model_is_built_and_not_before(installed) -> None:
    light = imported_by(installed, LIST + "; lucid.models.model_info('toy_heavy')")
    heavy = imported_by(installed, "import lucid; lucid.models.create_model('toy_heavy')")
    mine = {"toy_heavy.builders", "toy_heavy.engine", "numba", "PIL"}
    assert not below(light, mine)
    assert below(heavy, mine) >= mine


def test_importing_lucid_and_asking_nothing_discovers_nothing(installed) -> None:
    modules = imported_by(installed, "import lucid, lucid.models, lucid.nn, lucid.optim")
    discovery = {"importlib_metadata", "pluggy", "packaging", "toy_good"}
    assert not below(modules, HEAVY | discovery)
