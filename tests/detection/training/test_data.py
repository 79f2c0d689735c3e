from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_detection

from lucid.training.data_fingerprint import DataFingerprint
from lucid_models_detection.training import DetectorTask, TrainingOptions
from lucid_models_detection.training.data import TrainingData


def ids(dataset) -> list[int]:
    return [dataset[i][1]["image_id"] for i in range(len(dataset))]


def test_fraction_of_images_with_objects_is_held_out(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path, 10, empty=(0, 4))
    options = TrainingOptions(str(path), str(tmp_path), val_fraction=0.25)
    data = TrainingData.read(options, None)
    train, val = ids(data.train), ids(data.val)
    assert sorted(train + val) == list(range(100, 110))
    assert len(val) == 2
    assert not {100, 104} & set(val)
    assert ids(TrainingData.read(options, None).val) == val
    assert data.class_names == ("background", "square", "disc")


def test_only_training_images_are_augmented(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path, 4)

    def black(image, target):
        return np.zeros_like(image), target

    data = TrainingData.read(TrainingOptions(str(path), str(tmp_path)), black)
    assert data.train[0][0].max() == 0
    assert data.val[0][0].max() > 0
    plain = TrainingData.read(TrainingOptions(str(path), str(tmp_path), augment="none"), None)
    assert plain.train[0][0].max() > 0
    assert len(TrainingData.read(TrainingOptions(str(path), str(tmp_path), augment="full"), None)
               .train[0]) == 2  # fmt: skip


def test_separate_validation_file(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path / "train")
    other = small_detection.write_coco(
        tmp_path / "val", 3, categories={7: "disc"}, name="val.json", seed=1
    )
    options = TrainingOptions(str(path), str(path.parent), str(other), str(other.parent))
    data = TrainingData.read(options, None)
    assert (len(data.train), len(data.val)) == (6, 3)
    # Labels are those of the training set, although the file has one category only.
    assert {label for i in range(3) for label in data.val[i][1]["labels"].tolist()} == {2}


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ({7: "square", 3: "disc"}, "category 3 is 'disc': in the detector it is 'square'"),
        ({7: "disc", 4: "square"}, "category 4 is 'square': the detector has no such"),
    ],
)
def test_validation_with_other_categories_is_rejected(tmp_path, categories, message) -> None:
    path = small_detection.write_coco(tmp_path)
    other = small_detection.write_coco(tmp_path, categories=categories, name="val.json", seed=2)
    with pytest.raises(ValueError, match=message):
        TrainingData.read(TrainingOptions(str(path), str(tmp_path), str(other)), None)


def test_data_without_objects_is_rejected(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path)
    bare = small_detection.write_coco(tmp_path, 2, empty=(0, 1), name="bare.json")
    none = small_detection.write_coco(tmp_path, 2, empty=(0, 1), name="none.json", categories={})
    for data, val, message in (
        (path, bare, "bare.json: .* got none"),
        (bare, path, "bare.json: .* got none"),
        (bare, None, "bare.json: .* got none"),
        (none, path, "at least one category"),
    ):
        options = TrainingOptions(str(data), str(tmp_path), None if val is None else str(val))
        with pytest.raises(ValueError, match=message):
            TrainingData.read(options, None)


def test_invalid_boxes_are_rejected_or_left_out(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path)
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"][3] = 0
    path.write_text(json.dumps(content))
    for val in (None, str(path)):
        with pytest.raises(ValueError, match=r"must be greater than 0[\s\S]*--skip-invalid"):
            TrainingData.read(TrainingOptions(str(path), str(tmp_path), val), None)
        options = TrainingOptions(str(path), str(tmp_path), val, skip_invalid=True)
        reports = TrainingData.read(options, None).reports
        assert [report.left_out["annotations"] for report in reports] == [1] * (1 + bool(val))


def test_missing_images_are_rejected_before_the_first_step(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path)
    val = small_detection.write_coco(tmp_path, 2, name="val.json", seed=1)
    (tmp_path / "val_1.png").unlink()
    options = TrainingOptions(str(path), str(tmp_path), str(val))
    with pytest.raises(ValueError, match=r"val\.json: 1 problem:\n .*val_1\.png: no such file"):
        TrainingData.read(options, None)
    (tmp_path / "data_0.png").unlink()
    with pytest.raises(ValueError, match=r"data\.json: 1 problem:\n .*data_0\.png: no such file"):
        TrainingData.read(options, None)


def test_record_identifies_files_and_images(tmp_path: Path) -> None:
    path = small_detection.write_coco(tmp_path, 3)
    (tmp_path / "start").write_bytes(b"abc")
    options = TrainingOptions(str(path), str(tmp_path), str(path), weights=str(tmp_path / "start"))
    files = {**DetectorTask().files(options), "weights": options.weights}
    record = DataFingerprint.compute(
        files, TrainingData.read(options, None).folders, contents=False
    )
    assert record.files == {
        "data": hashlib.sha256(path.read_bytes()).hexdigest(),
        "val": hashlib.sha256(path.read_bytes()).hexdigest(),
        "weights": hashlib.sha256(b"abc").hexdigest(),
    }
    sizes = {image.name: image.stat().st_size for image in tmp_path.glob("*.png")}
    assert len(sizes) == 3
    assert record.images == {"images": sizes, "val_images": sizes}


def test_images_are_checked_before_the_first_step(tmp_path: Path) -> None:
    data = small_detection.write_coco(tmp_path, 6)
    images = json.loads(data.read_text())["images"]
    (tmp_path / images[0]["file_name"]).unlink()
    (tmp_path / images[1]["file_name"]).write_bytes(b"text")
    content = json.loads(data.read_text())
    content["annotations"][-1]["bbox"] = [1, 2, 0, 4]
    data.write_text(json.dumps(content))
    options = TrainingOptions(str(data), str(tmp_path))
    # Annotations and images in one error.
    said = r"(?s)3 problems:.*bbox \[1, 2, 0, 4\].*no such file.*not an image.*--skip-invalid"
    with pytest.raises(ValueError, match=said):
        TrainingData.read(options, None)
    found = TrainingData.read(replace(options, skip_invalid=True), None)
    assert len(found.train) + len(found.val) == 4
    assert found.reports[0].left_out["images"] == 2
    with pytest.raises(ValueError, match="1 problem:"):
        TrainingData.read(options, None, check=False)
    unchecked = TrainingData.read(replace(options, skip_invalid=True), None, check=False)
    assert len(unchecked.train) + len(unchecked.val) == 6


def test_leaked_validation_images_are_noted(tmp_path: Path) -> None:
    first = small_detection.write_coco(tmp_path / "a", 3)
    second = small_detection.write_coco(tmp_path / "b", 3, seed=1)
    name = json.loads(first.read_text())["images"][0]["file_name"]
    shutil.copy(tmp_path / "a" / name, tmp_path / "b" / name)
    options = TrainingOptions(
        str(first), str(first.parent), val=str(second), val_images=str(second.parent)
    )
    train, val = TrainingData.read(options, None).reports
    assert "leaked" not in train.counts
    assert val.counts["leaked"] >= 1
    same = TrainingData.read(replace(options, val=str(first), val_images=None), None).reports[1]
    assert same.counts["leaked"] == 3
