"""What a target is made of, and the checks that every reader makes on its boxes.

The package's docstring says what a target holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["OnInvalid", "Sample", "SampleTransform", "Target"]

Target: TypeAlias = dict[str, Any]
Sample: TypeAlias = tuple[NDArray[np.float32], Target]
#: Takes and returns image and target, so that boxes can follow the pixels.
SampleTransform: TypeAlias = Callable[[NDArray[np.float32], Target], Sample]
#: What a reader does with a box that cannot be an object's.
OnInvalid: TypeAlias = Literal["raise", "skip"]

#: How many problems one error lists; a file written in another convention has them by thousands.
MAX_LISTED = 10

#: Pixels that a side has at least: less is a slip of the hand, and could round to nothing in
#: float32 when the image is mirrored or cropped.
LEAST_SIDE = 0.01


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object as a reader found it; ``box`` is xyxy and already inside the image."""

    box: tuple[float, float, float, float]
    label: int
    area: float
    ignored: bool = False


def box_inside(
    box: Sequence[float], width: int, height: int
) -> tuple[float, float, float, float] | str:
    """The part of an xyxy box that lies inside the image, or what is wrong with the box.

    Published annotations reach over the border by parts of a pixel, so a box is
    cut at the border; one of which nothing is left there is refused.  The result are
    numbers that the float32 of a target holds: far from the origin of a very large image
    a small box may have no area among these.
    """
    x1, y1, x2, y2 = box
    if not all(math.isfinite(v) for v in box):
        return "coordinates must be finite"
    if x2 <= x1 or y2 <= y1:
        return "width and height must be greater than 0"
    if min(x2 - x1, y2 - y1) < LEAST_SIDE:
        return f"width and height must be at least {LEAST_SIDE} pixels"
    inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if min(inside[2] - inside[0], inside[3] - inside[1]) < LEAST_SIDE:
        return f"no part of the box is inside the image of {width} x {height} pixels"
    left, top, right, bottom = (float(np.float32(v)) for v in inside)
    if right <= left or bottom <= top:
        return "width and height must be greater than 0, and vanish in float32"
    return left, top, right, bottom


def area_of(box: tuple[float, float, float, float]) -> float:
    """The area of an xyxy box, as float32 holds it."""
    left, top, right, bottom = box
    return float(np.float32((right - left) * (bottom - top)))


def read_annotated(
    path: Path, width: int, height: int, annotations: str | Path
) -> NDArray[np.float32]:
    """Read an image whose annotations say how large it is: (3, height, width) in [0, 1].

    Raises
    ------
    ValueError
        As :func:`check_size`.
    """
    from lucid_models_classification.transforms import read_image

    image = read_image(path)
    check_size(path, (image.shape[2], image.shape[1]), (width, height), annotations)
    return image


def check_size(
    path: str | Path, found: tuple[int, int], size: tuple[int, int], annotations: str | Path
) -> None:
    """Refuse an image of another size, (width, height), than its annotations say.

    Raises
    ------
    ValueError
        If boxes of the one would be beside the objects of the other.
    """
    width, height = size
    if found == size:
        return
    hint = ""
    if found == (height, width):
        hint = (
            " (sides swapped: EXIF data turns this picture, and whoever annotated it saw it "
            "unturned; take the orientation out of its EXIF data, and the boxes fit)"
        )
    raise ValueError(
        f"{path}: {annotations} says {width} x {height} pixels, the image has "
        f"{found[0]} x {found[1]}; its boxes would not fit{hint}"
    )


def make_target(annotations: Sequence[Annotation], image_id: int | str) -> Target:
    """Gather the objects of one image into the arrays of a target."""
    real = [a for a in annotations if not a.ignored]
    ignored = [a for a in annotations if a.ignored]
    return {
        "boxes": _boxes(real),
        "labels": np.array([a.label for a in real], dtype=np.int64),
        "area": np.array([a.area for a in real], dtype=np.float32),
        "ignored_boxes": _boxes(ignored),
        "ignored_labels": np.array([a.label for a in ignored], dtype=np.int64),
        "image_id": image_id,
    }


def _boxes(annotations: Sequence[Annotation]) -> NDArray[np.float32]:
    return np.array([a.box for a in annotations], dtype=np.float32).reshape(-1, 4)


def copy_target(target: Target) -> Target:
    """The target with arrays of its own, so that a transform may write into them."""
    return {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in target.items()}


def raise_problems(where: str, problems: Sequence[str], hint: str = "") -> None:
    """Raise one ``ValueError`` that lists the problems found in one place; none, no error."""
    if not problems:
        return
    listed = "\n".join(f"  {problem}" for problem in problems[:MAX_LISTED])
    more = len(problems) - MAX_LISTED
    rest = f"\n  ... and {more} more" if more > 0 else ""
    noun = "problem" if len(problems) == 1 else "problems"
    raise ValueError(f"{where}: {len(problems)} {noun}:\n{listed}{rest}{hint}")
