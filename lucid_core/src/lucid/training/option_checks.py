"""Checks of the numbers that a run is started with."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

__all__ = ["check_counts", "check_rates"]


def check_counts(options: Any, names: Sequence[str], least: int) -> None:
    """Refuse options that are no whole numbers of at least ``least``; None is allowed.

    Parameters
    ----------
    options : object
        With an attribute for each name.
    names : sequence of str
        The options.
    least : int
        The smallest number allowed.

    Raises
    ------
    ValueError
        If one of them is another value.
    """
    for name in names:
        value = getattr(options, name)
        if value is None:
            continue
        try:
            fits = operator.index(value) >= least
        except TypeError:
            fits = False
        if not fits:
            raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")


def check_rates(options: Any, names: Sequence[str], *, zero: bool = False) -> None:
    """Refuse options that are no finite numbers above 0; None is allowed.

    Parameters
    ----------
    options : object
        With an attribute for each name.
    names : sequence of str
        The options.
    zero : bool, default False
        Whether 0 is allowed.

    Raises
    ------
    ValueError
        If one of them is another value.
    """
    for name in names:
        value = getattr(options, name)
        if value is None:
            continue
        number = isinstance(value, int | float) and math.isfinite(value)
        if not number or value < 0 or (value == 0 and not zero):
            least = "at least 0" if zero else "above 0"
            raise ValueError(f"{name}: expected a finite number {least}, got {value!r}")
