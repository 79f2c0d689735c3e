"""Box formats: conversion to xyxy, clipping, and detection of a wrong format."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from lucid.data.report import DataReport
from lucid_models_detection.data.types import GetSource

__all__ = [
    "BOX_FORMATS",
    "MIN_BOX_SIDE",
    "BoxFormat",
    "check_box_format",
    "clip_boxes",
    "format_mismatch",
    "to_xyxy",
]

Array: TypeAlias = NDArray[np.float64]

#: Meaning of the four numbers of a box; normalized ones are fractions of the image size.
BoxFormat: TypeAlias = Literal[
    "xywh", "xyxy", "cxcywh", "normalized-xywh", "normalized-xyxy", "normalized-cxcywh"
]
BOX_FORMATS: tuple[BoxFormat, ...] = get_args(BoxFormat)

#: Minimum side of a box in pixels.  A smaller box is a mistake, and could round to nothing in
#: float32 when the image is flipped or cropped.
MIN_BOX_SIDE = 0.01
#: A box is far outside if it crosses the border by more than this fraction of the image side.
_FAR = 0.1
#: (fraction, minimum count) of far boxes that suffice if 99 % of the boxes fit another format.
_FAR_FRACTION, _MIN_FAR = 0.1, 3
#: (fraction, minimum count) of crossing boxes that suffice if all boxes fit another format.
_CROSSING_FRACTION, _MIN_CROSSING = 0.01, 5
#: Tolerance for rounded fractions.
_ROUNDING = 0.01

_REASONS = (
    "",
    "coordinates must be finite",
    "width and height must be greater than 0",
    f"width and height must be at least {MIN_BOX_SIDE} pixels",
    "no part of the box is inside the image",
    "width and height must be greater than 0, and vanish in float32",
)


def check_box_format(box_format: str | None) -> None:
    """Raise ValueError if a value is neither a box format nor None."""
    if box_format is not None and box_format not in BOX_FORMATS:
        raise ValueError(
            f"box_format: expected one of {', '.join(BOX_FORMATS)}, got {box_format!r}"
        )


def to_xyxy(boxes: Array, sizes: Array, box_format: BoxFormat) -> Array:
    """Convert boxes (N, 4) to xyxy in pixels, given (width, height) of the images (N, 2)."""
    with np.errstate(all="ignore"):  # clip_boxes() reports NaN and infinity
        kind = box_format.removeprefix("normalized-")
        if kind != box_format:
            boxes = boxes * np.concatenate([sizes, sizes], axis=1)
        first, second = boxes[:, :2], boxes[:, 2:]
        if kind == "xywh":
            return np.concatenate([first, first + second], axis=1)
        if kind == "cxcywh":
            return np.concatenate([first - second / 2, first + second / 2], axis=1)
        return boxes


def clip_boxes(
    boxes: Array, sizes: Array, report: DataReport, get_source: GetSource
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Clip xyxy boxes (N, 4) to their images; return them and whether each is valid.

    Boxes of published datasets cross the border by fractions of a pixel, so they are clipped; a
    box outside the image is an error.  Reports ``bad-bbox``, ``outside``, ``clipped`` and ``tiny``.
    """
    with np.errstate(all="ignore"):
        inside = boxes.copy()
        np.maximum(inside[:, :2], 0, out=inside[:, :2])
        np.minimum(inside[:, 2:], sizes, out=inside[:, 2:])
        clipped = inside.astype(np.float32)
        sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
        left = (inside[:, 2:] - inside[:, :2]).min(axis=1)
        vanished = ~(clipped[:, 2:] > clipped[:, :2]).all(axis=1)
        reason = np.select(
            [
                ~np.isfinite(boxes).all(axis=1),
                sides <= 0,
                sides < MIN_BOX_SIDE,
                left < MIN_BOX_SIDE,
                vanished,
            ],
            [1, 2, 3, 4, 5],
            0,
        )
        cut = np.abs(boxes - inside).max(axis=1, initial=0) >= MIN_BOX_SIDE
    valid = reason == 0
    for row in np.flatnonzero(~valid).tolist():
        why = _REASONS[reason[row]]
        if reason[row] == 4:
            why += " of {:.0f} x {:.0f} pixels".format(*sizes[row])
        kind = "outside" if reason[row] == 4 else "bad-bbox"
        source = get_source(row)
        report.add(kind, f"{source}: {why}", **source.keywords, leave_out="annotations")
    _count(report, "clipped", cut & valid, get_source, "crosses the border and is clipped")
    _count(report, "tiny", (sides < 1) & valid, get_source, "narrower or lower than one pixel")
    return clipped, valid


