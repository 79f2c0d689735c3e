"""Flattening layer."""

from __future__ import annotations

from lucid.nn.module import Module
from lucid.ops.shape import flatten
from lucid.tensor import Tensor

__all__ = ["Flatten"]


class Flatten(Module):
    """Join neighbouring axes into one.

    Parameters
    ----------
    start_axis : int, default 1
        First of the axes; the default keeps the axis of the batch.
    end_axis : int, default -1
        Last of the axes.
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        super().__init__()
        self.start_axis = start_axis
        self.end_axis = end_axis

    def forward(self, x: Tensor) -> Tensor:
        """Any shape with these axes."""
        return flatten(x, self.start_axis, self.end_axis)

    def extra_repr(self) -> str:
        return f"start_axis={self.start_axis}, end_axis={self.end_axis}"
