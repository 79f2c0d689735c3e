"""Batch normalisation by the statistics of a batch that several processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, Variable, array_of, record_joint
from lucid.autograd.variable import Array
from lucid.ops.affine import affine

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = ["ProcessGroup", "sync_batch_norm", "update_running_stats"]

_PIXELS = (0, 2, 3)


class ProcessGroup(Protocol):
    """Processes that train together, each with a part of the batch.

    Attributes
    ----------
    has_samples : bool
        Whether what this process has belongs to the batch; if not, it is normalised like
        the rest and changes nothing.
    """

    @property
    def has_samples(self) -> bool: ...

    def sum(self, array: Array) -> Array:
        """The sum of the arrays of all processes."""


def sync_batch_norm(
    x: ArrayLike,
    a: Array,
    weight: ArrayLike | None,
    bias: ArrayLike | None,
    running: dict[str, ArrayLike | None],
    momentum: float,
    eps: float,
    fused: tuple[ArrayLike | None, Array | None, str | None],
    process_group: ProcessGroup,
) -> Tensor:
    """As :func:`~lucid.ops.batch_norm` in training, over the parts of all processes.

    Every process asks for a sum once forward, with counts, sums and sums of squares, and
    once backward, with the gradients of weight and bias, all in float64.
    """
    residual, added, activation = fused
    count, mean, variance = _statistics(a, process_group)
    if count < 2:
        raise ValueError(
            f"batch_norm in training needs at least two values in every channel, got {count:.0f}"
        )
    inverse_std = 1 / np.sqrt(variance + eps)
    scale = inverse_std if weight is None else array_of(weight) * inverse_std
    shift = -mean * scale if bias is None else array_of(bias) - mean * scale
    scale, shift = scale.astype(a.dtype), shift.astype(a.dtype)
    value, backward = affine(a, scale, shift, added, activation, True)
    update_running_stats(running["running_mean"], mean, momentum)
    update_running_stats(running["running_var"], variance * (count / (count - 1)), momentum)

    def vjp(g: Array) -> list[Array | None]:
        gx, gscale, gshift, gresidual = backward(g)
        gbias = gshift.astype(np.float64)
        gweight = (gscale - mean * gbias) * inverse_std
        # Mean and variance depend on the values that every process has.
        whole_bias, whole_weight = process_group.sum(np.stack([gbias, gweight])) / count
        if not process_group.has_samples:
            return [gx, gweight.astype(a.dtype), gbias.astype(a.dtype), gresidual]
        slope = scale * whole_weight * inverse_std
        offset = mean * slope - scale * whole_bias
        gx = kernels.affine_act(a, -slope.astype(a.dtype), offset.astype(a.dtype), gx, None)
        return [gx, gweight.astype(a.dtype), gbias.astype(a.dtype), gresidual]

    return record_joint(value, (x, weight, bias, residual), vjp)


def _statistics(a: Array, process_group: ProcessGroup) -> tuple[float, Array, Array]:
    """How many values a channel has on all processes, their mean and biased variance."""
    wide = a.astype(np.float64)
    pixels = np.full(a.shape[1], a.size // a.shape[1], np.float64)
    own = np.stack([pixels, wide.sum(_PIXELS), (wide * wide).sum(_PIXELS)])
    sums = process_group.sum(own if process_group.has_samples else np.zeros_like(own))
    count = float(sums[0, 0])
    mean = sums[1] / max(1.0, count)
    return count, mean, np.maximum(sums[2] / max(1.0, count) - mean**2, 0)


def update_running_stats(running: ArrayLike | None, batch: Array, momentum: float) -> None:
    """Move running statistics, in place, towards those of a batch by a share of it."""
    if running is None:
        return
    statistics = array_of(running)
    statistics *= 1 - momentum
    statistics += momentum * batch
    if isinstance(running, Variable):
        running.mark_changed()
