"""Activation layers."""

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
    """Rectified linear unit, ``max(x, 0)``, elementwise.

    Examples
    --------
    >>> import lucid
    >>> lucid.nn.ReLU()(lucid.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        return F.relu(x)


class LeakyReLU(Module):
    """Leaky rectified linear unit, ``max(x, 0) + negative_slope * min(x, 0)``, elementwise.

    Parameters
    ----------
    negative_slope : float, default 0.01
        Slope for negative inputs.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class GELU(Module):
    """Gaussian error linear unit, ``x * Phi(x)``, elementwise.

    ``Phi`` is the cumulative distribution function of the standard normal distribution.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        ``"tanh"`` uses the tanh approximation; see :func:`lucid.nn.functional.gelu`.

    References
    ----------
    Hendrycks and Gimpel, *Gaussian Error Linear Units*, 2016, section 2.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: expected approximate 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """Sigmoid linear unit (swish), ``x * sigmoid(x)``, elementwise.

    References
    ----------
    Elfwing, Uchibe and Doya, *Sigmoid-Weighted Linear Units*, 2017.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        return F.silu(x)


class ReLU6(Module):
    """Rectified linear unit with maximum 6, ``min(max(x, 0), 6)``, elementwise.

    References
    ----------
    Howard et al., *MobileNets*, 2017.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        return F.relu6(x)


class Hardsigmoid(Module):
    """Piecewise linear approximation of sigmoid, ``relu6(x + 3) / 6``, elementwise.

    References
    ----------
    Howard et al., *Searching for MobileNetV3*, 2019, section 5.2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        return F.hardsigmoid(x)


class Hardswish(Module):
    """Piecewise quadratic approximation of swish, ``x * relu6(x + 3) / 6``, elementwise.

    References
    ----------
    Howard et al., *Searching for MobileNetV3*, 2019, section 5.2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        return F.hardswish(x)


class Sigmoid(Module):
    """Logistic sigmoid, ``1 / (1 + exp(-x))``, elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        return F.sigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent, elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        return F.tanh(x)


class _AlongAxis(Module):
    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class Softmax(_AlongAxis):
    """Softmax along an axis, ``exp(x) / sum(exp(x))``.

    Parameters
    ----------
    axis : int, default -1
        Axis along which the outputs sum to 1.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        return F.softmax(x, self.axis)


class LogSoftmax(_AlongAxis):
    """Logarithm of the softmax along an axis, ``x - log(sum(exp(x)))``.

    Parameters
    ----------
    axis : int, default -1
        Axis along which the exponentials of the outputs sum to 1.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        return F.log_softmax(x, self.axis)
