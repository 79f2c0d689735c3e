"""Names of classes in text files, and what names have to be."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lucid.text import read_text

__all__ = ["check_repeated_names", "read_class_names"]

#: What COCO and torchvision call a class that no image has; several may be called so.
_UNUSED_CLASS = "N/A"
_SHOWN = 5


def read_class_names(path: str | os.PathLike[str], *, unique: bool = True) -> tuple[str, ...]:
    """Read a text file with the name of a class on each line.

    Parameters
    ----------
    path : path-like
        In an encoding that :func:`lucid.text.read_text` reads.  Empty lines and space around
        names are left out.
    unique : bool, default True
        Whether to refuse names that occur twice.

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If ``unique`` and a name occurs twice; gives the names and the file.
    """
    lines = (line.strip() for line in read_text(path).splitlines())
    names = tuple(line for line in lines if line)
    if unique:
        check_repeated_names(names, os.fspath(path))
    return names


def check_repeated_names(names: Sequence[str], where: str) -> None:
    """Refuse names that occur more than once, except ``"N/A"``, which marks classes
    that a data set does not use.

    Parameters
    ----------
    names : sequence of str
        In the order of the classes.
    where : str
        The argument or file that they are from, for the error.

    Raises
    ------
    ValueError
        With the first five of them and the numbers of their classes.
    """
    numbers: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        if name != _UNUSED_CLASS:
            numbers.setdefault(name, []).append(number)
    repeated = [(name, found) for name, found in numbers.items() if len(found) > 1]
    if repeated:
        shown = "; ".join(
            f"{name!r} for classes {', '.join(map(str, found))}"
            for name, found in repeated[:_SHOWN]
        )
        more = f" and {len(repeated) - _SHOWN} more" if len(repeated) > _SHOWN else ""
        raise ValueError(
            f"{where}: expected a different name for each class, got {shown}{more}; "
            "rename all but one of them"
        )
