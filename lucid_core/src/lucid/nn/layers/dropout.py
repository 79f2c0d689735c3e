"""Dropout layers."""

from __future__ import annotations

from numbers import Real

from lucid.nn import functional as F
from lucid.nn.module import Module
from lucid.tensor import Tensor

__all__ = ["Dropout", "StochasticDepth"]


class Dropout(Module):
    """Zero each element with probability ``p`` during training and scale the rest by 1 / (1 - p).

    In evaluation mode it returns its input.

    Parameters
    ----------
    p : float, default 0.5
        Probability of zeroing an element.

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
        """Apply to a tensor of any shape."""
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class StochasticDepth(Module):
    """Drop residual branches at random during training and scale the rest by 1 / (1 - p).

    Place it at the end of a residual branch, before the addition.  In evaluation mode it returns
    its input.

    Parameters
    ----------
    p : float
        Probability of zeroing a sample.
    mode : {"row", "batch"}
        ``"row"`` draws for each sample, ``"batch"`` once for the whole batch.

    References
    ----------
    Huang et al., *Deep Networks with Stochastic Depth*, 2016.
    """

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__()
        _check_probability("StochasticDepth", p)
        if mode not in ("row", "batch"):
            raise ValueError(f"StochasticDepth: expected mode 'row' or 'batch', got {mode!r}")
        self.p = p
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a batch of shape (N, ...)."""
        return F.stochastic_depth(x, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode!r}"


def _check_probability(layer: str, p: object) -> None:
    if not isinstance(p, Real):
        raise TypeError(f"{layer}: expected a number for p, got {p!r}; pass for example p=0.5")
    if not 0 <= float(p) <= 1:
        raise ValueError(f"{layer}: expected p in [0, 1], got {p}")
