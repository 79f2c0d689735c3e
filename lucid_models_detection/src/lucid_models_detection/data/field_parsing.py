"""Parsing of single fields of annotation files: ids, numbers, flags and sizes.

Annotation tools write ``1``, ``1.0`` or ``"1"`` for the same value.  Each ``parse_*`` function
returns the parsed value, or None if the field is not valid.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from reprlib import Repr
from typing import Any, TypeAlias

__all__ = [
    "Id",
    "brief",
    "entry_name",
    "id_sort_key",
    "original_id",
    "parse_flag",
    "parse_id",
    "parse_number",
    "parse_side",
]

#: An id of a COCO file; the string ``"7"`` and the integer 7 are the same id.
Id: TypeAlias = int | str

#: Upper limit of width and height in pixels, so that areas stay finite.
MAX_SIDE = 2**31
_INTEGER = re.compile(r"(-?(?:0|[1-9][0-9]{0,30}))(?:\.0+)?")
_FLAGS = {
    **dict.fromkeys(("1", "true", "yes"), True),
    **dict.fromkeys(("0", "false", "no", "null", "none"), False),
}
_repr = Repr()
_repr.maxstring = _repr.maxlong = _repr.maxother = 100


def brief(value: object) -> str:
    """Return the ``repr`` of a value, shortened to about a hundred characters."""
    return _repr.repr(value)


def parse_id(value: object) -> Id | None:
    """Parse an id; integral floats and integer strings become integers."""
    if isinstance(value, str):
        text = value.strip()
        integer = _INTEGER.fullmatch(text)
        return int(integer[1]) if integer else text or None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def original_id(value: object) -> Id:
    """Return an id as spelled in the file; integral floats become integers."""
    return value if isinstance(value, str | int) else int(value)  # type: ignore[call-overload]


def id_sort_key(value: Id) -> tuple[bool, int, str]:
    """Sort integers by value, before strings."""
    return (True, 0, value) if isinstance(value, str) else (False, value, "")


def entry_name(raw: Mapping[str, Any], position: int) -> str:
    """Return the id of an entry for a message, or its position if it has none."""
    return brief(raw["id"]) if "id" in raw else f"number {position}"


def parse_number(value: object) -> float | None:
    """Parse a number or numeric string, NaN and infinity included."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def parse_flag(value: object) -> bool | None:
    """Parse a flag: 0, 1, true, false, yes, no or null, as a number or as a string."""
    if value is None:
        return False
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    return None


def parse_side(value: object) -> int | None:
    """Parse a width or height in pixels: an integer of at least 1, or its string."""
    number = parse_number(value)
    if number is None or not math.isfinite(number) or not number.is_integer():
        return None
    return int(number) if 1 <= number < MAX_SIDE else None
