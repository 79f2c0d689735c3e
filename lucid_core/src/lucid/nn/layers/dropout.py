"""Dropout layers."""

from __future__ import annotations

from numbers import Real

from lucid.nn import functional as F
from lucid.nn.module import Module
from lucid.tensor import Tensor

__all__ = ["Dropout", "StochasticDepth"]


class Dropout(Module):
    """In training, set each value to 0 with a probability and scale up the others.

    Parameters
    ----------
    p : float, default 0.5
        Probability of 0.

    References
    ----------
    Srivastava et al., *Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting*, JMLR 2014.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        _check_probability("Dropout", p)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class StochasticDepth(Module):
    """In training, set whole samples to 0 with a probability and scale up the others.

    Put it at the end of a residual branch, before the sum.  In evaluation it returns its input.

    Parameters
    ----------
    p : float
        Probability of 0.
    mode : {"row", "batch"}
        ``"row"`` decides for each sample, ``"batch"`` once for all of them.

    References
    ----------
    Huang et al., *Deep Networks with Stochastic Depth*, 2016.
    """

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__()
        _check_probability("StochasticDepth", p)
        if mode not in ("row", "batch"):
            raise ValueError(f"StochasticDepth: mode must be 'row' or 'batch', got {mode!r}")
        self.p = p
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, ...)."""
        return F.stochastic_depth(x, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode!r}"


def _check_probability(layer: str, p: object) -> None:
    if not isinstance(p, Real):
        raise TypeError(f"{layer}: expected a number for p, got {p!r}; pass p=0.5, for example")
    if not 0 <= float(p) <= 1:
        raise ValueError(f"{layer}: p must lie from 0 to 1, got {p}")
