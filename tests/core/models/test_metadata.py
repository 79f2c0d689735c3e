from __future__ import annotations

import itertools
import shutil
from contextlib import nullcontext

import pytest
from packaging.specifiers import SpecifierSet

from lucid.errors import PluginError
from lucid.models.metadata import PluginEntryPoint, check_core_requirement, find_entry_points


def entry_point(*requirements: str) -> PluginEntryPoint:
    return PluginEntryPoint("toy", "toy.plugin", "lucid-toy", "1.0", requirements)


def found(environment) -> list[PluginEntryPoint]:
    points = find_entry_points()
    return [p for p in points if not p.distribution.startswith("lucid-models-")]


@pytest.mark.parametrize(
    ("requirement", "installed"),
    [
        ("lucid-core", "0.1.0"),
        ("lucid-core>=0.1,<0.2", "0.1.0"),
        ("lucid-core<0.2,>=0.1", "0.1"),
        ("lucid-core>=0.1.0.0", "0.1"),
        ("Lucid_Core >= 0.1 , < 1", "0.9.3"),
        ("lucid-core (>=0.1)", "0.1.0"),
        ("lucid-core[docs]>=0.1", "0.1.0"),
        ("lucid-core~=0.1", "0.5"),
        ("lucid-core>=0.2", "0.2.1rc1"),
        ("lucid-core>=0.2.0.dev0,<0.3", "0.2.0.dev0"),
        ("lucid-core>=0.2.0.dev0,<0.3", "0.2"),
        ("lucid-core[vision]>=0.2.0.dev0,<0.3", "0.2.0.dev0"),
        ("lucid-core [mpi, vision] >=0.2,<0.3", "0.2.1"),
        ("lucid-core>=0.1,<0.2.dev3", "0.2.0.dev2"),
        ('lucid-core>=9; extra == "dev"', "0.1.0"),
        ('lucid-core>=9; python_version < "3"', "0.1.0"),
        ("lucid-core-extras>=9", "0.1.0"),
        ("numpy>=99", "0.1.0"),
    ],
)
def test_satisfied_requirements(requirement: str, installed: str) -> None:
    check_core_requirement(entry_point("click>=1", requirement), installed)


@pytest.mark.parametrize(
    ("requirement", "installed", "command"),
    [
        ("lucid-core>=0.2,<0.3", "0.1.9", "pip install --upgrade 'lucid-core>=0.2,<0.3'"),
        ("lucid-core[vision]>=0.2,<0.3", "0.1.9", "upgrade 'lucid-core>=0.2,<0.3'"),
        ("lucid-core>=0.10", "0.9", "pip install --upgrade 'lucid-core>=0.10'"),
        ("lucid-core~=2.0", "1.9", "pip install --upgrade 'lucid-core~=2.0'"),
        ("lucid-core>=0.1,<0.2", "0.2.0", "pip install --upgrade lucid-toy"),
        ("lucid-core==0.1.*", "0.2.0", "pip install --upgrade lucid-toy"),
        ("lucid-core>=0.2", "0.2.0.dev0", "pip install --upgrade 'lucid-core>=0.2'"),
        ("lucid-core>=0.1,<0.2", "0.2.0.dev0", "pip install --upgrade lucid-toy"),
    ],
)
def test_unsatisfied_requirement_error_has_pip_command(
    requirement: str, installed: str, command: str
) -> None:
    with pytest.raises(PluginError) as caught:
        check_core_requirement(entry_point(requirement), installed)
    assert command in str(caught.value)
    assert installed in str(caught.value)


@pytest.mark.parametrize("operator", [">=", "<"])
def test_plain_versions_compare_like_packaging(operator: str) -> None:
    versions = ["0.1", "0.2.dev1", "0.2.0.dev0", "0.2", "0.2.0", "0.2.1.dev7", "0.10", "1"]
    for installed, bound in itertools.product(versions, versions):
        expected = SpecifierSet(f"{operator}{bound}").contains(installed, prereleases=True)
        required = entry_point(f"lucid-core{operator}{bound}")
        with nullcontext() if expected else pytest.raises(PluginError):
            check_core_requirement(required, installed)


def test_invalid_requirement_is_quoted() -> None:
    with pytest.raises(PluginError, match="'lucid-core>>1'"):
        check_core_requirement(entry_point("lucid-core>>1"), "0.1.0")


