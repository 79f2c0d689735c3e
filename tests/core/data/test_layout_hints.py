"""Data sets of other tools are named, and folders of classes are not taken for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lucid.data.layout_hints import is_yolo_text, layout_hint

YAML = "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n"
LABEL = "0 0.5 0.5 0.25 0.125\n1 0.1 0.1 1e-2 .5\n"


def fill(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"data.yaml": YAML}, "YOLO"),
        ({"data.yaml": YAML, "train/images/a.jpg": "", "train/labels/a.txt": LABEL}, "YOLO"),
        ({"images/train/a.jpg": "", "labels/train/a.txt": LABEL}, "YOLO"),
        ({"images/a.jpg": "", "labels/a.txt": LABEL, "labels/classes.txt": "cat\n"}, "YOLO"),
        ({"a.jpg": "", "a.txt": LABEL, "classes.txt": "cat\n"}, "YOLO"),
        (
            {f"{split}/_annotations.coco.json": "{}" for split in ("test", "train", "valid")},
            "--data {root}/train/_annotations.coco.json --images {root}/train",
        ),
        (
            {"_annotations.coco.json": "{}", "a.jpg": ""},
            "--data {root}/_annotations.coco.json --images {root}",
        ),
        (
            {
                "annotations/captions_val2017.json": "",
                "annotations/instances_val2017.json": "",
                "val2017/a.jpg": "",
            },
            "--data {root}/annotations/instances_val2017.json",
        ),
    ],
)
def test_data_sets_of_other_tools(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    hint = layout_hint(fill(tmp_path, files))
    assert hint.startswith("it looks like")
    assert expected.format(root=tmp_path) in hint


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cat/a.jpg": "", "dog/a.jpg": "", "README.txt": "Two classes", "meta.yaml": "names: x\n"},
        {"data.yaml": YAML, "train/cat/a.jpg": "", "val/cat/a.jpg": ""},
        {"annotations/notes.json": "{}", "train/cat/a.jpg": "", "val/cat/a.jpg": ""},
        {"images/a.jpg": "", "labels/a.jpg": ""},
        {"images/a.jpg": "", "labels/a.txt": "5 labels in all\n"},
    ],
)
def test_folders_of_classes(tmp_path: Path, files: dict[str, str]) -> None:
    assert layout_hint(fill(tmp_path, files)) == ""


def test_text_of_label_files() -> None:
    polygon = "3 0.1 0.1 0.2 0.1 0.2 0.3\n"
    assert is_yolo_text(polygon)
    assert not is_yolo_text("")
    assert not is_yolo_text("0 0.5 0.5\n")
    assert not is_yolo_text('{"train": 1, "val": 2}')
