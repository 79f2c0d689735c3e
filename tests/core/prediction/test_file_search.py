"""Directories, patterns and lists, as files."""

from __future__ import annotations

import errno
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


def search(*sources: str) -> tuple[list[str], list[str]]:
    """The files, and what is said of the rest."""
    sentences: list[str] = []
    return list(find_files(sources, SUFFIXES, sentences.append)), sentences


def test_directory_is_searched_recursively(folder):
    # A link to nothing is there as well: reading it will say what is wrong with it.
    assert found("in") == ["in/a.JPG", "in/b.png", "in/broken.png", "in/sub/c.jpg"]


def test_file_with_any_suffix_is_used(folder):
    assert found("in/notes.txt", "in/b.png") == ["in/notes.txt", "in/b.png"]


def test_pattern(folder):
    assert found("in/*.png") == ["in/b.png", "in/broken.png"]
    assert found("in/**/*.[jJ][pP][gG]") == ["in/a.JPG", "in/sub/c.jpg"]
    assert found("in/**") == [
        "in/a.JPG", "in/b.png", "in/broken.png", "in/e/x.md", "in/notes.txt", "in/sub/c.jpg",
    ]  # fmt: skip


def test_file_whose_name_looks_like_a_pattern(folder):
    Path("in/[1].png").touch()
    assert found("in/[1].png") == ["in/[1].png"]


def test_list(folder):
    Path("list.txt").write_text("in/b.png\n\nin/sub\nin/*.JPG")
    assert found("@list.txt") == ["in/b.png", "in/sub/c.jpg", "in/a.JPG"]
    Path("@odd.png").touch()
    assert found("@odd.png") == ["@odd.png"]


def test_missing_source_raises_at_once(folder):
    for source, name in (("in/none.png", "in/none.png"), ("@none.txt", "none.txt")):
        with pytest.raises(FileNotFoundError) as error:
            find_files(["in", source], SUFFIXES)
        assert error.value.filename == name
    Path("list.txt").write_text("in/none.png\n")
    with pytest.raises(FileNotFoundError):
        found("@list.txt")


def test_source_without_files_raises(folder):
    with pytest.raises(ValueError, match=r"in/e: expected images.*1 \.md"):
        found("in/e")
    Path("empty").mkdir()
    with pytest.raises(ValueError, match="empty: expected images, found no files"):
        found("in", "empty")
    with pytest.raises(ValueError, match=r"in/\*\.gif: .* found no file that matches"):
        found("in/*.gif")


def test_files_are_yielded_lazily(folder):
    """The second source is not looked into before the first is through."""
    files = find_files(["in/b.png", "in"], SUFFIXES)
    assert next(files) == "in/b.png"
    Path("in/0.png").touch()
    assert next(files) == "in/0.png"


def test_files_with_other_suffixes_are_counted(folder):
    for name in ("notes2.TXT", "sub/1.heic", "sub/README"):
        (Path("in") / name).touch()
    files, (sentence,) = search("in", "in/b.png")
    assert len(files) == 5
    assert "skipped 5 files" in sentence
    assert all(part in sentence for part in ("2 .txt", "1 .heic", "1 .md", "1 no suffix"))
    assert search("in/*.png", "in/notes.txt")[1] == []


def test_linked_directories_are_searched_once(folder):
    Path("elsewhere/deep").mkdir(parents=True)
    Path("elsewhere/1.png").touch()
    Path("elsewhere/deep/2.png").touch()
    os.symlink("../elsewhere", "in/0link")
    os.symlink("../../elsewhere/deep", "in/sub/again")
    os.symlink("..", "elsewhere/deep/up")  # to elsewhere, and from there round and round
    os.symlink(".", "in/self")
    assert found("in") == [
        "in/a.JPG", "in/b.png", "in/broken.png", "in/sub/c.jpg",
        "in/0link/1.png", "in/0link/deep/2.png",
    ]  # fmt: skip
    files = found("in/**/*.png")
    assert sorted(Path(file).name for file in files) == ["1.png", "2.png", "b.png", "broken.png"]


