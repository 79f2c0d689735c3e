"""Parameter types for click options."""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = ["FiniteRange"]


class FiniteRange(click.FloatRange):
    """Float range that rejects NaN and infinity, which pass click's comparisons."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            float(value)
        except ValueError:
            bounds = [(">", self.min, self.min_open), ("<", self.max, self.max_open)]
            ends = [f"{s}{'' if open else '='} {n:g}" for s, n, open in bounds if n is not None]
            self.fail(f"expected a number {' and '.join(ends)}, got {value!r}", param, ctx)
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a finite number, got {value}", param, ctx)
        return number
