"""Folders of classes, and of splits around them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lucid_models_classification.class_folders import (
    Splits,
    find_splits,
    match_classes,
    read_class_folders,
)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def counts(root: Path) -> dict[str, int]:
    return {name: len(images) for name, images in read_class_folders(root).images.items()}


def test_other_files_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.png", "cat/more/2.jpg", "cat/notes.txt", "dog/1.PNG", "dog/raw/x.cr2")
    touch(tmp_path, "cover.png", "labels.csv", ".git/1.png", "__MACOSX/._1.png", "dog/.DS_Store")
    touch(tmp_path, "cat/@eaDir/1.png")
    found = read_class_folders(tmp_path)
    assert counts(tmp_path) == {"cat": 2, "dog": 1}
    assert found.nested == {"cat": 1}
    assert found.beside == [tmp_path / "cover.png"]
    assert found.other_files == {".txt": 1, ".cr2": 1, ".csv": 1}
    assert found.passed_over == [".git", "__MACOSX"]


def test_classes_are_sorted_as_text(tmp_path: Path) -> None:
    assert list(counts(touch(tmp_path, "2/a.png", "10/a.png", "1/a.png"))) == ["1", "10", "2"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    touch(tmp_path, "elsewhere/1.png", "data/cat/2.png", "data/cat/more/3.png")
    (data / "dog").symlink_to(tmp_path / "elsewhere")
    (data / "cat" / "again").symlink_to(data / "cat" / "more")
    (data / "cat" / "up").symlink_to(tmp_path)
    (data / "cat" / "self").symlink_to(data / "cat")
    (data / "cat" / "broken.png").symlink_to("nowhere.png")
    assert counts(data) == {"cat": 3, "dog": 1}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_not_images(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.png")
    os.mkfifo(tmp_path / "cat" / "2.png")
    found = read_class_folders(tmp_path)
    assert counts(tmp_path) == {"cat": 1}
    assert found.other_files == {".png": 1}


@pytest.mark.parametrize(
    ("names", "train", "val", "unused"),
    [
        (("train", "val"), "train", "val", ()),
        (("Train", "Valid"), "Train", "Valid", ()),
        (("training", "validation", "test"), "training", "validation", ("test",)),
        (("TRAIN", "Test"), "TRAIN", "Test", ()),
        (("train",), "train", None, ()),
    ],
)
def test_splits_are_found_in_any_case(
    tmp_path: Path, names: tuple[str, ...], train: str, val: str | None, unused: tuple[str, ...]
) -> None:
    for name in names:
        touch(tmp_path, f"{name}/cat/1.png", f"{name}/dog/1.png")
    touch(tmp_path, "readme.txt", "meta/labels.csv")
    on_test = val is not None and val.lower() == "test"
    expected = Splits(tmp_path / train, val and tmp_path / val, ("meta", *unused), on_test)
    assert find_splits(tmp_path) == expected
    with pytest.raises(ValueError, match=f"got the splits .*such as .*{train}"):
        read_class_folders(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.png", "car/1.png", "bus/1.png")
    assert find_splits(tmp_path) is None
    assert counts(tmp_path) == {"bus": 1, "car": 1, "train": 1}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("train/1.png", "val/1.png"), "folder per class in 'train', 'val', found images"),
        (("train/cat/1.png", "dog/1.png"), "splits 'train' beside 'dog'"),
        (
            ("train/cat/1.png", "val/cat/1.png", "valid/cat/1.png"),
            "one val folder, found 'val', 'v",
        ),
        (("val/cat/1.png", "test/cat/1.png"), "expected a folder 'train' beside 'test', 'val'"),
    ],
)
def test_unclear_splits_are_refused(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(ValueError, match=message):
        find_splits(tmp_path)


def test_folders_are_matched_by_name() -> None:
    names = ("cat", "caf\u00e9", "Dog", "dog")
    folders = ["CAT", "cafe\u0301", "dog", " cat "]
    assert match_classes(folders, names, "val") == {"CAT": 0, "cafe\u0301": 1, "dog": 3, " cat ": 0}
    # "DOG" is near two classes.
    with pytest.raises(ValueError, match=r"val: .* got 'DOG', 'fox'"):
        match_classes(["DOG", "fox", "cat"], names, "val")


@pytest.mark.parametrize(
    ("names", "train", "val", "test"),
    [
        (("training_set", "test_set"), "training_set", "test_set", True),
        (("train_set", "val_set"), "train_set", "val_set", False),
        (("seg_train", "seg_test"), "seg_train", "seg_test", True),
        (("train2017", "val2017"), "train2017", "val2017", False),
        (("train", "dev"), "train", "dev", False),
        (("Train Data", "Eval Data", "Test Data"), "Train Data", "Eval Data", False),
    ],
)
def test_splits_by_other_names(
    tmp_path: Path, names: tuple[str, ...], train: str, val: str, test: bool
) -> None:
    for name in names:
        touch(tmp_path, f"{name}/cat/1.png", f"{name}/dog/1.png")
    touch(tmp_path, "meta/labels.csv")
    found = find_splits(tmp_path)
    assert found is not None
    assert (found.train, found.val) == (tmp_path / train, tmp_path / val)
    assert found.validates_on_test is test


def test_classes_with_the_names_of_splits(tmp_path: Path) -> None:
    touch(tmp_path, "night_train/sub/1.png", "steam_train/sub/1.png", "val/1.png")
    touch(tmp_path, "car/sub/1.png", "crash_test/sub/1.png")
    assert find_splits(tmp_path) is None


def test_a_link_to_itself_is_a_broken_image(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.png", "dog/1.png")
    for name in ("cat/2.png", "loop"):
        (tmp_path / name).symlink_to(tmp_path / name)
    assert counts(tmp_path) == {"cat": 2, "dog": 1}
