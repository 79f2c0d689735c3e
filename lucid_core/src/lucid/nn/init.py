"""In-place initializers.

Every function fills its tensor in place and returns it.  Random values are drawn in index order,
so they do not depend on the memory layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from lucid import kernels
from lucid.autograd.variable import Array
from lucid.ops.docstrings import Sections, add_sections
from lucid.random import Generator, default_generator
from lucid.tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

# Elements per random stream: about 2 ms of work, much more than the cost of starting a stream.
_BLOCK = 1 << 18

_RETURNS = "``tensor``."
F = TypeVar("F", bound=Callable[..., object])


def _fill(tensor: Tensor, values: Array | float) -> Tensor:
    tensor.data[...] = values
    tensor.mark_changed()
    return tensor


def _generator(generator: Generator | None) -> np.random.Generator:
    return (default_generator if generator is None else generator).numpy


def _uniform(tensor: Tensor, low: float, high: float, generator: Generator | None) -> Tensor:
    return _draw(tensor, np.random.Generator.random, high - low, low, generator)


def _normal(tensor: Tensor, mean: float, std: float, generator: Generator | None) -> Tensor:
    return _draw(tensor, np.random.Generator.standard_normal, std, mean, generator)


def _draw(
    tensor: Tensor,
    distribution: Callable[..., Array],
    scale: float,
    shift: float,
    generator: Generator | None,
) -> Tensor:
    """Fill with ``scale * sample + shift``.

    Blocks of rows of a large tensor have their own random streams, seeded by the generator, so
    that threads draw them in parallel.  The blocks depend on the shape only.
    """
    source, values, dtype = _generator(generator), tensor.data, _sample_dtype(tensor)

    def fill(start: int, stop: int) -> None:
        for block in range(start, stop):
            stream = source
            if blocks > 1:
                stream = np.random.Generator(np.random.PCG64([*seed, block]))
            rows = values[block * height : (block + 1) * height] if blocks > 1 else values
            drawn = distribution(stream, rows.shape, dtype=dtype)
            drawn *= scale
            drawn += shift
            rows[...] = drawn

    height = max(1, _BLOCK * len(values) // values.size) if values.ndim and values.size else 1
    blocks = -(-len(values) // height) if values.size > _BLOCK else 1
    seed = source.integers(1 << 63, size=2).tolist() if blocks > 1 else []
    kernels.parallel_for(fill, blocks)
    tensor.mark_changed()
    return tensor


def _sample_dtype(tensor: Tensor) -> type[np.float32] | type[np.float64]:
    return np.float64 if tensor.dtype == np.float64 else np.float32


_GENERATOR = {
    "generator : lucid.random.Generator, optional": "Random number generator; default: the "
    "global one."
}
_TOO_FEW_AXES = "If ``tensor`` has fewer than two axes"
_GAIN = {
    "gain : float, default 1.0": "Gain of the following nonlinearity; see :func:`calculate_gain`."
}
_KAIMING = {
    "a : float, default 0.0": "Negative slope of the following leaky ReLU.",
    'mode : {"fan_in", "fan_out"}, default "fan_in"': "Whether to keep the variance of the "
    "forward or the backward pass.",
    'nonlinearity : str, default "leaky_relu"': "See :func:`calculate_gain`.",
}


def _any_shape(
    parameters: Sections | None = None, raises: Sections | None = None
) -> Callable[[F], F]:
    """Document an initializer of a tensor of any shape."""
    return add_sections({"tensor : Tensor": "Any shape.", **(parameters or {})}, _RETURNS, raises)


def _weight(parameters: Sections, error: str = f"{_TOO_FEW_AXES}.") -> Callable[[F], F]:
    """Document a random initializer of a weight."""
    tensor = {"tensor : Tensor": "Weight of shape (outputs, inputs, ...)."}
    return add_sections({**tensor, **parameters, **_GENERATOR}, _RETURNS, {"ValueError": error})


@_any_shape(
    {
        "a : float, default 0.0": "Lower bound.",
        "b : float, default 1.0": "Upper bound.",
        **_GENERATOR,
    }
)
def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with values from the uniform distribution ``U(a, b)``."""
    return _uniform(tensor, a, b, generator)


