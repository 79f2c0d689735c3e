"""Class names: reading them from text files and checking them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lucid.text import read_text

__all__ = ["check_repeated_names", "read_class_names"]

#: Name of unused classes in COCO and torchvision; it may occur more than once.
_UNUSED_CLASS = "N/A"
_SHOWN = 5


def read_class_names(path: str | os.PathLike[str], *, unique: bool = True) -> tuple[str, ...]:
    """Read a text file with one class name per line.

    Parameters
    ----------
    path : path-like
        File in an encoding that :func:`lucid.text.read_text` supports.  Empty lines and
        surrounding whitespace are ignored.
    unique : bool, default True
        Whether to reject repeated names.

    Returns
    -------
    tuple of str
        Class names in file order.

    Raises
    ------
    ValueError
        If ``unique`` is True and a name is repeated.
    """
    lines = (line.strip() for line in read_text(path).splitlines())
    names = tuple(line for line in lines if line)
    if unique:
        check_repeated_names(names, os.fspath(path))
    return names


def check_repeated_names(names: Sequence[str], where: str) -> None:
    """Raise ValueError if names are repeated, except ``"N/A"``, which marks unused classes.

    Parameters
    ----------
    names : sequence of str
        Class names by index.
    where : str
        Argument or file, for the error message.
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
