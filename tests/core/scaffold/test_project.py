"""The project is written whole, into a folder of its own, or not at all."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from pathlib import Path

import pytest

import lucid
from lucid.scaffold import PluginNames, core_requirement, project, write_plugin
from lucid.scaffold.kinds import KINDS

NAMES = PluginNames("Lucid-Wee", "lucid_wee", "wee", "wee_net", "WeeNet")

FILES = {
    ".gitignore",
    "README.md",
    "docs/conf.py",
    "docs/index.rst",
    "pyproject.toml",
    "src/lucid_wee/__init__.py",
    "src/lucid_wee/builders.py",
    "src/lucid_wee/network.py",
    "src/lucid_wee/plugin.py",
    "src/lucid_wee/py.typed",
    "tests/test_conformance.py",
    "tests/test_network.py",
}


def files_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_of_a_project(tmp_path, kind: str) -> None:
    folder = write_plugin(NAMES, tmp_path / "wee", kind)
    assert folder == tmp_path / "wee"
    assert files_in(folder) == FILES
    assert os.listdir(tmp_path) == ["wee"]
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
    for path in (folder / name for name in FILES):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\$\{?[a-z]", text), f"{path}: a name is not filled in"
        assert text == "" or text.endswith("\n")


def test_its_metadata(tmp_path) -> None:
    folder = write_plugin(NAMES, tmp_path / "wee")
    data = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    project = data["project"]
    assert project["name"] == "Lucid-Wee"
    assert project["entry-points"] == {"lucid.models": {"wee": "lucid_wee.plugin"}}
    assert project["dependencies"] == [core_requirement(lucid.__version__)]
    assert "license" not in project  # the author's to choose
    assert "LICENSE" in (folder / "README.md").read_text(encoding="utf-8")
    assert data["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/lucid_wee"]


def test_a_detector_requires_the_detection_plugin(tmp_path) -> None:
    folder = write_plugin(NAMES, tmp_path / "wee", "detector")
    data = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    core = core_requirement(lucid.__version__)
    detection = core.replace("lucid-core", "lucid-models-detection")
    assert data["project"]["dependencies"] == [core, detection]
    assert "object detection" in data["project"]["keywords"]
    assert "a one-stage detector" in (folder / "README.md").read_text(encoding="utf-8")


def test_an_unknown_kind_leaves_nothing(tmp_path) -> None:
    with pytest.raises(ValueError, match="one of classifier, backbone, detector, got 'segmenter'"):
        write_plugin(NAMES, tmp_path / "wee", "segmenter")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_and_empty(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    assert write_plugin(NAMES, ".") == Path(".")
    assert files_in(tmp_path) == FILES
    assert tmp_path.stat().st_ino == inode


def test_permissions_are_the_usual_ones(tmp_path) -> None:
    (tmp_path / "usual").mkdir()
    folder = write_plugin(NAMES, tmp_path / "wee")
    assert folder.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_targets_that_cannot_be(tmp_path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, message in {
        "full": "is there already and not empty",
        "file": "is there already and no folder",
        "link": "is there already and no folder",
        "absent/wee": "absent is no folder; make it first",
    }.items():
        with pytest.raises(ValueError, match=message):
            write_plugin(NAMES, tmp_path / name)
    assert files_in(tmp_path) == {"full/notes.txt", "file"}


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("fails", ["write_text", "rename"])
def test_nothing_is_left_of_a_failure(tmp_path, monkeypatch, there, fails) -> None:
    target = tmp_path / "wee"
    if there:
        target.mkdir()
    usual, calls = getattr(Path, fails), []

    def full_disk(self, *args, **kwargs):
        calls.append(self)
        if len(calls) == (1 if fails == "rename" and not there else 3):
            raise OSError(28, "No space left on device")
        return usual(self, *args, **kwargs)

    monkeypatch.setattr(Path, fails, full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_plugin(NAMES, target)
    assert list(tmp_path.iterdir()) == ([target] if there else [])
    assert not there or not any(target.iterdir())


def test_templates_are_found_in_a_zip_file(tmp_path, monkeypatch) -> None:
    import zipfile

    source = Path(project.__file__).parent / "template"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in source.rglob("*.tmpl"):
            archive.write(path, f"template/{path.relative_to(source).as_posix()}")
        archive.writestr("template/notes.txt", "no template")
    expected = project.render(NAMES)
    monkeypatch.setattr(project, "files", lambda _: zipfile.Path(tmp_path / "a.zip"))
    assert project.render(NAMES) == expected
