"""Batch normalization synchronized over the processes of a group."""

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
        False if this process only runs along: its input is normalized, but does not contribute
        to the statistics.
    """

    @property
    def has_samples(self) -> bool: ...

    def all_reduce(self, array: Array) -> Array:
        """All-reduce an array with the sum."""


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
    """Compute batch normalization in training, with the statistics of all processes.

    Each process all-reduces once in forward (counts, sums, sums of squares) and once in
    backward (gradients of weight and bias), in float64.
    """
    residual, added, activation = fused
    count, mean, variance = _statistics(a, process_group)
    if count < 2:
        raise ValueError(
            "batch_norm expected at least two values per channel in training, "
            f"got {count:.0f} over all processes"
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
        # Mean and variance depend on the inputs of all processes.
        whole_bias, whole_weight = process_group.all_reduce(np.stack([gbias, gweight])) / count
        if not process_group.has_samples:
            return [gx, gweight.astype(a.dtype), gbias.astype(a.dtype), gresidual]
        slope = scale * whole_weight * inverse_std
        offset = mean * slope - scale * whole_bias
        gx = kernels.affine_act(a, -slope.astype(a.dtype), offset.astype(a.dtype), gx, None)
        return [gx, gweight.astype(a.dtype), gbias.astype(a.dtype), gresidual]

    return record_joint(value, (x, weight, bias, residual), vjp)


def _statistics(a: Array, process_group: ProcessGroup) -> tuple[float, Array, Array]:
    """Return the number of values per channel, their mean and biased variance."""
    wide = a.astype(np.float64)
    pixels = np.full(a.shape[1], a.size // a.shape[1], np.float64)
    own = np.stack([pixels, wide.sum(_PIXELS), (wide * wide).sum(_PIXELS)])
    sums = process_group.all_reduce(own if process_group.has_samples else np.zeros_like(own))
    count = float(sums[0, 0])
    mean = sums[1] / max(1.0, count)
    return count, mean, np.maximum(sums[2] / max(1.0, count) - mean**2, 0)


def update_running_stats(running: ArrayLike | None, batch: Array, momentum: float) -> None:
    """Update running statistics in place: ``(1 - momentum) * running + momentum * batch``."""
    if running is None:
        return
    statistics = array_of(running)
    statistics *= 1 - momentum
    statistics += momentum * batch
    if isinstance(running, Variable):
        running.mark_changed()
