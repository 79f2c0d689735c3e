"""Data reports as people read them."""

from __future__ import annotations

from lucid.data.report import DataReport
from lucid.data.report_text import brief_lines, table_lines


def report() -> DataReport:
    found = DataReport("train.json")
    found.totals.update(images=1500, annotations=40)
    found.classes = {f"class {i}": i for i in range(12)} | {"x" * 100: 3}
    found.columns = {"crowd": {"class 1": 1}}
    found.set_sizes([(10, 10), (40, 30), (20, 30), (40, 40)])
    for number in range(12):
        found.add("bad-bbox", f"annotation {number}: no area", leave_out="annotations")
    found.add("missing-image", "/a/" + "b" * 90 + ".png: no such file", leave_out="images")
    found.count("clipped", 7, "seven")
    return found


def test_table_fits_a_terminal() -> None:
    lines = table_lines(report())
    assert lines[0] == "train.json: 1,500 images, 40 annotations, 13 classes"
    assert f"{'CLASS':40}  OBJECTS  CROWD" in lines
    assert f"{'class 1':40}        1      1" in lines
    assert f"{'x' * 37}...        3      0" in lines
    assert f"{'(sum)':40}       69      1" in lines
    assert "Image sizes: 10 x 10 to 40 x 40 pixels, median 20 x 30" in lines
    assert "  12  invalid boxes" in lines
    assert sum("no area" in line for line in lines) == 10
    assert "        ... and 2 more" in lines
    assert [line for line in lines if len(line) > 80] == [f"        /a/{'b' * 90}.png:"]
    assert "--skip-invalid would skip 1 of 1,500 images and 12 of 40" in " ".join(lines)


def test_brief_report() -> None:
    assert brief_lines(report()) == [
        "data        train.json: 1,500 images, 40 annotations, 13 classes",
        "classes     class 0 0, class 1 1, class 2 2, class 3 3, class 4 4, class 5 5,",
        "            class 6 6, class 7 7, class 8 8, class 9 9, and 3 more",
        "image sizes 10 x 10 to 40 x 40 pixels, median 20 x 30",
        "left out    1 of 1,500 images and 12 of 40 annotations (missing images: 1;",
        "            invalid boxes: 12)",
        "notes       boxes clipped at the border: 7",
    ]
    plain = DataReport("d")
    plain.totals["images"] = 1
    plain.classes = {"a": 1}
    plain.set_sizes([(5, 4), (5, 4)])
    assert brief_lines(plain) == [
        "data        d: 1 image, 1 class",
        "classes     a 1",
        "image sizes 5 x 4 pixels",
    ]
