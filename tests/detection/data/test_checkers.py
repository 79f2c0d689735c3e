"""``lucid check-data`` with COCO and VOC annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lucid.cli.entry_point import run
from lucid_models_detection.data.checkers import check_coco, check_voc

XML = """<annotation><filename>{name}</filename>
<size><width>40</width><height>30</height></size>
<object><name>{label}</name>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>{bottom}</ymax></bndbox></object>
</annotation>"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_CACHE_DIR", str(tmp_path / "cache"))


def draw(path: Path, seed: int, **save: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(path, **save)


def coco(tmp_path: Path, count: int = 6, **changes: Any) -> Path:
    """Write a COCO file with a cat in each image and a dog in the first."""
    for i in range(count):
        draw(tmp_path / "images" / f"{i}.png", i)
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in range(count)
        ],
        "annotations": [
            {"id": i, "image_id": i % count, "category_id": 1 + i // count, "bbox": [2, 3, 10, 12]}
            for i in range(count + 1)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content | changes))
    return path


def test_coco_file_report_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = coco(tmp_path)
    assert run(["check-data", "--data", str(data)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{data}: 6 images, 7 annotations, 2 classes",
        "",
        "CLASS  OBJECTS  IMAGES",
        "cat          6       6",
        "dog          1       1",
        "(sum)        7       7",
        "",
        "Image sizes: 40 x 30 pixels",
        "",
        "Training accepts this data.",
    ]


def test_image_folder_is_found(tmp_path: Path) -> None:
    data = coco(tmp_path)
    (tmp_path / "images" / "1.png").unlink()
    (tmp_path / "images" / "2.png").write_bytes(b"text")
    Image.new("RGB", (30, 40)).save(tmp_path / "images" / "3.png")
    report = check_coco(data)
    assert report.counts == {"missing-image": 1, "unreadable-image": 1, "size-mismatch": 1}
    assert report.left_out == {"images": 3, "annotations": 3}
    assert (report.usable, report.usable_with_skip_invalid) == (False, True)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert check_coco(data).counts == {"unopened": 6}
    assert check_coco(data, tmp_path / "elsewhere").counts == report.counts
    (tmp_path / "elsewhere" / "4.png").unlink()
    assert not check_coco(data, tmp_path / "elsewhere").usable_with_skip_invalid


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"annotations": []}, "nothing-to-learn"),
        ({"categories": [], "annotations": []}, "nothing-to-learn"),
        ({"categories": [{"id": 1}]}, "bad-category"),
        ({"categories": None}, "bad-format"),
    ],
)
def test_unusable_files_are_reported(
    tmp_path: Path, changes: dict[str, Any], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = coco(tmp_path, **changes)
    assert kind in check_coco(data).counts
    assert run(["check-data", "--data", str(data), "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert (said["format"], said["usable"], kind in said["counts"]) == ("coco", False, True)


def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOC"
    (root / "Annotations").mkdir(parents=True)
    for i, label in enumerate(("dog", "cat", "dog", "cat")):
        draw(root / "JPEGImages" / f"{i}.jpg", i)
        text = XML.format(name=f"{i}.jpg", label=label, bottom=25)
        (root / "Annotations" / f"{i}.xml").write_text(text)
    return root


def test_voc_folder_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = voc(tmp_path)
    for data in (root, root / "Annotations"):
        assert run(["check-data", "--data", str(data), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["format"] == "voc"
        assert said["classes"] == {"cat": 2, "dog": 2}
        assert said["counts"] == {"convert": 1}
        assert said["sizes"]["min"] == [40, 30]
    path = root / "Annotations" / "0.xml"
    path.write_text(XML.format(name="0.jpg", label="dog", bottom=2))
    (root / "JPEGImages" / "1.jpg").write_bytes(b"")
    report = check_voc(root)
    assert report.counts == {"bad-bbox": 1, "unreadable-image": 1, "convert": 1, "no-objects": 1}


def test_voc_report_suggests_conversion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = voc(tmp_path)
    assert run(["check-data", "--data", str(root)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "convert the data before training" in out
    assert "accepts" not in out
    code = out[out.index("import json") : out.rindex('"')]
    monkeypatch.chdir(tmp_path)
    exec(code)
    assert check_coco(tmp_path / "train.json", root / "JPEGImages").classes == {"cat": 2, "dog": 2}


def test_findings_have_image_and_annotation(tmp_path: Path) -> None:
    rows = [
        {"id": "x'1", "image_id": 0, "category_id": 1, "bbox": [2, 3, 0, 4]},
        {"id": 7, "image_id": 1, "category_id": 1, "bbox": "text"},
        {"image_id": 1, "category_id": 9, "bbox": [1, 1, 9, 9]},
        {"id": 8, "image_id": 99, "category_id": 1, "bbox": [1, 1, 9, 9]},
        {"id": 9, "image_id": 2, "category_id": 1, "bbox": [-2, 1, 9, 9]},
    ]
    found = {
        (finding.kind, finding.image, finding.annotation)
        for finding in check_coco(coco(tmp_path, annotations=rows)).findings
    }
    assert found >= {
        ("bad-bbox", "0.png", "x'1"),
        ("bad-bbox", "1.png", "7"),
        ("unknown-category", "1.png", "number 2"),
        ("unknown-image", None, "8"),
        ("clipped", "2.png", "9"),
    }
    root = voc(tmp_path)
    text = XML.format(name="0.jpg", label="dog", bottom=2)
    (root / "Annotations" / "0.xml").write_text(text)
    (root / "Annotations" / "1.xml").write_text("<annotation>")
    (root / "Annotations" / "2.xml").write_text(
        XML.replace("40", "0").format(name="2.jpg", label="", bottom=25)
    )
    (root / "JPEGImages" / "3.jpg").unlink()
    found = {
        (finding.kind, finding.image, finding.annotation) for finding in check_voc(root).findings
    }
    assert found >= {
        ("bad-bbox", "0.jpg", "0.xml: object 0"),
        ("bad-file", None, "1.xml"),
        ("derived-size", "2.jpg", "2.xml"),
        ("unknown-category", "2.jpg", "2.xml: object 0"),
        ("missing-image", "3.jpg", "3.xml"),
    }


def test_hidden_files_do_not_affect_format_detection(tmp_path: Path) -> None:
    root = voc(tmp_path)
    for name in (".a.xml", "._0.xml", "__MACOSX/0.xml"):
        path = root / "Annotations" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x00")
    assert run(["check-data", "--data", str(root)]) == 0


@pytest.mark.parametrize("option", ["--box-format", "--box-orientation", "--skip-invalid"])
def test_checker_options_match_training_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert run(["check-data", "--data", str(tmp_path), option]) == 2
    advice = f"--option {option[2:].replace('-', '_')}=" if "box" in option else "the report lists"
    assert advice in capsys.readouterr().err


def test_checker_accepts_options_of_its_format_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = [[20, 15, 38, 28], [25, 16, 39, 29], [30, 18, 36, 27]]
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)
    ]
    data = coco(tmp_path, 3, annotations=annotations)
    assert "box-format" in check_coco(data).counts
    assert run(["check-data", "--data", str(data), "--option", "box_format=xyxy"]) == 0
    for option in ("box_format=abc", "box_format", "size=3"):
        capsys.readouterr()
        assert run(["check-data", "--data", str(data), "--option", option]) == 2
        _, err = capsys.readouterr()
        assert "box_format" in err