def test_link_to_a_parent_directory_is_not_followed(folder):
    Path("outside.png").touch()
    os.symlink("../..", "in/sub/up")
    files, sentences = search("in")
    assert "in/sub/c.jpg" in files
    assert not any("outside" in file for file in files)
    assert "in/sub/up: not followed, links to a parent folder" in sentences
    os.symlink("in", "as")
    assert search("as")[0][0] == "as/a.JPG"  # the directory that is named itself is


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipe_is_skipped(folder):
    os.mkfifo("in/pipe.png")
    files, (sentence,) = search("in")
    assert "in/pipe.png" not in files
    assert "1 pipe or device" in sentence


@pytest.fixture
def locked(folder, monkeypatch):
    """A directory that cannot be read, even by root."""
    Path("in/locked").mkdir()
    scandir = os.scandir

    def refuse(path="."):
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return "in/locked"


def test_unreadable_directory_is_named(locked):
    for source, count in (("in", 4), ("in/**/*.png", 2), ("in/*/*.jpg", 1)):
        files, sentences = search(source)
        assert len(files) == count
        assert [s for s in sentences if "locked" in s] == [
            "in/locked: cannot be read (Permission denied)"
        ]
    assert search("in/*.png")[1] == []
    with pytest.warns(UserWarning, match="in/locked: cannot be read"):
        assert len(found("in")) == 4
    with pytest.warns(UserWarning, match="in/locked: cannot be read"):
        assert found(locked, "in/b.png") == ["in/b.png"]
    with pytest.raises(ValueError, match="found none; in/locked: cannot be read"):
        found(locked)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le-bom"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_list_as_editors_save_it(folder, encoding, ends):
    Path("in/é.png").touch()
    text = f"# photos{ends}in/b.png{ends}{ends}  \t{ends}in/é.png  {ends}in/a.JPG"
    data = b"\xff\xfe" + text.encode("utf-16-le") if "bom" in encoding else text.encode(encoding)
    Path("list.txt").write_bytes(data)
    assert found("@list.txt") == ["in/b.png", "in/é.png", "in/a.JPG"]


def test_list_from_a_pipe_is_read_whole(folder):
    Path("in/b.png").touch()
    names = ["in/b.png"] * 2000  # more than one block of reading
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as file:
        file.write("\n".join(names))
    try:
        assert found(f"@/dev/fd/{reader}") == names
    finally:
        os.close(reader)


def test_odd_names_in_a_list(folder):
    for name in ("#1.png", " space.png ", "-x.png", os.fsdecode(b"\xff.png"), "😀.png"):
        Path(name).touch()
    names = [b"#1.png", b" space.png ", b"-x.png", b"\xff.png", "😀.png".encode()]
    Path("list.txt").write_bytes(b"\n".join(names))
    assert found("@list.txt") == [os.fsdecode(name) for name in names]


@pytest.mark.parametrize("text", ["", "\n\n", " \r\n", "# nothing yet\n", "\ufeff"])
def test_empty_list_raises(folder, text):
    Path("list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"list\.txt: expected a list with one path"):
        found("in/b.png", "@list.txt")


def test_faults_of_lists_name_list_and_line(folder):
    Path("list.txt").write_text("in/b.png\n\nin/none.png\n")
    with pytest.raises(FileNotFoundError, match=r"list\.txt, line 3: No such file.*in/none\.png"):
        found("@list.txt")
    Path("in/list.txt").write_text("b.png\n")
    with pytest.raises(FileNotFoundError, match="relative to the current"):
        found("@in/list.txt")
    Path("list.txt").write_text("@other.txt\n")
    Path("other.txt").write_text("@./list.txt\n")
    with pytest.raises(ValueError, match="cycles"):
        found("@list.txt")
    Path("list.txt").write_bytes(b"\x89PNG\0\0")
    with pytest.raises(ValueError, match=r"list\.txt: expected text"):
        found("@list.txt")
