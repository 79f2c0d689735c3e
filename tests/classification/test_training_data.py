"""Data checks of classifiers: findings, and rejected folders."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lucid.cli.entry_point import run
from lucid.training import Run
from lucid_models_classification.training_data import ClassifierData

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``lucid train-classifier`` up to its first step; give exit code, output and errors."""
    monkeypatch.setattr(Run, "fit", lambda self, log: 0.5)

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["train-classifier", "--image-size", "16", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def draw(root: Path, seed: int = 0, **counts: int) -> Path:
    """Images of noise, all different: ``counts`` by the names of their folders."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        folder = root / name.replace("__", "/")
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (20, 24, 3), np.uint8)).save(folder / f"{i}.png")
    return root


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def test_splits_are_used(train: Command, tmp_path: Path) -> None:
    data = draw(tmp_path / "d", Train__cat=3, Train__dog=2, Valid__cat=1, Valid__dog=2, test__cat=1)
    found = ClassifierData.read(data)
    assert found.class_names == ("cat", "dog")
    assert (found.train.root, found.val.root) == (data / "Train", data / "Valid")
    assert (len(found.train), len(found.val), found.held_out) == (5, 3, None)
    assert found.report.classes == {"cat": 3, "dog": 2}
    assert found.report.columns == {"validation": {"cat": 1, "dog": 2}}
    assert found.report.counts == {"unused-folder": 1}  # test/
    code, out, _ = train("--data", data, "--output", tmp_path / "run")
    assert code == 0
    assert "classes     cat 3, dog 2" in out
    assert "2 classes, 5 images to train on, 3 to validate on" in out
    # --val takes the place of the folder; a folder of splits stands for its own.
    other = draw(tmp_path / "other", seed=1, train__cat=1, val__dog=1)
    assert ClassifierData.read(data, other / "val").val.root == other / "val"
    assert ClassifierData.read(data, other).val.root == other / "val"
    code, _, err = train("--data", data, "--val-fraction", 0.5, "--output", tmp_path / "run2")
    assert code == 2
    assert "'Valid'" in err


def test_a_test_folder_used_for_validation_is_named(train: Command, tmp_path: Path) -> None:
    data = draw(tmp_path / "d", train__cat=3, train__dog=3, test__cat=1, test__dog=2)
    assert ClassifierData.read(data).report.counts["test-folder"] == 1
    code, out, _ = train("--data", data, "--output", tmp_path / "a")
    assert code == 0
    assert f"3 to validate on ({data / 'test'})" in out
    assert "test folders used for validation: 1" in " ".join(out.split())
    (data / "test").rename(data / "val")
    assert "test-folder" not in ClassifierData.read(data).report.counts


def test_without_a_val_folder_a_part_of_train_is_held_out(tmp_path: Path) -> None:
    found = ClassifierData.read(draw(tmp_path / "data", train__cat=5, train__dog=1))
    assert found.held_out is not None
    assert [len(part) for part in found.held_out] == [5, 1]
    assert found.report.columns == {"held out": {"cat": 1, "dog": 0}}
    assert found.report.counts == {"single-image": 1}
    assert "'dog'" in found.report.findings[0].message


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"only": 4}, r"two classes, found only 'only'"),
        (
            {"d__cat": 2, "d__dog": 2},
            r"only 'd', with the folders 'cat', 'dog' in it; .*--data .*d",
        ),
        ({"cat": 0, "dog": 0}, "none with a usable image"),
        ({"cat": 1, "dog": 1}, "no class has two images"),
        ({"train__cat": 2, "dog": 1}, "splits 'train' beside 'dog'"),
        ({"train__cat": 2, "train__dog": 2, "val__fox": 1}, "'cat', 'dog', got 'fox'"),
    ],
)
def test_unusable_data_are_rejected(tmp_path: Path, folders: dict[str, int], message: str) -> None:
    data = draw(tmp_path / "data", **folders)
    for skip in (False, True):
        with pytest.raises(ValueError, match=message):
            ClassifierData.read(data, skip_invalid=skip)


def test_a_broken_image_is_refused_before_the_first_step_or_left_out(
    train: Command, tmp_path: Path
) -> None:
    data = draw(tmp_path / "data", a=6, b=5, empty=0)
    cut(data / "a" / "5.png")
    (data / "b" / "5.png").symlink_to("gone.png")
    code, out, err = train("--data", data, "--output", tmp_path / "run")
    assert (code, out) == (2, "")
    for part in (
        "3 problems",
        "a/5.png",
        "b/5.png: broken symlink",
        "'empty'",
        "--skip-invalid",
    ):
        assert part.strip("'") in err
    assert not (tmp_path / "run").exists()
    code, out, _ = train("--data", data, "--output", tmp_path / "run", "--skip-invalid")
    assert code == 0
    assert "2 of 12 images" in " ".join(out.split())
    for part in ("missing images: 1", "unreadable images: 1", "without a usable image: 1"):
        assert part in " ".join(out.split())
    assert "2 classes, 8 images to train on, 2 to validate on" in out
    code, _, err = train("--data", data, "--output", tmp_path / "r", "--no-check-data")
    assert code == 2  # an empty class needs no image to be opened
    assert "1 problem" in err
    (data / "empty").rmdir()
    code, _, err = train("--data", data, "--output", tmp_path / "r", "--no-check-data")
    assert code == 2  # the size of every file is part of the record of the run
    assert "5.png" in err
    (data / "b" / "5.png").unlink()
    code, out, _ = train("--data", data, "--output", tmp_path / "r", "--no-check-data")
    assert code == 0
    assert "9 images to train on, 2 to validate on" in out
    code, _, err = train(
        "--data", data, "--output", tmp_path / "s", "--no-check-data", "--skip-inv"
    )
    assert code == 2


def test_more_than_half_is_never_left_out(tmp_path: Path) -> None:
    data = draw(tmp_path / "data", a=4, b=2)
    for name in ("a/0.png", "a/1.png", "b/0.png"):
        cut(data / name)
    assert len(ClassifierData.read(data, skip_invalid=True).train) == 3
    cut(data / "a/2.png")
    with pytest.raises(ValueError, match="4 of 6 images"):
        ClassifierData.read(data, skip_invalid=True)
    with pytest.raises(ValueError, match="4 problems"):
        ClassifierData.read(data)


def test_validation_classes_are_matched_by_name(tmp_path: Path) -> None:
    data = draw(tmp_path / "data", Cat=2, dog=2, fox=2)
    val = draw(tmp_path / "val", seed=1, cat=1, dog=3)
    found = ClassifierData.read(data, val)
    assert found.val.labels == [0, 1, 1, 1]
    assert found.report.counts == {"unvalidated-class": 1, "renamed-class": 1}
    messages = {finding.kind: finding.message for finding in found.report.findings}
    assert "'fox'" in messages["unvalidated-class"]
    assert messages["renamed-class"] == f"{val / 'cat'}: used for class 'Cat'"


def test_usable_data_with_notes(tmp_path: Path) -> None:
    data = draw(tmp_path / "data", Cat=3, cat__more=2, dog=2)
    shutil.copy(data / "Cat" / "0.png", data / "dog" / "copy.png")
    shutil.copy(data / "Cat" / "1.png", data / "cover.png")
    (data / "dog" / "labels.csv").touch()
    (data / "__MACOSX").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 40)).save(data / "dog" / "turned.jpg", exif=exif)
    val = draw(tmp_path / "val", seed=1, dog=1)
    shutil.copy(data / "dog" / "1.png", val / "dog" / "same.png")
    report = ClassifierData.read(data, val).report
    assert report.counts == {
        "similar-names": 1,
        "turned": 1,
        "two-classes": 1,
        "leaked": 1,
        "nested": 2,
        "no-class": 1,
        "other-file": 1,
        "unused-folder": 1,
        "unvalidated-class": 2,
    }
    assert report.sizes == {"min": (40, 10), "median": (24, 20), "max": (24, 20)}
    assert report.totals == {"images": 11}


def test_the_same_folder_to_train_and_validate_on_is_said(tmp_path: Path) -> None:
    data = draw(tmp_path / "data", a=2, b=1)
    assert ClassifierData.read(data, data).report.counts == {"leaked": 3}


def test_copies_in_training_and_held_out_images_are_noted(tmp_path: Path) -> None:
    data = draw(tmp_path / "d", cat=1, dog=4)
    for i in range(1, 10):
        shutil.copy(data / "cat" / "0.png", data / "cat" / f"{i}.png")
    found = ClassifierData.read(data)
    assert found.report.columns["held out"]["cat"] == 2
    assert found.report.counts["leaked"] == 2


def test_it_can_be_sent_to_other_ranks(tmp_path: Path) -> None:
    found = ClassifierData.read(draw(tmp_path / "data", a=2, b=2))
    again = pickle.loads(pickle.dumps(found))
    assert again.train.samples == found.train.samples
    assert again.report.as_dict() == found.report.as_dict()


def test_check_data_matches_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = draw(tmp_path / "data", a=4, b=2)
    assert run(["check-data", "--data", str(data)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        f"{data}: 6 images, 2 classes",
        "",
        "CLASS  IMAGES  HELD OUT",
        "a           4         1",
        "b           2         1",
        "(sum)       6         2",
    ]
    cut(data / "a" / "0.png")
    assert run(["check-data", "--data", str(data), "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert (said["format"], said["counts"]) == ("class-folders", {"unreadable-image": 1})
    assert run(["check-data", "--data", str(data), "--images", str(data)]) == 2
    draw(data, train__a=1)
    assert run(["check-data", "--data", str(data)]) == 2
    assert "neither classes nor splits" in capsys.readouterr().out


def test_detection_data_are_named(train: Command, tmp_path: Path) -> None:
    yolo = draw(tmp_path / "yolo", images__train=2, images__val=1)
    (yolo / "labels" / "train").mkdir(parents=True)
    (yolo / "labels" / "train" / "0.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    export = draw(tmp_path / "export", train=2, valid=1)
    for split in ("train", "valid"):
        (export / split / "_annotations.coco.json").write_text("{}")
    for data, what in (
        (yolo, "YOLO"),
        (export, f"--data {export}/train/_annotations.coco.json --images {export}/train"),
    ):
        code, _, errors = train("--data", data, "--output", tmp_path / "out")
        assert code != 0
        assert what in errors
        assert run(["check-data", "--data", str(data)]) == 2


@pytest.mark.skipif(os.name == "nt", reason="names of folders are text there")
def test_non_utf8_class_names_are_rejected(tmp_path: Path) -> None:
    try:
        data = draw(tmp_path / "data", a=2, **{os.fsdecode(b"b\xff"): 2})
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    with pytest.raises(ValueError, match=r"UTF-8, got b'b\\xff'; rename"):
        ClassifierData.read(data)


def test_names_of_images_may_be_any_bytes(train: Command, tmp_path: Path) -> None:
    data = draw(tmp_path / "data", a=2, b=2)
    try:
        (data / "a" / "0.png").rename(data / "a" / os.fsdecode(b"\xff.png"))
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    code, _, err = train("--data", data, "--output", tmp_path / "run")
    assert code == 0, err
    cut(data / "a" / os.fsdecode(b"\xff.png"))
    code, _, err = train("--data", data, "--output", tmp_path / "run2")
    assert code == 2
    assert "1 problem" in err
