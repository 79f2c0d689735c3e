"""Fully connected and identity layers."""

from __future__ import annotations

import math

import numpy as np

from lucid.autograd import array_of
from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.layers.argument_checks import check_positive
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter
from lucid.tensor import Tensor

__all__ = ["Identity", "Linear"]


class Identity(Module):
    """Identity function, a placeholder for another layer.

    Parameters
    ----------
    *args, **kwargs
        Ignored.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``."""
        return x


class Linear(Module):
    """Affine transformation of the last axis, ``x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
        Size of the last axis of the input and the output.
    bias : bool, default True
        Whether to add a learnable bias.

    Attributes
    ----------
    weight : Parameter
        Shape (out_features, in_features).
    bias : Parameter or None
        Shape (out_features,).

    Examples
    --------
    >>> import lucid
    >>> lucid.nn.Linear(20, 30)(lucid.zeros(128, 20)).shape
    (128, 30)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        check_positive("Linear", in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(np.empty((out_features, in_features), np.float32))
        self.bias = Parameter(np.empty(out_features, np.float32)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias from ``U(-1 / sqrt(in_features), 1 / sqrt(in_features))``."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        shape = array_of(x).shape
        if not shape or shape[-1] != self.in_features:
            raise ValueError(
                f"{self!r}: expected input of shape (..., {self.in_features}), got {shape}"
            )
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        settings = f"in_features={self.in_features}, out_features={self.out_features}"
        return settings if self.bias is not None else f"{settings}, bias=False"
