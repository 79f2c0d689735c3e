"""Resolution of file names, which never picks another image of the same name."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from lucid_models_detection.data.image_paths import PathError, relative_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images/a.png", "images/sub/b.png", "images/my photo.png", "images/c%20d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", ("a.png", False)),
        ("./a.png", ("a.png", False)),
        ("sub//b.png", ("sub/b.png", False)),
        (r"sub\b.png", ("sub/b.png", False)),
        ("my%20photo.png", ("my photo.png", False)),
        ("c%20d.png", ("c%20d.png", False)),  # the file exists literally
        ("x%20y.png", ("x%20y.png", False)),
        ("other/a.png", ("other/a.png", False)),  # not a.png
        ("images/sub/b.png", ("sub/b.png", True)),
        ("images/none.png", ("images/none.png", False)),
        ("../images/a.png", ("a.png", True)),
        (r"..\images\sub\b.png", ("sub/b.png", True)),
        ("sub/../a.png", ("a.png", False)),
        (r"C:\photos\a.png", ("a.png", True)),
        ("/home/me/sub/b.png", ("sub/b.png", True)),
        (r"\\server\share\sub\b.png", ("sub/b.png", True)),
        ("https://example.org/data/my%20photo.png?x=1", ("my photo.png", True)),
    ],
)
def test_relative_path_spellings(folder: Path, name: str, expected: tuple[str, bool]) -> None:
    assert relative_path(name, folder) == expected


def test_absolute_path_inside_the_folder(folder: Path) -> None:
    assert relative_path(f"{folder}/sub/b.png", folder) == ("sub/b.png", False)
    assert relative_path(f"{folder}/sub/none.png", folder) == ("sub/none.png", False)


@pytest.mark.parametrize(("written", "stored"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_unicode_normalization_forms(folder: Path, written: str, stored: str) -> None:
    name = unicodedata.normalize(stored, "caf\u00e9.png")
    (folder / name).touch()
    assert relative_path(unicodedata.normalize(written, name), folder) == (name, True)


def test_folder_name_prefix_with_current_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert relative_path("images/sub/b.png", Path()) == ("sub/b.png", True)


def test_file_name_with_backslash(folder: Path) -> None:
    (folder / r"sub\b.png").touch()
    assert relative_path(r"sub\b.png", folder) == (r"sub\b.png", False)


def test_ambiguous_absolute_path_is_rejected(folder: Path) -> None:
    (folder / "b.png").touch()
    with pytest.raises(PathError, match=r"several images fit: b\.png, sub/b\.png") as caught:
        relative_path("/home/me/sub/b.png", folder)
    assert caught.value.ambiguous


@pytest.mark.parametrize(
    "name", ["", " ", "..", "../a.png", "../other/a.png", "../images/none.png", "sub/../../a.png",
             "/etc/passwd", "a\0b", "\ud800", None, 7, r"..\a.png",
             "%2e%2e/a.png/../..", "file:///../a.png", "/x/../a.png", "."],
)  # fmt: skip
def test_invalid_names_are_rejected(folder: Path, name: object) -> None:
    with pytest.raises(PathError, match="expected a relative path"):
        relative_path(name, folder)
