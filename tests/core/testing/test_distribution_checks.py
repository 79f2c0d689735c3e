"""Checks of requirements, entry points, hooks and imports of a distribution."""

from __future__ import annotations

import pytest

import lucid
from lucid.errors import PluginError
from lucid.scaffold import core_requirement
from lucid.testing.plugin_checks import (
    CheckError,
    CheckNotRunError,
    check_imports,
    check_loads,
    check_requirement,
    checks,
)

REQUIREMENT = core_requirement(lucid.__version__)


@pytest.mark.parametrize(
    "requires",
    [
        ("lucid-core>=0.1",),
        ("numpy", "Lucid_Core~=0.1.0"),
        ("lucid-core==0.1.*",),
        ("lucid-core>=0.1", "lucid-core[docs]; extra == 'docs'"),
    ],
)
def test_requirement_with_lower_bound_passes(environment, requires) -> None:
    environment.add("toy", "net", requires=requires)
    check_requirement("toy")


@pytest.mark.parametrize(
    ("requires", "problem"),
    [
        ((), "it does not require lucid-core"),
        (("numpy>=2",), "it does not require lucid-core"),
        (("lucid-core>=0.1; extra == 'all'",), "it does not require lucid-core"),
        (("lucid-core",), "its requirement 'lucid-core' has no lower bound"),
        (("lucid-core<9",), "its requirement 'lucid-core<9' has no lower bound"),
        (("lucid-core>=",), "its requirement 'lucid-core>=' is invalid"),
    ],
)
def test_requirement_without_lower_bound_fails(environment, requires, problem) -> None:
    environment.add("toy", "net", requires=requires)
    with pytest.raises(CheckError) as caught:
        check_requirement("toy")
    assert caught.value.problem.startswith(problem)
    if "invalid" not in problem:
        assert REQUIREMENT in caught.value.advice


@pytest.mark.slow
def test_plugin_that_loads_passes(environment) -> None:
    environment.add("toy", "net")
    check_loads("toy")
    check_imports("TOY")


@pytest.mark.slow
def test_plugin_that_raises_fails(environment) -> None:
    environment.add("toy", plugin="import a_module_that_nobody_has")
    with pytest.raises(CheckError, match="No module named 'a_module_that_nobody_has'") as caught:
        check_loads("toy")
    assert "LUCID_STRICT_PLUGINS=1" in caught.value.advice
    with pytest.raises(CheckNotRunError, match="check 'loads'"):
        check_imports("toy")
    assert [check.name for check in checks("toy")] == [
        *("requirement", "dependencies", "loads", "imports")
    ]
    assert [check.name for check in checks("toy", "any*")] == [
        *("requirement", "dependencies", "loads", "imports")
    ]


def test_failure_of_other_plugin_is_ignored(environment) -> None:
    environment.add("bad", plugin="raise RuntimeError('sad')", entry_point="bad")
    environment.add("toy", "net")
    for check in checks("toy")[:3]:
        check.run()


@pytest.mark.parametrize(
    ("line", "imported"),
    [
        ("import toy.builders", "imports toy.builders, "),
        ("import safetensors, lucid.nn", "imports lucid.nn, lucid.ops, safetensors"),
    ],
)
@pytest.mark.slow
def test_plugin_that_imports_builders_or_packages_fails(environment, toy, line, imported) -> None:
    toy(plugin=f"{line}\n")
    with pytest.raises(CheckError) as caught:
        check_imports("toy")
    assert imported in caught.value.problem


@pytest.mark.slow
def test_plugin_that_exits_fails(toy) -> None:
    toy(
        plugin="import os, sys\n"
        "print('good bye', file=sys.stderr)\n"
        "if 'pytest' not in sys.modules: os._exit(3)\n"
    )
    with pytest.raises(CheckError, match="code 3: good bye"):
        check_imports("toy")


@pytest.mark.slow
def test_standard_library_and_own_modules_may_be_imported(toy, environment) -> None:
    (environment.folder / "toy").mkdir()
    (environment.folder / "toy" / "names.py").write_text("import sqlite3\n")
    toy(plugin="import toy.names, wave\n")
    check_imports("toy")


def test_distribution_without_plugin_is_rejected(environment, monkeypatch, tmp_path) -> None:
    environment.add("toy", "net")
    environment.describe("library", "[console_scripts]\nlibrary = library:main\n")
    with pytest.raises(PluginError, match=r"library .*'lucid\.models'"):
        checks("library")
    with pytest.raises(PluginError, match=r"'absent' is installed; .*pip install"):
        checks("absent")
    with pytest.raises(PluginError, match="'no name!' is installed"):
        checks("no name!")
    with pytest.raises(PluginError, match=r"pip install -e \S+, .*pyproject\.toml"):
        checks(str(tmp_path))
    monkeypatch.setenv("LUCID_DISABLE_PLUGINS", "other, Toy")
    with pytest.raises(PluginError, match=r"toy is disabled; .*LUCID_DISABLE_PLUGINS"):
        checks("toy")


@pytest.mark.parametrize(
    ("hook", "body", "problem"),
    [
        ("commands", "1 / 0", r"lucid_register_commands\(\) raised ZeroDivisionError"),
        ("commands", "raise SystemExit(0)", r"lucid_register_commands\(\) raised SystemExit: 0"),
        ("data_checkers", "register(42)", "expected a lucid.data.checkers.DataChecker, got int"),
        ("model_checks", "register('t', 'dark', 'x')", "check 'dark': expected a function"),
        ("model_checks", "register('t', 'dark', lambda s: 1)", "check 'dark': .* a docstring"),
        (
            "weight_converters",
            "register('w', 'gone:c', source='s', task='t', models=['net'])",
            "weight converter 'w' of toy 1.0: import.* failed: ModuleNotFoundError",
        ),
        (
            "weight_converters",
            "from lucid.weights import WeightConverter\n"
            "    globals()['own'] = WeightConverter()\n"
            "    register('w', __name__ + ':own', source='s', task='t', models=['net'])",
            "weight converter 'w' of toy 1.0 .*'net', which is not registered",
        ),
        (
            "weights",
            "register('net', 'v1', url='x', sha256='', size=1, license='MIT', source='s')",
            r"lucid_register_weights\(\) raised ValueError: weights 'v1' of 'net': sha256",
        ),
    ],
)
def test_failing_hook_fails(environment, hook, body, problem) -> None:
    argument = "cli" if hook == "commands" else "register"
    environment.add(
        "toy",
        plugin=f"""
import lucid

@lucid.hookimpl
def lucid_register_{hook}({argument}):
    {body}
""",
    )
    with pytest.raises(CheckError, match=problem) as caught:
        check_loads("toy")
    assert "correct the hook" in caught.value.advice
