"""Single values of annotation files: ids, numbers, flags and sizes as tools write them.

Each function gives the value, or None where it is not one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from reprlib import Repr
from typing import Any, TypeAlias

__all__ = [
    "Id",
    "as_flag",
    "as_id",
    "as_number",
    "as_side",
    "id_or_number",
    "id_order",
    "own_id",
    "shown",
]

#: An id of a COCO file; text that is a whole number and the number are the same id.
Id: TypeAlias = int | str

#: Pixels along a side, so that areas stay finite.
MAX_SIDE = 2**31
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]{0,30}))(?:\.0+)?")
_FLAGS = {
    **dict.fromkeys(("1", "true", "yes"), True),
    **dict.fromkeys(("0", "false", "no", "null", "none"), False),
}
_repr = Repr()
_repr.maxstring = _repr.maxlong = _repr.maxother = 100


def shown(value: object) -> str:
    """A value of a file for a message: at most some hundred characters, however deep it is."""
    return _repr.repr(value)


def as_id(value: object) -> Id | None:
    """An id to compare with: whole floats and text that is a whole number become integers."""
    if isinstance(value, str):
        text = value.strip()
        whole = _WHOLE.fullmatch(text)
        return int(whole[1]) if whole else text or None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def own_id(value: object) -> Id:
    """An id as the file spells it; whole floats become integers."""
    return value if isinstance(value, str | int) else int(value)  # type: ignore[call-overload]


def id_order(value: Id) -> tuple[bool, int, str]:
    """Sorting key: integers by value, then text."""
    return (True, 0, value) if isinstance(value, str) else (False, value, "")


def id_or_number(raw: Mapping[str, Any], position: int) -> str:
    """What to call an entry of a file in a message."""
    return shown(raw["id"]) if "id" in raw else f"number {position}"


def as_number(value: object) -> float | None:
    """A number, which may be text; NaN and infinity too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def as_flag(value: object) -> bool | None:
    """A flag: 0, 1, true, false, yes, no or null as number or as text in any case."""
    if value is None:
        return False
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    return None


def as_side(value: object) -> int | None:
    """Width or height in pixels: a whole number from 1, which may be text."""
    number = as_number(value)
    if number is None or not math.isfinite(number) or not number.is_integer():
        return None
    return int(number) if 1 <= number < MAX_SIDE else None
