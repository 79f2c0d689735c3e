"""EXIF orientation: whether boxes fit the upright image, which is what Lucid reads.

Annotation tools show an image upright or as it is stored, and do not write down which.  Where the
sizes differ, width and height of the annotations say it; where they do not, as for an image turned
by 180 degrees, nothing does.
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

#: ``"upright"``: boxes were drawn on images as viewers show them; ``"stored"``: on the pixels as
#: they are stored, before the EXIF orientation is applied.
BoxOrientation: TypeAlias = Literal["upright", "stored"]
BOX_ORIENTATIONS: tuple[BoxOrientation, ...] = ("upright", "stored")

_WHAT = (
    "", "", "mirrored", "turned by 180 degrees", "mirrored upside down", "transposed",
    "turned by 90 degrees", "transposed the other way", "turned by 270 degrees",
)  # fmt: skip
_REMEDY = (
    'pass box_orientation (on the command line --box-orientation) "stored" if the boxes were '
    'drawn on the stored pixels, "upright" if on the image as viewers show it'
)


def check_box_orientation(value: str | None) -> None:
    """Refuse a value that is no box orientation."""
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
    sized: bool = True,
    box_orientation: BoxOrientation | None = None,
) -> ImageHeader | None:
    """Compare an image with what its annotations say of it.

    Parameters
    ----------
    path : pathlib.Path
        The image.
    size : (int, int)
        Width and height of the annotations.
    checked : CheckedImage
        What the file itself says.
    report : DataReport
        Gets what is wrong.
    boxes : int
        Number of its objects: without any, its orientation does not matter.
    sized : bool, default True
        Whether the annotations say the size; False if it was read from the image.
    box_orientation : {"upright", "stored"} or None
        What the boxes were drawn on; None refuses what the size does not decide.

    Returns
    -------
    ImageHeader or None
        None if the image cannot be used.
    """
    found = checked.header
    if found is None:
        kind = "missing-image" if checked.missing else "unreadable-image"
        message = f"{path}: {checked.problem}"
        if checked.missing and report.counts[kind] < MAX_LISTED:
            message += _similar(path)
        report.add(kind, message, image=str(path), leave_out="images")
        return None
    stored = (found.width, found.height)
    expected = stored if box_orientation == "stored" else found.size
    turned = found.orientation > 1 and boxes > 0
    kind = ""
    if size != expected:
        swapped = size in (stored, found.size)
        kind = "orientation" if swapped and found.orientation > 4 else "size-mismatch"
        message = _mismatch(path, size, expected, found if kind == "orientation" else None)
    elif turned and box_orientation is None and (stored == found.size or not sized):
        kind = "doubtful-orientation"
        objects = "box was" if boxes == 1 else f"{boxes} boxes were"
        why = f"does not change the size of {size[0]} x {size[1]}" if sized else "and no size given"
        message = (
            f"{path}: EXIF orientation {found.orientation} ({_WHAT[found.orientation]}) {why}, so "
            f"it is unknown what its {objects} drawn on; {_REMEDY}"
        )
    if kind:
        report.add(kind, message, image=str(path), leave_out="images")
        return None
    return found


def _similar(path: Path) -> str:
    """A file beside a missing one whose name differs in case or suffix only, for a message."""
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
    path: Path, size: tuple[int, int], expected: tuple[int, int], turned: ImageHeader | None
) -> str:
    hint = ""
    if turned is not None:
        hint = (
            f" (EXIF orientation {turned.orientation}, {_WHAT[turned.orientation]}: the boxes were "
            f"drawn on the {'stored' if size == (turned.width, turned.height) else 'upright'} "
            f"image); {_REMEDY}"
        )
    return (
        f"{path}: the annotations say {size[0]} x {size[1]} pixels, the image has "
        f"{expected[0]} x {expected[1]}; its boxes would not fit{hint}"
    )


def to_upright(
    boxes: NDArray[np.float32], size: tuple[int, int], orientation: int
) -> NDArray[np.float32]:
    """Boxes of the upright image from those of the stored one.

    Parameters
    ----------
    boxes : (N, 4) float32
        xyxy in the stored image.
    size : (int, int)
        Stored width and height.
    orientation : int
        Of EXIF, 1 to 8.
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