@_any_shape(
    {
        "mean : float, default 0.0": "Mean of the distribution.",
        "std : float, default 1.0": "Standard deviation of the distribution.",
        **_GENERATOR,
    }
)
def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with values from the normal distribution ``N(mean, std**2)``."""
    return _normal(tensor, mean, std, generator)


@_any_shape(
    {
        "mean : float, default 0.0": "Mean before truncation.",
        "std : float, default 1.0": "Standard deviation before truncation, positive.",
        "a : float, default -2.0": "Lower bound, as a value.",
        "b : float, default 2.0": "Upper bound, as a value.",
        **_GENERATOR,
    },
    {"ValueError": "If at most 0.1% of the distribution lies in ``[a, b]``."},
)
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with values from ``N(mean, std**2)`` truncated to ``[a, b]``, by rejection."""
    share = 0.5 * (math.erf((b - mean) / std / 2**0.5) - math.erf((a - mean) / std / 2**0.5))
    if not share > 1e-3:
        raise ValueError(
            f"trunc_normal_: expected more than 0.1% of N({mean}, {std}**2) in [{a}, {b}], "
            f"got {share:.1e}"
        )
    numpy = _generator(generator)
    drawn = numpy.normal(mean, std, tensor.shape)
    while (outside := (drawn < a) | (drawn > b)).any():
        drawn[outside] = numpy.normal(mean, std, int(outside.sum()))
    return _fill(tensor, drawn)


@_any_shape({"val : float": "Fill value."})
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with a constant."""
    return _fill(tensor, val)


@_any_shape()
def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return _fill(tensor, 1.0)


@_any_shape()
def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return _fill(tensor, 0.0)


@add_sections(
    {"tensor : Tensor": "Shape (rows, columns), not necessarily square."},
    _RETURNS,
    {"ValueError": "If ``tensor`` does not have two axes."},
)
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity: ones on the diagonal, zeros elsewhere."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: expected two axes, got shape {tensor.shape}")
    return _fill(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the recommended gain of a nonlinearity.

    Parameters
    ----------
    nonlinearity : str
        ``"linear"``, ``"conv2d"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``,
        ``"leaky_relu"`` or ``"selu"``.
    param : float, optional
        Negative slope of the leaky ReLU; default 0.01.

    Returns
    -------
    float
        Factor of the weights' standard deviation that keeps variances; 1 for ``"linear"``.

    Raises
    ------
    ValueError
        If the nonlinearity is unknown.

    References
    ----------
    He et al., *Delving Deep into Rectifiers*, 2015, section 2.2, for ReLU and leaky ReLU.
    """
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "conv2d": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        raise ValueError(f"expected nonlinearity {', '.join(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]


def _calculate_fans(tensor: Tensor) -> tuple[int, int]:
    """Return fan-in and fan-out."""
    if tensor.ndim < 2:
        raise ValueError(
            f"fan-in and fan-out: expected at least two axes, got shape {tensor.shape}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


@_weight(_GAIN)
def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill from ``U(-b, b)`` with ``b = gain * sqrt(6 / (fan_in + fan_out))``.

    References
    ----------
    Glorot and Bengio, *Understanding the difficulty of training deep
    feedforward neural networks*, 2010, equation 16.
    """
    bound = gain * math.sqrt(6 / max(1, sum(_calculate_fans(tensor))))
    return _uniform(tensor, -bound, bound, generator)


@_weight(_GAIN)
def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from ``N(0, std**2)`` with ``std = gain * sqrt(2 / (fan_in + fan_out))``.

    References
    ----------
    Glorot and Bengio, *Understanding the difficulty of training deep
    feedforward neural networks*, 2010, equation 12.
    """
    std = gain * math.sqrt(2 / max(1, sum(_calculate_fans(tensor))))
    return _normal(tensor, 0.0, std, generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"expected mode 'fan_in' or 'fan_out', got {mode!r}")
    fan = _calculate_fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))


@_weight(_KAIMING, f"{_TOO_FEW_AXES}, or mode or nonlinearity is unknown.")
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill from ``U(-b, b)`` with ``b = gain * sqrt(3 / fan)``.

    References
    ----------
    He et al., *Delving Deep into Rectifiers*, 2015, section 2.2.
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return _uniform(tensor, -bound, bound, generator)


@_weight(_KAIMING, f"{_TOO_FEW_AXES}, or mode or nonlinearity is unknown.")
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill from ``N(0, std**2)`` with ``std = gain / sqrt(fan)``.

    References
    ----------
    He et al., *Delving Deep into Rectifiers*, 2015, section 2.2.
    """
    return _normal(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


@_weight({"gain : float, default 1.0": "Factor of the matrix."})
def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with ``gain`` times a (semi-)orthogonal matrix of shape (outputs, -1).

    Rows are orthogonal, or columns if there are more rows than columns.

    References
    ----------
    Saxe, McClelland and Ganguli, *Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks*, 2013, section 3.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: expected at least two axes, got shape {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    drawn = _generator(generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    # Fixing the signs makes the distribution uniform over orthogonal matrices.
    q *= np.sign(np.diag(r))
    matrix = q if rows >= columns else q.T
    return _fill(tensor, gain * matrix.reshape(tensor.shape))
