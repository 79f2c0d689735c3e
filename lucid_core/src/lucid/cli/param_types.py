"""Parameter types for click options."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

__all__ = ["FiniteRange", "WeightsParam"]


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


class WeightsParam(click.Path):
    """Existing weight file, as a path, or a tag of published weights, as text.

    A tag has neither a separator nor a suffix of weight files.
    """

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from lucid.weights import is_weight_path

        return super().convert(value, param, ctx) if is_weight_path(value) else str(value)
