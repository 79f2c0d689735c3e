"""Flattening layer."""

from __future__ import annotations

from lucid.nn.module import Module
from lucid.ops.shape import flatten
from lucid.tensor import Tensor

__all__ = ["Flatten"]


class Flatten(Module):
    """Flatten a range of axes into one.

    Parameters
    ----------
    start_axis : int, default 1
        First axis to flatten; the default keeps the batch axis.
    end_axis : int, default -1
        Last axis to flatten, inclusive.

    Examples
    --------
    >>> import lucid
    >>> lucid.nn.Flatten()(lucid.zeros(2, 3, 4, 5)).shape
    (2, 60)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        super().__init__()
        self.start_axis = start_axis
        self.end_axis = end_axis

    def forward(self, x: Tensor) -> Tensor:
        """Flatten a tensor that has these axes."""
        return flatten(x, self.start_axis, self.end_axis)

    def extra_repr(self) -> str:
        return f"start_axis={self.start_axis}, end_axis={self.end_axis}"
