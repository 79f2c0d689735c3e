"""Projects are written completely or not at all."""

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
def test_files_of_project(tmp_path, kind: str) -> None:
    folder = write_plugin(NAMES, tmp_path / "wee", kind)
    assert folder == tmp_path / "wee"
    assert files_in(folder) == FILES
    assert os.listdir(tmp_path) == ["wee"]
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
    for path in (folder / name for name in FILES):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\$\{?[a-z]", text), f"{path}: placeholder left"
        assert text == "" or text.endswith("\n")


def test_metadata_of_project(tmp_path) -> None:
    folder = write_plugin(NAMES, tmp_path / "wee")
    data = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    project = data["project"]
    assert project["name"] == "Lucid-Wee"
    assert project["entry-points"] == {"lucid.models": {"wee": "lucid_wee.plugin"}}
    assert project["dependencies"] == [core_requirement(lucid.__version__)]
    assert "license" not in project  # chosen by the author
    assert "LICENSE" in (folder / "README.md").read_text(encoding="utf-8")
    assert data["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/lucid_wee"]


def test_detector_requires_detection_plugin(tmp_path) -> None:
    folder = write_plugin(NAMES, tmp_path / "wee", "detector")
    data = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    core = core_requirement(lucid.__version__)
    detection = core.replace("lucid-core", "lucid-models-detection")
    assert data["project"]["dependencies"] == [core, detection]
    assert "object detection" in data["project"]["keywords"]
    assert "a one-stage detector" in (folder / "README.md").read_text(encoding="utf-8")


def test_unknown_kind_writes_nothing(tmp_path) -> None:
    with pytest.raises(ValueError, match="'segmenter'"):
        write_plugin(NAMES, tmp_path / "wee", "segmenter")
    assert not list(tmp_path.iterdir())


def test_empty_folder_is_used(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    assert write_plugin(NAMES, ".") == Path(".")
    assert files_in(tmp_path) == FILES
    assert tmp_path.stat().st_ino == inode


def test_folder_has_default_permissions(tmp_path) -> None:
    (tmp_path / "usual").mkdir()
    folder = write_plugin(NAMES, tmp_path / "wee")
    assert folder.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_invalid_targets_are_rejected(tmp_path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, message in {
        "full": "full is not empty",
        "file": "file is not a folder",
        "link": "link is not a folder",
        "absent/wee": "absent is not a folder",
    }.items():
        with pytest.raises(ValueError, match=message):
            write_plugin(NAMES, tmp_path / name)
    assert files_in(tmp_path) == {"full/notes.txt", "file"}


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("fails", ["write_text", "rename"])
def test_failure_leaves_no_files(tmp_path, monkeypatch, exists, fails) -> None:
    target = tmp_path / "wee"
    if exists:
        target.mkdir()
    original, calls = getattr(Path, fails), []

    def full_disk(self, *args, **kwargs):
        calls.append(self)
        if len(calls) == (1 if fails == "rename" and not exists else 3):
            raise OSError(28, "No space left on device")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, fails, full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_plugin(NAMES, target)
    assert list(tmp_path.iterdir()) == ([target] if exists else [])
    assert not exists or not any(target.iterdir())


def test_templates_in_zip_file(tmp_path, monkeypatch) -> None:
    import zipfile

    source = Path(project.__file__).parent / "template"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in source.rglob("*.tmpl"):
            archive.write(path, f"template/{path.relative_to(source).as_posix()}")
        archive.writestr("template/notes.txt", "no template")
    expected = project.render(NAMES)
    monkeypatch.setattr(project, "files", lambda _: zipfile.Path(tmp_path / "a.zip"))
    assert project.render(NAMES) == expected
