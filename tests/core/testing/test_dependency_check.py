"""Check of imports against the requirements of a distribution."""

from __future__ import annotations

import re

import pytest

from lucid.testing.plugin_checks import CheckError, CheckNotRunError, check_dependencies

CORE = "lucid-core>=0.1"


def install(environment, code: str, *requires: str) -> None:
    """Install the distribution ``toy`` whose module contains ``code``."""
    environment.add("toy", "net", builders=f"def net(): ...\n{code}\n", requires=(CORE, *requires))


def provide(environment, distribution: str, module: str) -> None:
    """Install another distribution with one module."""
    info = environment.describe(distribution, "")
    (info / "RECORD").write_text(f"{module}.py,,\n")
    (environment.folder / f"{module}.py").write_text("")


@pytest.mark.parametrize(
    ("code", "requires"),
    [
        ("import numpy, lucid.nn, os.path, toy.plugin", ()),  # numpy is required by lucid-core
        ("from . import plugin\nfrom .plugin import lucid", ()),
        ("import other_module", ("Other_Dist>=1",)),
        ("def f():\n    from other_module import x", ("other.dist; extra == 'all'",)),
        ("if typing.TYPE_CHECKING:\n    import other_module", ()),
        ("try:\n    import other_module\nexcept ImportError:\n    other_module = None", ()),
        ("try: import other_module\nexcept (KeyError, ModuleNotFoundError): pass", ()),
        ("import not_installed", ("not-installed",)),
    ],
)
def test_required_imports_pass(environment, code: str, requires: tuple[str, ...]) -> None:
    provide(environment, "other-dist", "other_module")
    install(environment, code, *requires)
    check_dependencies("TOY")


@pytest.mark.parametrize(
    ("code", "named", "line"),
    [
        ("import other_module", "other-dist", 2),
        ("\n\ndef f():\n    from other_module import x", "other-dist", 5),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import other_module", "other-dist", 5),
        ("try: import other_module\nexcept KeyError: pass", "other-dist", 2),
        ("try: pass\nexcept ImportError: import other_module", "other-dist", 3),
        ("import other_module.sub", "other-dist", 2),
    ],
)
def test_import_without_requirement_fails(environment, code: str, named: str, line: int) -> None:
    provide(environment, "other-dist", "other_module")
    install(environment, code)
    with pytest.raises(CheckError) as caught:
        check_dependencies("toy")
    assert re.search(rf"other_module \(.*builders\.py:{line}\)", caught.value.problem)
    assert caught.value.problem.endswith(f"does not require {named}")
    assert "pyproject.toml" in caught.value.advice


@pytest.mark.parametrize("core", ["lucid-core[vision]>=0.1", "Lucid_Core [mpi,vision] >=0.1"])
def test_extra_of_core_covers_its_requirements(environment, core: str) -> None:
    environment.add("toy", "net", builders="def net(): ...\nimport PIL", requires=(core,))
    check_dependencies("toy")


@pytest.mark.parametrize("core", [CORE, "lucid-core[mpi]>=0.1"])
def test_extra_of_core_that_is_not_required_does_not_count(environment, core: str) -> None:
    environment.add("toy", "net", builders="def net(): ...\nimport PIL", requires=(core,))
    with pytest.raises(CheckError, match="does not require pillow"):
        check_dependencies("toy")


def test_module_without_distribution_fails(environment) -> None:
    install(environment, "import not_installed")
    with pytest.raises(CheckError, match="does not require not-installed"):
        check_dependencies("toy")


def test_tests_in_package_need_no_requirement(environment) -> None:
    install(environment, "")
    (environment.folder / "toy" / "test_it.py").write_text("import not_installed")
    (environment.folder / "toy" / "tests").mkdir()
    (environment.folder / "toy" / "tests" / "helper.py").write_text("import not_installed")
    check_dependencies("toy")


def test_invalid_and_missing_source_files(environment) -> None:
    install(environment, "def (:")
    with pytest.raises(CheckError, match=r"builders\.py:2: invalid syntax"):
        check_dependencies("toy")
    environment.describe("gone", "[lucid.models]\ngone = gone_package.plugin\n", requires=(CORE,))
    with pytest.raises(CheckNotRunError, match="gone_package"):
        check_dependencies("gone")
