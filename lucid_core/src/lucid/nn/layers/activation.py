"""Activation layers: each calls the function of its name in :mod:`lucid.nn.functional`."""

from __future__ import annotations

from lucid.nn import functional as F
from lucid.nn.module import Module
from lucid.tensor import Tensor

__all__ = [
    "GELU",
    "Hardsigmoid",
    "Hardswish",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
]


class ReLU(Module):
    """Rectified linear unit, ``max(x, 0)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.relu(x)


class LeakyReLU(Module):
    """Leaky rectified linear unit, ``max(x, 0) + negative_slope * min(x, 0)``.

    Parameters
    ----------
    negative_slope : float, default 0.01
        Slope below 0.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class GELU(Module):
    """Gaussian error linear unit, ``x * Phi(x)`` with the normal distribution function.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        See :func:`lucid.nn.functional.gelu`.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """Sigmoid linear unit, ``x * sigmoid(x)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.silu(x)


class ReLU6(Module):
    """Rectified linear unit bounded by 6, ``min(max(x, 0), 6)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.relu6(x)


class Hardsigmoid(Module):
    """Piecewise linear sigmoid, ``relu6(x + 3) / 6``."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.hardsigmoid(x)


class Hardswish(Module):
    """Piecewise quadratic swish, ``x * relu6(x + 3) / 6``."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.hardswish(x)


class Sigmoid(Module):
    """Logistic sigmoid, ``1 / (1 + exp(-x))``."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.sigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent, ``tanh(x)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.tanh(x)


class Softmax(Module):
    """Softmax along an axis, ``exp(x) / sum(exp(x))``.

    Parameters
    ----------
    axis : int, default -1
        Along which the results sum to 1.
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.softmax(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class LogSoftmax(Module):
    """Logarithm of the softmax along an axis, ``x - log(sum(exp(x)))``.

    Parameters
    ----------
    axis : int, default -1
        Along which the exponentials of the results sum to 1.
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.log_softmax(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"
