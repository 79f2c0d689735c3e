"""Bounding boxes of COCO segmentations: polygons and run-length encoded masks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from lucid_models_detection.data.values import as_number, as_side

__all__ = ["is_placeholder", "mask_size", "outline_box"]

Box = tuple[float, float, float, float]


def outline_box(segmentation: Any) -> Box | None:
    """Smallest xyxy box around a segmentation, or None where it is none.

    Parameters
    ----------
    segmentation : object
        As JSON has it: a list of polygons ``[x1, y1, x2, y2, ...]``, one such polygon, lists of
        points ``[x, y]``, or a mask ``{"size": [height, width], "counts": ...}`` with counts as
        numbers or as COCO's compressed text.
    """
    if isinstance(segmentation, dict):
        return _mask_box(segmentation)
    numbers = _flat(segmentation, depth=3) if isinstance(segmentation, list) else None
    if numbers is None or len(numbers) < 6 or len(numbers) % 2:
        return None
    xs, ys = numbers[0::2], numbers[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def is_placeholder(numbers: Any) -> bool:
    """Whether a box only fills its field, as zeros, -1, NaN or nulls do.

    Parameters
    ----------
    numbers : object
        ``[x, y, width, height]`` or ``[xmin, ymin, xmax, ymax]``: without a positive number among
        the last two, they are a box in no format.
    """
    if not isinstance(numbers, list) or len(numbers) != 4:
        return False
    if type(numbers[3]) is float and numbers[3] > 0:  # nearly every box
        return False
    ends = [as_number(value) for value in numbers[2:]]
    if None in ends:
        return all(value is None or not str(value).strip() for value in numbers)
    return not any(end > 0 for end in ends if end is not None)


def mask_size(segmentation: Any) -> tuple[int, int] | None:
    """Width and height of a run-length encoded mask; None for any other segmentation."""
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        return None
    height, width = as_side(size[0]), as_side(size[1])
    return None if width is None or height is None else (width, height)


def _flat(values: Sequence[Any], depth: int) -> list[float] | None:
    """All numbers of nested lists, if every list holds an even number of them."""
    numbers: list[float] = []
    for value in values:
        if isinstance(value, list):
            inner = _flat(value, depth - 1) if depth else None
            if inner is None or len(inner) % 2:
                return None
            numbers += inner
        else:
            number = as_number(value)
            if number is None or not math.isfinite(number):
                return None
            numbers.append(number)
    return numbers


def _mask_box(mask: dict[str, Any]) -> Box | None:
    size, counts = mask_size(mask), mask.get("counts")
    runs = list(_decoded(counts)) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or size is None:
        return None
    width, height = size
    runs = [int(run) if type(run) is float and run.is_integer() else run for run in runs]
    if not all(type(run) is int and run >= 0 for run in runs):
        return None
    # Compressed text covers the whole mask; numbers may leave out the run after the object.
    covered = sum(runs)
    if covered > height * width or (isinstance(counts, str) and covered < height * width):
        return None
    # Runs follow the columns, the first of them outside of the mask.
    left = top = right = bottom = position = -1
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


def _decoded(text: str) -> Iterator[int]:
    """Runs of compressed counts: base-32 digits from "0" on, lowest first.

    Bit 5 of a character says that more follow, bit 4 of the last is the sign; from the fourth run
    on, what is written is the difference to the run before the last.
    """
    before = [0, 0]
    value = shift = number = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            yield -1  # no run
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
