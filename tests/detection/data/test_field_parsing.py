"""Parsing of ids, flags, numbers, sizes and segmentations."""

from __future__ import annotations

from typing import Any

import pytest

from lucid_models_detection.data.field_parsing import parse_flag, parse_id, parse_number, parse_side
from lucid_models_detection.data.segmentation import segmentation_box


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1), (0, 0), (-3, -3), (1.0, 1), ("1", 1), (" 1 ", 1), ("1.0", 1), ("-3", -3),
        ("007", "007"), ("a-1", "a-1"), ("1e3", "1e3"), (10**30, 10**30),
        (1.5, None), (True, None), (None, None), ("", None), ("  ", None), ([1], None),
        (float("nan"), None), (float("inf"), None), ({}, None),
    ],
)  # fmt: skip
def test_parse_id(value: Any, expected: Any) -> None:
    found = parse_id(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, False), (1, True), (0.0, False), (1.0, True), (False, False), (True, True),
        (None, False), ("0", False), ("1", True), ("True", True), ("FALSE", False), ("yes", True),
        ("No", False), ("null", False), ("None", False), (" 1 ", True),
        (2, None), (-1, None), (0.5, None), ("2", None), ("", None), ("crowd", None), ([], None),
        ("y", None), ("1.0", None),
    ],
)  # fmt: skip
def test_parse_flag(value: Any, expected: bool | None) -> None:
    assert parse_flag(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (96, 96), (96.0, 96), ("96", 96), ("96.0", 96), (1, 1),
        (0, None), (-1, None), (None, None), (96.5, None), (True, None), ("wide", None),
        (2**31, None), (float("nan"), None), (10**400, None), ([96], None),
    ],
)  # fmt: skip
def test_parse_side(value: Any, expected: int | None) -> None:
    assert parse_side(value) == expected


def test_parse_number() -> None:
    assert [parse_number(v) for v in (1, 2.5, "12.5", "1e2")] == [1, 2.5, 12.5, 100]
    assert [parse_number(v) for v in (True, None, [], "x", 10**400)] == [None] * 5


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        ([[8, 8, 48, 8, 48, 40, 8, 40]], (8, 8, 48, 40)),
        ([[5, 6, 7, 6, 7, 9], [1, 20, 2, 20, 2, 30.5]], (1, 6, 7, 30.5)),
        ([5, 6, 7, 6, 7, 9], (5, 6, 7, 9)),
        ([[[5, 6], [7, 6], [7, 9]]], (5, 6, 7, 9)),
        ([["5", "6", "7", "6", "7", "9"]], (5, 6, 7, 9)),
        # Column-major: pixels (1, 1), (1, 2) and (2, 1) of 4 x 3.
        ({"size": [3, 4], "counts": [4, 2, 1 , 0, 0, 1, 4]}, (1, 1, 3, 3)),
        ({"size": [3, 4], "counts": [0, 12]}, (0, 0, 4, 3)),
        ({"size": [3, 4], "counts": [2, 2, 8]}, (0, 0, 2, 3)),  # runs over the end of a column
        ({"size": [3, 4], "counts": [12]}, None),
        ({"size": [3, 4], "counts": [0, 13]}, None),
        ({"size": [3, 4], "counts": [-1, 2]}, None),
        ({"size": [3], "counts": [0, 3]}, None),
        ({"counts": "04"}, None),
        ([], None), ([[]], None), ([[1, 2, 3, 4]], None), ([[1, 2, 3, 4, 5, 6, 7]], None),
        ([["x"] * 6], None), (None, None), ("text", None), (7, None), ([[[[[1]]]]], None),
    ],
)  # fmt: skip
def test_segmentation_box(segmentation: Any, box: Any) -> None:
    assert segmentation_box(segmentation) == box


@pytest.mark.parametrize("seed", range(20))
def test_compressed_rle_matches_pycocotools(seed: int) -> None:
    mask = pytest.importorskip("pycocotools.mask")
    np = pytest.importorskip("numpy")
    rng = np.random.default_rng(seed)
    pixels = np.zeros((60, 90), np.uint8, order="F")
    x, y = rng.integers(0, 60), rng.integers(0, 40)
    pixels[y : y + 15, x : x + 25] = rng.random((15, 25)) < 0.5
    pixels[:, 3] |= seed % 3 == 0
    encoded = mask.encode(pixels)
    x, y, w, h = mask.toBbox(encoded)
    text = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    assert segmentation_box(text) == (x, y, x + w, y + h)