def test_entry_points_are_sorted_by_distribution(environment) -> None:
    environment.add("zebra", entry_point="b")
    environment.add("Apple", entry_point="z", version="2.5", requires=("lucid-core>=0.1", "numpy"))
    environment.describe("other", "[console_scripts]\nother = other:main\n")
    assert [(c.name, c.module, c.distribution, c.version) for c in found(environment)] == [
        ("z", "Apple.plugin", "Apple", "2.5"),
        ("b", "zebra.plugin", "zebra", "1.0"),
    ]
    assert found(environment)[0].requirements == ("lucid-core>=0.1", "numpy")


def test_two_entry_points_of_one_distribution(environment) -> None:
    environment.describe("pair", "[lucid.models]\ntwo = pair.two\none = pair.one [extra]\n")
    assert [(c.name, c.module) for c in found(environment)] == [
        ("one", "pair.one"),
        ("two", "pair.two"),
    ]


def test_first_distribution_on_path_counts(environment, tmp_path, monkeypatch) -> None:
    environment.add("toy", version="1.0")
    first = tmp_path / "first"
    environment.add("toy", version="2.0", folder=first)
    monkeypatch.syspath_prepend(first)
    assert [c.version for c in found(environment)] == ["2.0"]


def test_older_copy_is_ignored_if_newer_one_has_no_plugin(
    environment, tmp_path, monkeypatch
) -> None:
    environment.add("toy", version="1.0")
    first = tmp_path / "first"
    environment.describe("toy", "", version="2.0", folder=first)
    monkeypatch.syspath_prepend(first)
    assert found(environment) == []


def test_corrupt_metadata_of_other_distributions_is_ignored(environment) -> None:
    environment.add("good")
    (environment.folder / "noname-1.0.dist-info").mkdir()
    binary = environment.folder / "binary-1.0.dist-info"
    binary.mkdir()
    (binary / "METADATA").write_bytes(b"\xff\xfe\x00")
    (binary / "entry_points.txt").write_bytes(b"[x]\n\xff\xfe = \x80\n")
    (environment.folder / "file-1.0.dist-info").write_text("not a folder")
    empty = environment.describe("empty", "=\n[\nlucid.models\n]]", version="1")
    (empty / "METADATA").write_text("")
    assert [c.distribution for c in found(environment)] == ["good"]


def test_plugin_without_metadata_has_error(environment) -> None:
    environment.add("broken")
    (environment.folder / "broken-1.0.dist-info" / "METADATA").unlink()
    (only,) = found(environment)
    assert only.distribution == "broken"
    assert "no name or version" in str(only.error)


def test_plugin_with_unreadable_entry_points_has_error(environment) -> None:
    environment.add("broken")
    info = environment.folder / "broken-1.0.dist-info"
    (info / "entry_points.txt").write_text("[lucid.models]\ntoy\n")
    (only,) = found(environment)
    assert (only.name, only.module, only.version) == ("(unreadable)", "", "1.0")
    assert "entry_points.txt cannot be read (TypeError: " in str(only.error)
    # The text contains the group's name, but not as a section.
    (info / "entry_points.txt").write_text("[other]\nlucid.models\n")
    assert found(environment) == []


def test_leftover_folder_does_not_hide_plugin(environment) -> None:
    environment.add("toy")
    (environment.folder / "toy-0.9.dist-info").mkdir()
    assert [(c.version, c.error) for c in found(environment)] == [("1.0", None)]


def test_legacy_egg_info_is_read(environment) -> None:
    package = environment.add("old")
    shutil.rmtree(environment.folder / "old-1.0.dist-info")
    info = environment.folder / "old.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 1.1\nName: old\nVersion: 3.1\n")
    (info / "entry_points.txt").write_text(f"[lucid.models]\ntoy = {package}.plugin\n")
    (info / "requires.txt").write_text("lucid-core>=7\n")
    (only,) = found(environment)
    assert (only.version, only.requirements) == ("3.1", ("lucid-core>=7",))


def test_entry_point_owns_modules_of_its_package() -> None:
    own = entry_point()
    assert own.owns("toy")
    assert own.owns("toy.builders")
    assert not own.owns("toys")
    assert PluginEntryPoint("x", "single_module", "d", "1").owns("single_module")
