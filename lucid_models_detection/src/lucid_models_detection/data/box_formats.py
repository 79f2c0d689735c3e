"""Boxes of a whole data set: from the format of the file to clipped xyxy, all at once."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from lucid.data.report import DataReport
from lucid_models_detection.data.sources import SourceOf

__all__ = ["BOX_FORMATS", "BoxFormat", "check_box_format", "doubtful_format", "to_xyxy", "usable"]

Array: TypeAlias = NDArray[np.float64]

#: How the four numbers of a box are to be read; normalized ones are fractions of the image.
BoxFormat: TypeAlias = Literal[
    "xywh", "xyxy", "cxcywh", "normalized-xywh", "normalized-xyxy", "normalized-cxcywh"
]
BOX_FORMATS: tuple[BoxFormat, ...] = get_args(BoxFormat)

#: Pixels that a side has at least: less is a slip of the hand, and could round to nothing in
#: float32 when the image is flipped or cropped.
LEAST_SIDE = 0.01
#: Fraction of the image's side by which a box must reach over the border to count as far beyond.
_FAR = 0.1
#: Fewer far boxes than one half are enough when nearly all boxes fit another format, and boxes
#: that reach over the border at all when every one does.
_SOME, _AT_LEAST = 0.1, 3
_FEW, _AT_LEAST_FEW = 0.01, 5
#: Tolerance for fractions that were rounded.
_ROUNDED = 0.01

_REASONS = (
    "",
    "coordinates must be finite",
    "width and height must be greater than 0",
    f"width and height must be at least {LEAST_SIDE} pixels",
    "no part of the box is inside the image",
    "width and height must be greater than 0, and vanish in float32",
)


def check_box_format(box_format: str | None) -> None:
    """Refuse a value that is no box format; None stands for that of the file format."""
    if box_format is not None and box_format not in BOX_FORMATS:
        raise ValueError(
            f"box_format: expected one of {', '.join(BOX_FORMATS)}, got {box_format!r}"
        )


def to_xyxy(boxes: Array, sizes: Array, box_format: BoxFormat) -> Array:
    """Boxes in xyxy and in pixels.

    Parameters
    ----------
    boxes : (N, 4) float64
    sizes : (N, 2) float64
        Width and height of the image of each.
    box_format : str
        One of :data:`BOX_FORMATS`.
    """
    with np.errstate(all="ignore"):  # NaN and infinity are found by usable()
        kind = box_format.removeprefix("normalized-")
        if kind != box_format:
            boxes = boxes * np.concatenate([sizes, sizes], axis=1)
        first, second = boxes[:, :2], boxes[:, 2:]
        if kind == "xywh":
            return np.concatenate([first, first + second], axis=1)
        if kind == "cxcywh":
            return np.concatenate([first - second / 2, first + second / 2], axis=1)
        return boxes


def usable(
    boxes: Array, sizes: Array, report: DataReport, where: SourceOf
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Clip boxes to their images; report those that cannot be an object's.

    Published annotations reach over the border by parts of a pixel, so boxes are clipped; one of
    which nothing is left is an error.

    Parameters
    ----------
    boxes : (N, 4) float64
        xyxy in pixels.
    sizes : (N, 2) float64
        Width and height of the image of each.
    report : DataReport
        Gets the findings ``bad-bbox``, ``outside``, ``clipped`` and ``tiny``.
    where : callable
        What to call a box in a message, by its row.

    Returns
    -------
    clipped : (N, 4) float32
    kept : (N,) bool
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
                sides < LEAST_SIDE,
                left < LEAST_SIDE,
                vanished,
            ],
            [1, 2, 3, 4, 5],
            0,
        )
        cut = np.abs(boxes - inside).max(axis=1, initial=0) >= LEAST_SIDE
    kept = reason == 0
    for row in np.flatnonzero(~kept).tolist():
        why = _REASONS[reason[row]]
        if reason[row] == 4:
            why += " of {:.0f} x {:.0f} pixels".format(*sizes[row])
        kind = "outside" if reason[row] == 4 else "bad-bbox"
        source = where(row)
        report.add(
            kind,
            f"{source}: {why}",
            image=source.image,
            annotation=source.annotation,
            leave_out="annotations",
        )
    _count(report, "clipped", cut & kept, where, "reaches over the border and is clipped")
    _count(report, "tiny", (sides < 1) & kept, where, "narrower or lower than one pixel")
    return clipped, kept


def _count(
    report: DataReport,
    kind: str,
    rows: NDArray[np.bool_],
    where: SourceOf,
    what: str,
) -> None:
    found = np.flatnonzero(rows)
    if len(found):
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        first = where(int(found[0]))
        report.count(
            kind,
            len(found),
            f"{first}: {what}{more}",
            image=first.image,
            annotation=first.annotation,
        )


def doubtful_format(
    boxes: Array, sizes: Array, box_format: BoxFormat, where: SourceOf
) -> str | None:
    """Say why the boxes of a file may be in another format than expected, or None.

    Parameters
    ----------
    boxes : (N, 4) float64
        As in the file; only finite ones count.
    sizes : (N, 2) float64
        Width and height of the image of each.
    box_format : {"xywh", "xyxy"}
        Format of a file that follows the rules.
    where : callable
        What to call a box in a message, by its row.
    """
    xyxy = to_xyxy(boxes, sizes, box_format)
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(xyxy).all(axis=1)
    rows = np.flatnonzero(finite)
    boxes, sizes, xyxy = boxes[finite], sizes[finite], xyxy[finite]

    def doubt(found: NDArray[np.bool_], what: str, likely: list[BoxFormat]) -> str:
        first = where(int(rows[found.argmax()]))
        remedy = _remedy(likely, box_format)
        return f"{found.sum()} of {len(found)} boxes {what}, such as {first}. {remedy}"

    fractions = ((boxes >= -_ROUNDED) & (boxes <= 1 + _ROUNDED)).all(axis=1)
    # Not the boxes of one pixel in the image's corner, nor those without an area.
    fractions &= (sizes.max(axis=1) > 2) & (boxes[:, 2:] > 0).all(axis=1)
    if _most(fractions):
        likely = _fitting(boxes[fractions], sizes[fractions], normalized=True)
        what = "lie within 0..1, as fractions of the image and not as pixels"
        return doubt(fractions, what, likely)
    beyond = np.maximum(-xyxy[:, :2], xyxy[:, 2:] - sizes)
    far: NDArray[np.bool_] = np.any(beyond > np.maximum(_FAR * sizes, 1), axis=1)
    others = [name for name in _fitting(boxes, sizes) if name != box_format]
    fits = f", and nearly all would fit as {' or '.join(others)}" if others else ""
    some = max(min(_AT_LEAST, len(far) / 2), _SOME * len(far))
    if _most(far) or (others and far.sum() >= some):
        what = f"reach far beyond the border of their image when read as {box_format}{fits}"
        return doubt(far, what, others)
    over: NDArray[np.bool_] = np.any(beyond > _room(sizes), axis=1)
    exact = [name for name in _fitting(boxes, sizes, share=1.0) if name != box_format]
    if exact and over.sum() >= max(_AT_LEAST_FEW, _FEW * len(over)):
        what = (
            f"reach over the border of their image when read as {box_format}, and all would fit "
            f"as {' or '.join(exact)}"
        )
        return doubt(over, what, exact)
    sides = (xyxy[:, 2:] - xyxy[:, :2]).min(axis=1)
    if _most(sides <= 0) and others:
        return doubt(sides <= 0, f"have no area when read as {box_format}{fits}", others)
    if _most((sides > 0) & (sides < 1)):
        return doubt((sides > 0) & (sides < 1), "are narrower or lower than one pixel", [])
    return None


def _most(rows: NDArray[np.bool_]) -> bool:
    return 2 * int(rows.sum()) > len(rows)


def _room(sizes: Array) -> Array:
    """Pixels by which published boxes reach over the border of their image."""
    return 1 + _ROUNDED * sizes


def _fitting(
    boxes: Array, sizes: Array, normalized: bool = False, share: float = 0.99
) -> list[BoxFormat]:
    """The formats as which a share of the boxes have an area and lie inside of their images."""
    found: list[BoxFormat] = []
    if not len(boxes):
        return found
    for name in BOX_FORMATS:
        if name.startswith("normalized-") is not normalized:
            continue
        xyxy = to_xyxy(boxes, sizes, name)
        room = _room(sizes)
        inside = (xyxy[:, :2] >= -room) & (xyxy[:, 2:] <= sizes + room)
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