def _count(
    report: DataReport,
    kind: str,
    rows: NDArray[np.bool_],
    get_source: GetSource,
    message: str,
) -> None:
    found = np.flatnonzero(rows)
    if len(found):
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        first = get_source(int(found[0]))
        report.count(kind, len(found), f"{first}: {message}{more}", **first.keywords)


def format_mismatch(
    boxes: Array, sizes: Array, box_format: BoxFormat, get_source: GetSource
) -> str | None:
    """Return why boxes (N, 4) as in a file look like another format, or None.

    ``sizes`` (N, 2) has width and height of the image of each box.
    """
    xyxy = to_xyxy(boxes, sizes, box_format)
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(xyxy).all(axis=1)
    rows = np.flatnonzero(finite)
    boxes, sizes, xyxy = boxes[finite], sizes[finite], xyxy[finite]

    def message(found: NDArray[np.bool_], problem: str, likely: list[BoxFormat]) -> str:
        first = get_source(int(rows[found.argmax()]))
        remedy = _remedy(likely, box_format)
        return f"{found.sum()} of {len(found)} boxes {problem}, such as {first}. {remedy}"

    fractions = ((boxes >= -_ROUNDING) & (boxes <= 1 + _ROUNDING)).all(axis=1)
    # Exclude one-pixel boxes in the corner of the image, and boxes without area.
    fractions &= (sizes.max(axis=1) > 2) & (boxes[:, 2:] > 0).all(axis=1)
    if _majority(fractions):
        likely = _plausible_formats(boxes[fractions], sizes[fractions], normalized=True)
        problem = "lie within 0..1, as fractions of the image and not as pixels"
        return message(fractions, problem, likely)
    beyond = np.maximum(-xyxy[:, :2], xyxy[:, 2:] - sizes)
    far: NDArray[np.bool_] = np.any(beyond > np.maximum(_FAR * sizes, 1), axis=1)
    others = [name for name in _plausible_formats(boxes, sizes) if name != box_format]
    fits = f", and nearly all would fit as {' or '.join(others)}" if others else ""
    enough = max(min(_MIN_FAR, len(far) / 2), _FAR_FRACTION * len(far))
    if _majority(far) or (others and far.sum() >= enough):
        problem = f"reach far beyond the border of their image when read as {box_format}{fits}"
        return message(far, problem, others)
    crossing: NDArray[np.bool_] = np.any(beyond > _border_tolerance(sizes), axis=1)
    exact = [name for name in _plausible_formats(boxes, sizes, share=1.0) if name != box_format]
    if exact and crossing.sum() >= max(_MIN_CROSSING, _CROSSING_FRACTION * len(crossing)):
        problem = (
            f"cross the border of their image when read as {box_format}, and all would fit as "
            f"{' or '.join(exact)}"
        )
        return message(crossing, problem, exact)
    sides = (xyxy[:, 2:] - xyxy[:, :2]).min(axis=1)
    if _majority(sides <= 0) and others:
        return message(sides <= 0, f"have no area when read as {box_format}{fits}", others)
    if _majority((sides > 0) & (sides < 1)):
        return message((sides > 0) & (sides < 1), "are narrower or lower than one pixel", [])
    return None


def _majority(rows: NDArray[np.bool_]) -> bool:
    return 2 * int(rows.sum()) > len(rows)


def _border_tolerance(sizes: Array) -> Array:
    """Return the pixels by which boxes of published datasets cross the border."""
    return 1 + _ROUNDING * sizes


def _plausible_formats(
    boxes: Array, sizes: Array, normalized: bool = False, share: float = 0.99
) -> list[BoxFormat]:
    """Return the formats in which ``share`` of the boxes are valid and inside their images."""
    found: list[BoxFormat] = []
    if not len(boxes):
        return found
    for name in BOX_FORMATS:
        if name.startswith("normalized-") is not normalized:
            continue
        xyxy = to_xyxy(boxes, sizes, name)
        margin = _border_tolerance(sizes)
        inside = (xyxy[:, :2] >= -margin) & (xyxy[:, 2:] <= sizes + margin)
        inside &= xyxy[:, 2:] > xyxy[:, :2]
        if inside.all(axis=1).mean() >= share:
            found.append(name)
    return found


def _remedy(likely: list[BoxFormat], usual: BoxFormat) -> str:
    names = " or ".join(f'"{name}"' for name in likely) or "one of " + ", ".join(
        f'"{name}"' for name in BOX_FORMATS
    )
    return (
        f"Pass box_format (on the command line --box-format) {names} to convert them, or "
        f'"{usual}" to take them as they are'
    )
