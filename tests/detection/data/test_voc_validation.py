"""Validation of VOC files: image lookup, counted findings, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lucid_models_detection.data import VocDetection

BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
SIZE = "<size><width>40</width><height>30</height></size>"


def thing(name: str = "dog", corners: tuple[Any, ...] = (2, 3, 20, 25), more: str = "") -> str:
    return f"<object><name>{name}</name>{more}{BOX.format(*corners)}</object>"


def annotate(
    root: Path, name: str, filename: str = "", objects: str = "", size: str = SIZE
) -> Path:
    path = root / "Annotations" / f"{name}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><filename>{filename}</filename>{size}{objects or thing()}</annotation>"
    )
    return path


def picture(root: Path, *names: str) -> None:
    """Write images of 40 x 30 pixels."""
    for name in names:
        path = root / "JPEGImages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(path)


def load(root: Path, **options: Any) -> VocDetection:
    options = {"class_names": ("cat", "dog"), **options}
    return VocDetection(root / "Annotations", root / "JPEGImages", **options)


def kinds(data: VocDetection) -> dict[str, int]:
    return {kind: number for kind, _, number in data.report.rows()}


@pytest.mark.parametrize(
    ("xml", "filename", "images", "found"),
    [
        ("a", "a.png", ["a.png"], "a.png"),
        ("a", "", ["a.JPG"], "a.JPG"),
        ("a", "a.jpg", ["a.JPG"], "a.JPG"),
        ("a", "a.jpg", ["a.png"], "a.png"),
        ("a", "a", ["a.webp"], "a.webp"),
        ("a.b", "", ["a.b.png", "a.png"], "a.b.png"),
        ("a", "sub/a.png", ["sub/a.png", "a.png"], "sub/a.png"),
        ("a", r"sub\a.png", ["sub/a.png", "a.png"], "sub/a.png"),
        ("a", "sub/a.jpg", ["sub/a.png", "a.png"], "sub/a.png"),
        ("a", "JPEGImages/a.png", ["a.png"], "a.png"),
        ("a", r"C:\photos\b.png", ["b.png", "a.png"], "b.png"),
        ("a", r"C:\photos\b.png", ["a.png"], "a.png"),
        ("a", "b.png", ["a.png"], "a.png"),
        ("sub/a", "a.png", ["sub/a.png"], "sub/a.png"),
        ("sub/a", "a.png", ["a.png"], "a.png"),
        ("sub/a", "", ["sub/a.jpeg"], "sub/a.jpeg"),
        ("sub/a", "", ["a.jpeg"], "a.jpeg"),
        ("a b", "a%20b.png", ["a b.png"], "a b.png"),
    ],
)
def test_image_lookup(
    tmp_path: Path, xml: str, filename: str, images: list[str], found: str
) -> None:
    annotate(tmp_path, xml, filename)
    picture(tmp_path, *images)
    data = load(tmp_path)
    assert [entry.name for entry in data.entries] == [found]
    assert data[0][1]["image_id"] == xml
    data.check_images()


@pytest.mark.parametrize(
    ("xml", "filename", "images", "kind"),
    [
        ("a", "sub/a.png", ["a.png"], "missing-image"),  # not another image of that name
        ("a", r"sub\a.png", ["a.png", "other/a.png"], "missing-image"),
        ("a", "b.png", ["c.png"], "missing-image"),
        ("a", "", ["b.png"], "missing-image"),
        ("a", "../a.png", ["a.png"], "bad-name"),
        ("a", "", ["a.png", "a.jpg"], "ambiguous-image"),
        ("a", "a.tif", ["a.png", "a.jpg"], "ambiguous-image"),
        ("sub/a", "a.png", ["a.png", "sub/a.png"], "ambiguous-image"),
        ("a", "/data/sub/a.png", ["a.png", "sub/a.png"], "ambiguous-image"),
    ],
)
def test_missing_or_ambiguous_image_is_rejected(
    tmp_path: Path, xml: str, filename: str, images: list[str], kind: str
) -> None:
    path = annotate(tmp_path, xml, filename)
    picture(tmp_path, *images, "good1.png", "good2.png")
    annotate(tmp_path, "good1")
    annotate(tmp_path, "good2")
    with pytest.raises(ValueError, match="1 problem") as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)
    data = load(tmp_path, on_invalid="skip")
    assert data.report.counts[kind] == 1
    assert [entry.name for entry in data.entries] == ["good1.png", "good2.png"]


def test_mirrored_folders(tmp_path: Path) -> None:
    for name in ("a", "train/a", "val/a"):
        annotate(tmp_path, name, "a.png")
        picture(tmp_path, f"{name}.png")
    data = load(tmp_path)
    assert [entry.name for entry in data.entries] == ["a.png", "train/a.png", "val/a.png"]
    assert [data.target(i)["image_id"] for i in range(3)] == ["a", "train/a", "val/a"]


def test_two_annotations_of_one_image_are_rejected(tmp_path: Path) -> None:
    annotate(tmp_path, "a", "a.png")
    annotate(tmp_path, "b", "a.png")
    picture(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"b\.xml: .*a\.xml annotates the same image a\.png"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("flag", "ignored"),
    [("0", 0), ("1", 1), ("True", 1), ("no", 0), ("YES", 1), ("", 0), (" 1 ", 1), ("null", 0)],
)
def test_difficult_flag_spellings(tmp_path: Path, flag: str, ignored: int) -> None:
    annotate(tmp_path, "a", objects=thing(more=f"<difficult>{flag}</difficult>"))
    picture(tmp_path, "a.png")
    data = load(tmp_path)
    assert len(data.target(0)["ignored_boxes"]) == ignored
    assert data.report.counts["crowd"] == ignored


def test_invalid_flags(tmp_path: Path) -> None:
    more = "<difficult>maybe</difficult>"
    annotate(tmp_path, "a", objects=thing(more=more) + thing() + thing("cat"))
    picture(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"a\.xml: object 0: difficult: expected 0 or 1, got"):
        load(tmp_path)
    data = load(tmp_path, on_invalid="skip")
    assert (data.skipped, len(data.target(0)["boxes"])) == (1, 2)
    annotate(tmp_path, "a", objects=thing(more="<truncated>0.3</truncated>"))
    assert kinds(load(tmp_path))["unused-flag"] == 1


@pytest.mark.parametrize(
    "size",
    ["", "<size/>", "<size><width>0</width><height>0</height></size>",
     "<size><width>-1</width><height>30</height></size>",
     "<size><width>wide</width><height>30</height></size>"],
)  # fmt: skip
def test_missing_size_is_read_from_the_image(tmp_path: Path, size: str) -> None:
    annotate(tmp_path, "a", size=size)
    picture(tmp_path, "a.png")
    data = load(tmp_path)
    assert (data.entries[0].width, data.entries[0].height) == (40, 30)
    assert kinds(data)["derived-size"] == 1
    (tmp_path / "JPEGImages" / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"a\.xml: expected numbers in <size>, .*not an image"):
        load(tmp_path)


@pytest.mark.parametrize(
    "points",
    ["<x1>5</x1><y1>6</y1><x2>17</x2><y2>6</y2><x3>17</x3><y3>19.5</y3>",
     "<pt><x>5</x><y>6</y></pt><pt><x>17</x><y>6</y></pt><pt><x>17</x><y>19.5</y></pt>"],
)  # fmt: skip
@pytest.mark.parametrize("box", ["", "<bndbox/>", BOX.format(0, 0, 0, 0), BOX.format(*[-1] * 4)])
def test_missing_box_is_derived_from_polygon(tmp_path: Path, points: str, box: str) -> None:
    objects = f"<object><name>dog</name>{box}<polygon>{points}</polygon></object>"
    annotate(tmp_path, "a", objects=objects)
    picture(tmp_path, "a.png")
    data = load(tmp_path)
    assert data.target(0)["boxes"].tolist() == [[5, 6, 17, 19.5]]
    assert kinds(data)["derived-bbox"] == 1
    annotate(tmp_path, "a", objects="<object><name>dog</name></object>" + thing() + thing("cat"))
    with pytest.raises(ValueError, match=r"object 0: expected <bndbox>, or a <polygon>"):
        load(tmp_path)


def test_unknown_classes(tmp_path: Path) -> None:
    annotate(tmp_path, "a", objects=thing("Dog") + thing("dog") + thing("cat"))
    picture(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"class 'Dog' is not among .*'dog' differs in case"):
        load(tmp_path)
    assert load(tmp_path, on_invalid="skip").target(0)["labels"].tolist() == [2, 1]
    data = load(tmp_path, class_names=None)
    assert data.class_names == ("background", "Dog", "cat", "dog")
    assert kinds(data)["similar-names"] == 1


@pytest.mark.parametrize("name", ["background", "Background", "__background__"])
def test_class_named_background_is_rejected(tmp_path: Path, name: str) -> None:
    annotate(tmp_path, "a", objects=thing(name))
    picture(tmp_path, "a.png")
    with pytest.raises(ValueError, match="label 0 is the background"):
        load(tmp_path, class_names=None)
    with pytest.raises(ValueError, match="label 0 is the background"):
        load(tmp_path, class_names=[name])


def test_report_counts_findings(tmp_path: Path) -> None:
    objects = thing() + thing() + thing("cat", (5, 5, 60, 20)) + thing("cat", (5, 5, 5.2, 20))
    annotate(tmp_path, "a", objects=objects + thing("cat", (50, 5, 60, 20)))
    annotate(tmp_path, "b").write_text(f"<annotation>{SIZE}</annotation>")
    picture(tmp_path, "a.png", "b.png")
    data = load(tmp_path, on_invalid="skip", one_based=False, class_names=("cat", "dog", "cow"))
    assert kinds(data) == {
        "outside": 1,
        "clipped": 1,
        "tiny": 1,
        "duplicate": 1,
        "unused-category": 1,
        "no-objects": 1,
    }
    assert data.report.classes == {"cat": 2, "dog": 2, "cow": 0}
    assert data.report.totals == {"images": 2, "annotations": 5}


def test_zero_based_corners_are_reported(tmp_path: Path) -> None:
    annotate(tmp_path, "a", objects=thing(corners=(0, 3, 20, 25)) + thing("cat"))
    picture(tmp_path, "a.png")
    assert kinds(load(tmp_path))["zero-based"] == 1
    data = load(tmp_path, one_based=False)
    assert data.target(0)["boxes"][0].tolist() == [0, 3, 20, 25]
    assert "zero-based" not in kinds(data)


def test_damaged_files_are_left_out(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        annotate(tmp_path, name)
        picture(tmp_path, f"{name}.png")
    (tmp_path / "Annotations" / "b.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match=r"b\.xml: not a supported XML file"):
        load(tmp_path)
    data = load(tmp_path, on_invalid="skip")
    assert [entry.name for entry in data.entries] == ["a.png", "c.png"]
    assert data.report.left_out["images"] == 1


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8", ""), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("utf-16", "utf-8"),
     ("latin-1", "ISO-8859-1"), ("gbk", "GBK")],
)  # fmt: skip
def test_encodings(tmp_path: Path, encoding: str, declared: str) -> None:
    name = "größe" if encoding != "gbk" else "狗"
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else "\n"
    path = annotate(tmp_path, "a")
    path.write_bytes(f"{head}<annotation>{SIZE}{thing(name)}</annotation>".encode(encoding))
    picture(tmp_path, "a.png")
    assert load(tmp_path, class_names=None).class_names == ("background", name)


def test_undeclared_encoding_is_rejected(tmp_path: Path) -> None:
    path = annotate(tmp_path, "a")
    path.write_bytes(f"<annotation>{SIZE}{thing('größe')}</annotation>".encode("latin-1"))
    picture(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"a\.xml: .*not UTF-8: save it as UTF-8, or declare"):
        load(tmp_path)


# --- image sets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nwith space\n", ["a", "with space"]),
        ("with space 1\na -1\n", ["with space", "a"]),
        ("a  1\r\nimg 0\r\n", ["a", "img 0"]),  # "img 0" is a file
        ("\ufeffa\n\n  with space  \n", ["a", "with space"]),
        ("a.png\nwith space.xml\n", ["a", "with space"]),
        ("sub/b\na\n", ["sub/b", "a"]),
    ],
)
def test_image_set_names(tmp_path: Path, text: str, expected: list[str]) -> None:
    for name in ("a", "with space", "img 0", "sub/b"):
        annotate(tmp_path, name)
        picture(tmp_path, f"{name}.png")
    (tmp_path / "set.txt").write_text(text, encoding="utf-8")
    data = load(tmp_path, image_set=tmp_path / "set.txt")
    assert [data.target(i)["image_id"] for i in range(len(data))] == expected


def test_invalid_image_sets_are_rejected(tmp_path: Path) -> None:
    for name in ("a", "b", "img", "img 1"):
        annotate(tmp_path, name)
        picture(tmp_path, f"{name}.png")
    path = tmp_path / "set.txt"
    path.write_text("\n \n")
    with pytest.raises(ValueError, match=r"set\.txt: .*empty file"):
        load(tmp_path, image_set=path)
    path.write_text("img 1\na 1\n")
    with pytest.raises(ValueError, match=r"line 'img 1' fits img\.xml and img 1\.xml"):
        load(tmp_path, image_set=path)
    path.write_text("a\nb\nzz\n")
    with pytest.raises(ValueError, match=r"'zz': no annotation zz\.xml"):
        load(tmp_path, image_set=path)
    data = load(tmp_path, image_set=path, on_invalid="skip")
    assert (len(data), data.report.left_out["images"]) == (2, 1)


def test_folder_without_annotations_is_rejected(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(ValueError, match=r"Annotations: expected VOC annotations \(\*\.xml\)"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["", " "])
def test_object_without_class_is_rejected(tmp_path: Path, name: str) -> None:
    annotate(tmp_path, "a", objects=thing(name) + thing())
    picture(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"object 0: expected a class in <name>"):
        load(tmp_path, class_names=None)
    data = load(tmp_path, class_names=None, on_invalid="skip")
    assert data.class_names == ("background", "dog")
    assert data.skipped == 1


def test_hidden_files_are_skipped(tmp_path: Path) -> None:
    annotate(tmp_path, "a")
    picture(tmp_path, "a.png")
    for name in ("._a.xml", ".cache/a.xml", "__MACOSX/a.xml"):
        path = tmp_path / "Annotations" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x00\x05\x16\x07")
    assert len(load(tmp_path)) == 1


def test_repeated_name_in_image_set_is_read_once(tmp_path: Path) -> None:
    annotate(tmp_path, "a")
    picture(tmp_path, "a.png")
    path = tmp_path / "set.txt"
    path.write_text("a\na.png\n")
    data = load(tmp_path, image_set=path)
    assert len(data) == 1
    assert kinds(data)["repeated-image"] == 1


@pytest.mark.parametrize(
    ("xml", "kind"),
    [
        ("<object><name>dog</name><name>cat</name>{box}</object>", "unknown-category"),
        ("<object><name>dog</name>{box}{box}</object>", "bad-bbox"),
        (
            "<object><name>dog</name><polygon><x1>5</x1><y1>6</y1><x2>nan</x2><y2>6</y2><x3>9</x3>"
            "<y3>9</y3></polygon></object>",
            "no-bbox",
        ),
    ],
)
def test_objects_with_repeated_elements_are_rejected(tmp_path: Path, xml: str, kind: str) -> None:
    annotate(tmp_path, "a", objects=xml.format(box=BOX.format(2, 3, 20, 25)) + thing())
    picture(tmp_path, "a.png")
    with pytest.raises(ValueError, match="object 0: expected"):
        load(tmp_path)
    assert kinds(load(tmp_path, on_invalid="skip"))[kind] == 1


def test_nested_objects_and_namespaces(tmp_path: Path) -> None:
    annotate(tmp_path, "a", objects=f"<objects>{thing()}{thing('cat', (5, 5, 9, 9))}</objects>")
    path = annotate(tmp_path, "b")
    path.write_text(path.read_text().replace("<annotation>", '<annotation xmlns="http://a.b/c">'))
    picture(tmp_path, "a.png", "b.png")
    data = load(tmp_path)
    assert data.target(0)["labels"].tolist() == [2, 1]
    assert data.target(1)["boxes"].tolist() == [[1, 2, 20, 25]]


def test_image_set_finds_uppercase_suffix(tmp_path: Path) -> None:
    path = annotate(tmp_path, "a")
    path.rename(path.with_suffix(".XML"))
    picture(tmp_path, "a.png")
    (tmp_path / "set.txt").write_text("a\n")
    assert len(load(tmp_path, image_set=tmp_path / "set.txt")) == 1


def test_folders_and_symlink_loops_among_annotations(tmp_path: Path) -> None:
    for name in ("a", "b"):
        annotate(tmp_path, name)
    picture(tmp_path, "a.png", "b.png")
    (tmp_path / "Annotations" / "more.xml").mkdir()
    assert len(load(tmp_path)) == 2
    loop = tmp_path / "Annotations" / "loop.xml"
    loop.symlink_to(loop)
    with pytest.raises(ValueError, match=r"1 problem:\n .*loop\.xml: "):
        load(tmp_path)
    assert kinds(load(tmp_path, on_invalid="skip"))["bad-file"] == 1
