"""Damaged and hostile COCO and VOC files: an error that names the file, or valid targets."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checks import Figures, check_annotations, measured
from mutations import mutated
from seeds import VOC, annotation_seeds, corpus

from lucid_models_detection.data import CocoDetection, VocDetection

IMAGE = {"id": 1, "file_name": "a.png", "width": 40, "height": 30}
ANNOTATION = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12}
CATEGORY = {"id": 1, "name": "dog"}


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def coco(folder: Path, image: Any = (), annotation: Any = (), category: Any = ()) -> Path:
    """Write a file with one entry of each kind; a value in <angles> is literal JSON."""
    content = {
        "images": [IMAGE | dict(image)],
        "annotations": [ANNOTATION | dict(annotation)],
        "categories": [CATEGORY | dict(category)],
    }
    text = json.dumps(content).replace('"<', "").replace('>"', "")
    path = folder / "coco.json"
    path.write_text(text)
    return path


def voc(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "picture.png").touch()
    path = folder / "a.xml"
    path.write_bytes(text.encode(encoding))
    return path


def assert_refused(read: Any, path: Path, match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        read()
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 3000  # for any file content


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_damaged_files_are_rejected_or_give_valid_targets(
    tmp_path: Path, traced: None, kind: str
) -> None:
    (tmp_path / "picture.png").touch()
    figures, seeds = Figures(), annotation_seeds()[kind]
    for number in range(1000):
        content = mutated(seeds, random.Random(f"test {number}"))
        check_annotations(kind, content, tmp_path, figures)
    assert figures.accepted > 50
    assert sum(figures.errors.values()) > 500


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_fuzzing_regressions(tmp_path: Path, traced: None, kind: str) -> None:
    (tmp_path / "picture.png").touch()
    assert corpus(kind)
    for content in corpus(kind):
        check_annotations(kind, content, tmp_path, Figures())


@pytest.mark.parametrize("deep", [30, 500, 900, 950, 980, 990, 995, 10_000])
@pytest.mark.parametrize("nest", ["[]", '{"a":}'])
def test_deeply_nested_json_is_rejected(tmp_path: Path, deep: int, nest: str) -> None:
    """Deep JSON can be parsed but not formatted for the error message."""
    text = f"<{nest[:-1].replace(chr(34), '@') * deep}1{nest[-1] * deep}>"
    places = [{"image": {key: text}} for key in IMAGE]
    places += [{"annotation": {key: text}} for key in ANNOTATION if key != "area"]
    places += [{"category": {key: text}} for key in CATEGORY]
    for place in places:
        path = coco(tmp_path, **place)
        path.write_text(path.read_text().replace("@", '"'))
        assert_refused(lambda path=path: CocoDetection(path, tmp_path), path, "coco.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": {"width": 10**400}}, "expected width and height"),
        ({"image": {"width": 2**31}}, "expected width and height"),
        ({"image": {"height": True}}, "expected width and height"),
        ({"image": {"file_name": "a\0b"}}, "expected a relative path"),
        ({"image": {"file_name": "\ud800"}}, "expected a relative path"),
        ({"image": {"file_name": "../" * 10_000}}, "expected a relative path"),
        ({"annotation": {"id": [1]}}, "expected an integer or string as id"),
        ({"annotation": {"bbox": [10**400, 1, 1, 1]}}, "expected four numbers"),
        ({"annotation": {"bbox": [1e308, 1, 1e308, 1]}}, "must be finite"),
        ({"image": {"width": 10**9}, "annotation": {"bbox": [9e8, 1, 1, 1]}}, "vanish in float32"),
        ({"annotation": {"bbox": ["x" * 10**6] * 4}}, "expected four numbers"),
        ({"annotation": {"image_id": "x" * 10**6}}, "no image has this id"),
        ({"category": {"name": ["x" * 10**6]}}, "expected id and name"),
    ],
)  # fmt: skip
def test_extreme_numbers_and_names(tmp_path: Path, changes: Any, message: str) -> None:
    path = coco(tmp_path, **changes)
    assert_refused(lambda: CocoDetection(path, tmp_path), path, message)


@pytest.mark.parametrize("area", [1e-320, 1e300, 0, -1, 10**400, "12", None])
def test_invalid_area_is_computed_from_the_box(tmp_path: Path, area: Any) -> None:
    data = CocoDetection(coco(tmp_path, annotation={"area": area}), tmp_path)
    assert data.target(0)["area"].tolist() == [12]


@pytest.mark.parametrize("name", ["nonsense", "utf-7", "rot13", "idna", "hex", "", "x" * 99])
def test_unknown_encodings_are_rejected(tmp_path: Path, name: str) -> None:
    path = voc(tmp_path, VOC.replace('encoding="utf-8"', f'encoding="{name}"'))
    assert_refused(lambda: VocDetection(tmp_path, tmp_path), path, "not a supported XML file")


@pytest.mark.parametrize("name", ["utf-16", "latin-1", "ascii", "cp1252", "gbk", "shift_jis"])
def test_known_encodings_are_read(tmp_path: Path, name: str) -> None:
    voc(tmp_path, VOC.replace('encoding="utf-8"', f'encoding="{name}"'), name)
    assert len(VocDetection(tmp_path, tmp_path)) == 1


def test_too_long_image_name_is_reported_as_missing(tmp_path: Path) -> None:
    path = voc(tmp_path, VOC.replace("picture.png", "x" * 5000))
    assert_refused(lambda: VocDetection(tmp_path, tmp_path), path, "no image 'xxx")
    path.rename(tmp_path / "picture.xml")
    assert len(VocDetection(tmp_path, tmp_path)) == 1


LAUGHS = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
DOCTYPE = f'<!DOCTYPE annotation [<!ENTITY e0 "{"ha" * 5000}">{LAUGHS}]>'

IN_LITTLE_MEMORY = textwrap.dedent("""
    import resource, sys
    from lucid_models_detection.data import VocDetection
    import xml.etree.ElementTree
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limit = held + 32 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        VocDetection(sys.argv[1], sys.argv[1])
    except ValueError as error:
        print(error)
""")


@pytest.mark.parametrize("declared", [DOCTYPE, "<!DOCTYPE annotation SYSTEM 'file:///etc/passwd'>"])
def test_entity_expansion_is_rejected(tmp_path: Path, declared: str) -> None:
    """A file of 6 kB that expands to 10 kB times 10 ** 11."""
    text = VOC.replace("<annotation>", f"{declared}<annotation>").replace("dog", "&e11;")
    path = voc(tmp_path, text)
    done = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{path}: not a supported XML file: expected no document type" in done.stdout


def test_entity_expansion_takes_no_memory(tmp_path: Path, traced: None) -> None:
    """Below expat's own limit: 40,000 times 200 characters."""
    declared = f"<!DOCTYPE annotation [<!ENTITY e '{'x' * 200}'>]>"
    text = VOC.replace("<annotation>", f"{declared}<annotation>").replace("dog", "&e;" * 40_000)
    voc(tmp_path, text)
    _, refusal, memory, _ = measured(
        lambda: VocDetection(tmp_path, tmp_path), lambda _: 0, (ValueError,)
    )
    assert "document type" in str(refusal)
    assert memory < 2**20
