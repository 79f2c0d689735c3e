"""Directories, patterns and lists, as files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lucid.prediction import find_files

SUFFIXES = (".png", ".jpg")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "sub/c.jpg", ".git/d.png", "e/x.md"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    os.symlink("nowhere", tmp_path / "in" / "broken.png")
    return tmp_path


def found(*sources: str) -> list[str]:
    return list(find_files(sources, SUFFIXES))


def test_a_directory_with_all_below_it(folder):
    # A link to nothing is there as well: reading it will say what is wrong with it.
    assert found("in") == ["in/a.JPG", "in/b.png", "in/broken.png", "in/sub/c.jpg"]


def test_a_file_is_taken_whatever_it_is_called(folder):
    assert found("in/notes.txt", "in/b.png") == ["in/notes.txt", "in/b.png"]


def test_a_pattern(folder):
    assert found("in/*.png") == ["in/b.png", "in/broken.png"]
    assert found("in/**/*.[jJ][pP][gG]") == ["in/a.JPG", "in/sub/c.jpg"]
    assert found("in/**") == [
        "in/a.JPG", "in/b.png", "in/broken.png", "in/e/x.md", "in/notes.txt", "in/sub/c.jpg",
    ]  # fmt: skip


def test_a_file_whose_name_looks_like_a_pattern(folder):
    Path("in/[1].png").touch()
    assert found("in/[1].png") == ["in/[1].png"]


def test_a_list(folder):
    Path("list.txt").write_text("in/b.png\n\nin/sub\nin/*.JPG")
    assert found("@list.txt") == ["in/b.png", "in/sub/c.jpg", "in/a.JPG"]
    Path("@odd.png").touch()
    assert found("@odd.png") == ["@odd.png"]


def test_what_is_not_there_is_an_error_at_once(folder):
    for source, name in (("in/none.png", "in/none.png"), ("@none.txt", "none.txt")):
        with pytest.raises(FileNotFoundError) as error:
            find_files(["in", source], SUFFIXES)
        assert error.value.filename == name
    Path("list.txt").write_text("in/none.png\n")
    with pytest.raises(FileNotFoundError):
        found("@list.txt")


def test_what_stands_for_no_file_is_an_error(folder):
    with pytest.raises(ValueError, match=r"in/e: .* found no file that ends in \.png, \.jpg"):
        found("in/e")
    with pytest.raises(ValueError, match=r"in/\*\.gif: .* found no file that matches"):
        found("in/*.gif")


def test_files_come_one_after_another(folder):
    """The second source is not looked into before the first is through."""
    files = find_files(["in/b.png", "in"], SUFFIXES)
    assert next(files) == "in/b.png"
    Path("in/0.png").touch()
    assert next(files) == "in/0.png"
