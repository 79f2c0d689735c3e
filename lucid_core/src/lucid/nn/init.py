"""Initial values, written into a tensor in place and drawn from ``lucid.random``.

Every function returns the tensor it was given.  Numbers are drawn in the order
of the tensor's indices, so that they do not depend on how it lies in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lucid import kernels
from lucid.autograd.variable import Array
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

# Numbers that one stream draws: some two milliseconds, much more than it takes to begin one.
_BLOCK = 1 << 18


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
    """Fill with what is drawn, times ``scale`` plus ``shift``.

    Of a large tensor, blocks of rows (which its shape alone decides) have streams of their
    own that begin where the generator says, so that threads can draw them side by side.
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


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with numbers evenly distributed from ``a`` to ``b``.

    Parameters
    ----------
    tensor : Tensor
        Of any shape.
    a : float, default 0.0
        Lower end.
    b : float, default 1.0
        Upper end.
    generator : lucid.random.Generator, optional
        Where numbers are drawn from; default the default generator.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.
    """
    return _uniform(tensor, a, b, generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normally distributed numbers.

    Parameters
    ----------
    tensor : Tensor
        Of any shape.
    mean : float, default 0.0
        Mean of the distribution.
    std : float, default 1.0
        Its standard deviation.
    generator : lucid.random.Generator, optional
        Where numbers are drawn from; default the default generator.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.
    """
    return _normal(tensor, mean, std, generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normally distributed numbers, those outside of ``a`` to ``b`` drawn again.

    Parameters
    ----------
    tensor : Tensor
        Of any shape.
    mean : float, default 0.0
        Mean of the distribution before it is cut.
    std : float, default 1.0
        Its standard deviation, positive.
    a : float, default -2.0
        Lowest value; a value, not a number of deviations.
    b : float, default 2.0
        Highest value.
    generator : lucid.random.Generator, optional
        Where numbers are drawn from; default the default generator.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.

    Raises
    ------
    ValueError
        If no more than a thousandth of the distribution lies from ``a`` to ``b``.
    """
    share = 0.5 * (math.erf((b - mean) / std / 2**0.5) - math.erf((a - mean) / std / 2**0.5))
    if not share > 1e-3:
        raise ValueError(
            f"trunc_normal_ from {a} to {b} keeps a share of {share:.1e} of the normal "
            f"distribution with mean {mean} and std {std}"
        )
    numpy = _generator(generator)
    drawn = numpy.normal(mean, std, tensor.shape)
    while (outside := (drawn < a) | (drawn > b)).any():
        drawn[outside] = numpy.normal(mean, std, int(outside.sum()))
    return _fill(tensor, drawn)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value.

    Parameters
    ----------
    tensor : Tensor
        Of any shape.
    val : float
        The value.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.
    """
    return _fill(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones.

    Parameters
    ----------
    tensor : Tensor
        Of any shape.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.
    """
    return _fill(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros.

    Parameters
    ----------
    tensor : Tensor
        Of any shape.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.
    """
    return _fill(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on the diagonal and zeros elsewhere.

    Parameters
    ----------
    tensor : Tensor
        (rows, columns); it need not be square.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.

    Raises
    ------
    ValueError
        If ``tensor`` does not have two axes.
    """
    if tensor.ndim != 2:
        raise ValueError(f"eye_ fills a matrix, got a tensor of shape {tensor.shape}")
    return _fill(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much weights must be larger to keep variances through a nonlinearity.

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
        What to multiply the standard deviation of the weights by; 1 for ``"linear"``.

    Raises
    ------
    ValueError
        If there is no such nonlinearity.

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
        raise ValueError(f"nonlinearity must be one of {sorted(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]


def _calculate_fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output has, and how many outputs an input."""
    if tensor.ndim < 2:
        raise ValueError(
            f"fan-in and fan-out need a weight of at least two axes, got shape {tensor.shape}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill evenly within ``gain * sqrt(6 / (fan_in + fan_out))`` of 0.

    Parameters
    ----------
    tensor : Tensor
        A weight of shape (outputs, inputs, ...).
    gain : float, default 1.0
        For the nonlinearity that follows; see :func:`calculate_gain`.
    generator : lucid.random.Generator, optional
        Where numbers are drawn from; default the default generator.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.

    Raises
    ------
    ValueError
        If ``tensor`` has fewer than two axes.

    References
    ----------
    Glorot and Bengio, *Understanding the difficulty of training deep
    feedforward neural networks*, 2010, equation 16.
    """
    bound = gain * math.sqrt(6 / max(1, sum(_calculate_fans(tensor))))
    return _uniform(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill normally with the deviation ``gain * sqrt(2 / (fan_in + fan_out))``.

    Parameters
    ----------
    tensor : Tensor
        A weight of shape (outputs, inputs, ...).
    gain : float, default 1.0
        For the nonlinearity that follows; see :func:`calculate_gain`.
    generator : lucid.random.Generator, optional
        Where numbers are drawn from; default the default generator.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.

    Raises
    ------
    ValueError
        If ``tensor`` has fewer than two axes.

    References
    ----------
    Glorot and Bengio, *Understanding the difficulty of training deep
    feedforward neural networks*, 2010, equation 12.
    """
    std = gain * math.sqrt(2 / max(1, sum(_calculate_fans(tensor))))
    return _normal(tensor, 0.0, std, generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = _calculate_fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill evenly with the deviation ``gain / sqrt(fan)``.

    Parameters
    ----------
    tensor : Tensor
        A weight of shape (outputs, inputs, ...).
    a : float, default 0.0
        Negative slope of the leaky ReLU that follows.
    mode : {"fan_in", "fan_out"}, default "fan_in"
        Keep the variance forward, or backward.
    nonlinearity : str, default "leaky_relu"
        See :func:`calculate_gain`.
    generator : lucid.random.Generator, optional
        Where numbers are drawn from; default the default generator.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.

    Raises
    ------
    ValueError
        If ``tensor`` has fewer than two axes, or there is no such mode or nonlinearity.

    References
    ----------
    He et al., *Delving Deep into Rectifiers*, 2015, section 2.2.
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return _uniform(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill normally with the deviation ``gain / sqrt(fan)``.

    Parameters
    ----------
    tensor : Tensor
        A weight of shape (outputs, inputs, ...).
    a : float, default 0.0
        Negative slope of the leaky ReLU that follows.
    mode : {"fan_in", "fan_out"}, default "fan_in"
        Keep the variance forward, or backward.
    nonlinearity : str, default "leaky_relu"
        See :func:`calculate_gain`.
    generator : lucid.random.Generator, optional
        Where numbers are drawn from; default the default generator.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.

    Raises
    ------
    ValueError
        If ``tensor`` has fewer than two axes, or there is no such mode or nonlinearity.

    References
    ----------
    He et al., *Delving Deep into Rectifiers*, 2015, section 2.2.
    """
    return _normal(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with a matrix (later axes joined) of orthonormal rows or columns, times ``gain``.

    Parameters
    ----------
    tensor : Tensor
        A weight of shape (outputs, inputs, ...); its rows are orthonormal, or its columns
        where there are more rows than columns.
    gain : float, default 1.0
        What the matrix is multiplied by.
    generator : lucid.random.Generator, optional
        Where numbers are drawn from; default the default generator.

    Returns
    -------
    Tensor
        ``tensor``, changed in place.

    Raises
    ------
    ValueError
        If ``tensor`` has fewer than two axes.

    References
    ----------
    Saxe, McClelland and Ganguli, *Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks*, 2013, section 3.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_ needs at least two axes, got shape {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    drawn = _generator(generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    # Fixing the signs makes the distribution uniform over orthogonal matrices.
    q *= np.sign(np.diag(r))
    matrix = q if rows >= columns else q.T
    return _fill(tensor, gain * matrix.reshape(tensor.shape))
