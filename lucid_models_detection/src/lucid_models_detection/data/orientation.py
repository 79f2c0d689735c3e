"""EXIF orientation: check that boxes match the upright image, which is what Lucid reads.

Annotation tools show an image upright or as stored, and do not record which.  If the sizes differ,
the annotated width and height decide; if not, as for a rotation by 180 degrees, nothing does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lucid.data.report import MAX_LISTED, DataReport
from lucid.vision import CheckedImage, ImageHeader

__all__ = ["BOX_ORIENTATIONS", "BoxOrientation", "check_header", "to_upright"]

#: ``"upright"``: boxes refer to the image as viewers show it; ``"stored"``: to the pixels as
#: stored, before the EXIF orientation is applied.
BoxOrientation: TypeAlias = Literal["upright", "stored"]
BOX_ORIENTATIONS: tuple[BoxOrientation, ...] = ("upright", "stored")

_NAMES = (
    "", "", "mirrored", "rotated by 180 degrees", "flipped vertically", "transposed",
    "rotated by 90 degrees", "transversed", "rotated by 270 degrees",
)  # fmt: skip
_REMEDY = (
    'pass box_orientation (on the command line --box-orientation) "stored" if the boxes were '
    'drawn on the stored pixels, "upright" if on the image as viewers show it'
)


def check_box_orientation(value: str | None) -> None:
    """Raise ValueError if a value is not a box orientation."""
    if value is not None and value not in BOX_ORIENTATIONS:
        raise ValueError(
            f"box_orientation: expected one of {', '.join(BOX_ORIENTATIONS)}, got {value!r}"
        )


def check_header(
    path: Path,
    size: tuple[int, int],
    checked: CheckedImage,
    report: DataReport,
    *,
    boxes: int,
    has_size: bool = True,
    box_orientation: BoxOrientation | None = None,
) -> ImageHeader | None:
    """Compare the header of an image with its annotations; None if the image is invalid.

    ``size`` is the annotated (width, height); ``has_size`` is False if it was read from the image.
    The orientation of an image without boxes does not matter.
    """
    found = checked.header
    if found is None:
        kind = "missing-image" if checked.missing else "unreadable-image"
        message = f"{path}: {checked.problem}"
        if checked.missing and report.counts[kind] < MAX_LISTED:
            message += _similar_name(path)
        report.add(kind, message, image=str(path), leave_out="images")
        return None
    stored = (found.width, found.height)
    expected = stored if box_orientation == "stored" else found.size
    reoriented = found.orientation > 1 and boxes > 0
    kind = ""
    if size != expected:
        swapped = size in (stored, found.size)
        kind = "orientation" if swapped and found.orientation > 4 else "size-mismatch"
        message = _mismatch(path, size, expected, found if kind == "orientation" else None)
    elif reoriented and box_orientation is None and (stored == found.size or not has_size):
        kind = "doubtful-orientation"
        objects = "box was" if boxes == 1 else f"{boxes} boxes were"
        why = (
            f"does not change the size of {size[0]} x {size[1]}"
            if has_size
            else "and no size given"
        )
        message = (
            f"{path}: EXIF orientation {found.orientation} ({_NAMES[found.orientation]}) {why}, so "
            f"it is unknown what its {objects} drawn on; {_REMEDY}"
        )
    if kind:
        report.add(kind, message, image=str(path), leave_out="images")
        return None
    return found


def _similar_name(path: Path) -> str:
    """Return a hint at a file whose name differs from a missing one in case or suffix only."""
    try:
        names = sorted(os.listdir(path.parent))
    except (OSError, ValueError):
        return ""
    found = [
        name
        for name in names
        if name != path.name and Path(name).stem.casefold() == path.stem.casefold()
    ]
    return f"; there is {found[0]}" if found else ""


def _mismatch(
    path: Path, size: tuple[int, int], expected: tuple[int, int], header: ImageHeader | None
) -> str:
    hint = ""
    if header is not None:
        drawn_on = "stored" if size == (header.width, header.height) else "upright"
        hint = (
            f" (EXIF orientation {header.orientation}, {_NAMES[header.orientation]}: the boxes "
            f"were drawn on the {drawn_on} image); {_REMEDY}"
        )
    return (
        f"{path}: the annotations say {size[0]} x {size[1]} pixels, the image has "
        f"{expected[0]} x {expected[1]}; its boxes would not fit{hint}"
    )


def to_upright(
    boxes: NDArray[np.float32], size: tuple[int, int], orientation: int
) -> NDArray[np.float32]:
    """Convert xyxy boxes (N, 4) of the stored image to boxes of the upright image.

    ``size`` is the stored (width, height), ``orientation`` the EXIF orientation, 1 to 8.
    """
    x1, y1, x2, y2 = boxes.T
    if orientation in (2, 3):  # flip left and right
        x1, x2 = size[0] - x2, size[0] - x1
    if orientation in (3, 4):  # flip upside down
        y1, y2 = size[1] - y2, size[1] - y1
    if orientation in (6, 7):
        y1, y2 = size[1] - y2, size[1] - y1
    if orientation in (7, 8):
        x1, x2 = size[0] - x2, size[0] - x1
    if orientation > 4:
        x1, y1, x2, y2 = y1, x1, y2, x2
    return np.stack([x1, y1, x2, y2], axis=1).astype(np.float32)
