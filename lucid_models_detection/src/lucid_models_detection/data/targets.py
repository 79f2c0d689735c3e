"""Types of samples and targets, and errors about annotation files.

The package's docstring says what a target holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sample", "SampleTransform", "Target"]

Target: TypeAlias = dict[str, Any]
Sample: TypeAlias = tuple[NDArray[np.float32], Target]
#: Takes and returns image and target, so that boxes can follow the pixels.
SampleTransform: TypeAlias = Callable[[NDArray[np.float32], Target], Sample]
#: How many problems one error lists; a file written in another convention has them by thousands.
MAX_LISTED = 10


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
            " (sides swapped: the EXIF orientation turns this image, and the annotations are those "
            "of the stored pixels; remove the orientation from its EXIF data)"
        )
    raise ValueError(
        f"{path}: {annotations} says {width} x {height} pixels, the image has "
        f"{found[0]} x {found[1]}; its boxes would not fit{hint}"
    )


def raise_problems(where: str, problems: Sequence[str], hint: str = "") -> None:
    """Raise one ``ValueError`` that lists the problems found in one place; none, no error."""
    if not problems:
        return
    listed = "\n".join(f"  {problem}" for problem in problems[:MAX_LISTED])
    more = len(problems) - MAX_LISTED
    rest = f"\n  ... and {more} more" if more > 0 else ""
    noun = "problem" if len(problems) == 1 else "problems"
    raise ValueError(f"{where}: {len(problems)} {noun}:\n{listed}{rest}{hint}")
