"""Shape check and reduction shared by the losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lucid.autograd import ArrayLike
from lucid.autograd.variable import Array
from lucid.ops.operands import floating, operands

__all__ = ["reduce_losses", "same_shape"]

#: Maps the gradient of the reduced loss to the gradients before the reduction.
GradExpander = Callable[[Array], Array]


def reduce_losses(
    losses: Array, reduction: str, total: float | None = None
) -> tuple[Array, GradExpander]:
    """Reduce losses; return the result and the vjp of the reduction.

    ``total`` is the divisor of the mean; default the number of losses.
    """
    if reduction == "none":
        return losses, lambda g: g
    if reduction == "sum":
        return np.asarray(losses.sum()), lambda g: g
    if reduction != "mean":
        raise ValueError(f"expected reduction='mean', 'sum' or 'none', got {reduction!r}")
    divisor = losses.dtype.type(losses.size if total is None else total)

    def divided(a: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(a / divisor)

    return divided(losses.sum()), divided


def same_shape(input: ArrayLike, target: ArrayLike, loss: str) -> tuple[Array, Array]:
    a, b = operands(input, target)
    a, b = floating(a), floating(b)
    if a.shape != b.shape:
        # Broadcasting (N, 1) with (N,) would give N x N losses.
        raise ValueError(f"{loss} expected equal shapes, got {a.shape} and {b.shape}")
    return a, b.astype(a.dtype, copy=False)
