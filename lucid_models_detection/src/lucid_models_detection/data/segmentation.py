"""Bounding boxes of COCO segmentations: polygons and run-length encoded (RLE) masks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from lucid_models_detection.data.field_parsing import parse_number, parse_side

__all__ = ["is_placeholder_box", "rle_size", "segmentation_box"]

Box = tuple[float, float, float, float]


def segmentation_box(segmentation: Any) -> Box | None:
    """Return the xyxy bounding box of a segmentation, or None if it is not valid.

    Accepts a list of polygons ``[x1, y1, x2, y2, ...]``, one such polygon, lists of points
    ``[x, y]``, or an RLE mask ``{"size": [height, width], "counts": ...}``, compressed or not.
    """
    if isinstance(segmentation, dict):
        return _rle_box(segmentation)
    numbers = _flatten(segmentation, depth=3) if isinstance(segmentation, list) else None
    if numbers is None or len(numbers) < 6 or len(numbers) % 2:
        return None
    xs, ys = numbers[0::2], numbers[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def is_placeholder_box(numbers: Any) -> bool:
    """Return whether a box is a placeholder such as zeros, -1, NaN or nulls.

    True if neither of the last two numbers (width, height or xmax, ymax) is positive.
    """
    if not isinstance(numbers, list) or len(numbers) != 4:
        return False
    if type(numbers[3]) is float and numbers[3] > 0:  # fast path: nearly every box
        return False
    ends = [parse_number(value) for value in numbers[2:]]
    if None in ends:
        return all(value is None or not str(value).strip() for value in numbers)
    return not any(end > 0 for end in ends if end is not None)


def rle_size(segmentation: Any) -> tuple[int, int] | None:
    """Return (width, height) of an RLE mask, or None for any other segmentation."""
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        return None
    height, width = parse_side(size[0]), parse_side(size[1])
    return None if width is None or height is None else (width, height)


def _flatten(values: Sequence[Any], depth: int) -> list[float] | None:
    """Flatten nested lists; None unless every list has an even number of finite numbers."""
    numbers: list[float] = []
    for value in values:
        if isinstance(value, list):
            inner = _flatten(value, depth - 1) if depth else None
            if inner is None or len(inner) % 2:
                return None
            numbers += inner
        else:
            number = parse_number(value)
            if number is None or not math.isfinite(number):
                return None
            numbers.append(number)
    return numbers


def _rle_box(mask: dict[str, Any]) -> Box | None:
    size, counts = rle_size(mask), mask.get("counts")
    runs = list(_decode_rle(counts)) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or size is None:
        return None
    width, height = size
    runs = [int(run) if type(run) is float and run.is_integer() else run for run in runs]
    if not all(type(run) is int and run >= 0 for run in runs):
        return None
    # Compressed counts cover the whole mask; a list may omit the last background run.
    covered = sum(runs)
    if covered > height * width or (isinstance(counts, str) and covered < height * width):
        return None
    # Column-major runs, background first.
    left = top = right = bottom = -1
    position = 0
    for number, run in enumerate(runs):
        if number % 2 and run:
            first, last = position, position + run - 1
            column, end = first // height, last // height
            low, high = (first % height, last % height) if column == end else (0, height - 1)
            if left < 0:
                left, top = column, low
            top, right, bottom = min(top, low), end, max(bottom, high)
        position += run
    return None if left < 0 else (left, top, right + 1, bottom + 1)


def _decode_rle(text: str) -> Iterator[int]:
    """Decode compressed counts, as ``rleFrString`` of pycocotools does.

    Each character minus 48 holds five bits, lowest first; bit 5 means that more follow, bit 4
    of the last is the sign.  From the fourth run on, values are differences to the run two
    before.  An invalid character yields -1.
    """
    before = [0, 0]
    value = shift = number = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            yield -1
            return
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32 and shift < 70:
            continue
        if digit & 16:
            value -= 1 << shift
        if number > 2:
            value += before[0]
        yield value
        before = [before[1], value]
        value = shift = 0
        number += 1
