"""Hypothesis strategies for arrays, and comparison of Lucid with NumPy."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from memory_layouts import LAYOUTS, Array, native

import lucid

DTYPES = ("float32", "float64", "int64", "bool")
FLOATS = ("float32", "float64")
#: Special values, drawn on request.
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0])
#: Exceptions that users of NumPy catch.  An ``AxisError`` is a subclass of the first two.
FAMILIES = (IndexError, ValueError, TypeError, OverflowError)


def examples(number: int) -> settings:
    """Hypothesis settings: ``number`` fixed inputs, a tenth in quick sessions."""
    if "LUCID_QUICK" in os.environ:
        number = 1 + number // 10
    # Slow data generation on a busy machine is not a failure.
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=number, derandomize=True, deadline=None, suppress_health_check=slow
    )


def filled(
    rng: np.random.Generator, shape: Sequence[int], dtype: str, special: bool = False
) -> Array:
    """Random values with exact sums and small products, many of them equal."""
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    numbers = rng.integers(-12, 13, shape)
    if dtype == "int64":
        return np.asarray(numbers)
    quarters = (numbers / 4).astype(dtype)
    if special:
        quarters = np.where(rng.random(shape) < 0.2, rng.choice(SPECIAL, shape), quarters)
    return np.asarray(quarters, dtype)


#: Lengths of axes; one in ten is 0.
LENGTHS = (1, 2, 3, 1, 2, 3, 2, 3, 4, 0)


@st.composite
def shapes(draw: st.DrawFn, least: int = 0, most: int = 4) -> tuple[int, ...]:
    """Shapes of up to four axes, including lengths 0 and 1."""
    ndim = draw(st.integers(least, most))
    return tuple(draw(st.sampled_from(LENGTHS)) for _ in range(ndim))


def generators() -> st.SearchStrategy[np.random.Generator]:
    """Random generators, so that Hypothesis shrinks shapes, not values."""
    return st.integers(0, 2**16).map(np.random.default_rng)


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: Sequence[int] | st.SearchStrategy[tuple[int, ...]] | None = None,
    dtypes: Sequence[str] = DTYPES,
    special: bool = False,
) -> Array:
    """Arrays in a random memory layout."""
    if isinstance(shape, st.SearchStrategy) or shape is None:
        shape = draw(shapes() if shape is None else shape)
    array = filled(draw(generators()), shape, draw(st.sampled_from(dtypes)), special)
    return draw(st.sampled_from((native, *LAYOUTS.values())))(array)


def axis_numbers(ndim: int) -> st.SearchStrategy[int]:
    """Axes from either end, occasionally out of range."""
    return (
        st.integers(-ndim - 1, ndim)
        if ndim == 0
        else st.integers(-ndim, ndim - 1) | st.integers(-ndim - 1, ndim)
    )


def attempt(call: Callable[[], Any]) -> Any:
    """Return the result of a call, or its exception."""
    try:
        with np.errstate(all="ignore"):
            return call()
    except Exception as error:
        return error


def numpys(call: Callable[[], Any]) -> Any:
    """Return the result of a NumPy call, or its exception, without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return attempt(call)


def agree(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    rtol: float = 0,
    dtype: Any = None,
) -> Any:
    """Compare a call of Lucid with one of NumPy: values, shapes, dtypes, errors.

    Parameters
    ----------
    ours, theirs : callable
        Return tensors and arrays.
    rtol : float, default 0
        Relative tolerance; 0 for equal values.
    dtype : dtype, optional
        Expected dtype of Lucid if it differs from NumPy.

    Returns
    -------
    Tensor or sequence of Tensor
        Result of Lucid; None if both raised.
    """
    expected, result = numpys(theirs), attempt(ours)
    if isinstance(expected, Exception):
        assert isinstance(result, Exception), f"NumPy raises {expected!r}, Lucid gives {result!r}"
        same_family(result, expected)
        return None
    if isinstance(result, Exception):
        raise result
    if isinstance(expected, (tuple, list)):
        assert len(result) == len(expected)
        for one, other in zip(result, expected, strict=True):
            equal(one, other, rtol, dtype)
    else:
        equal(result, expected, rtol, dtype)
    return result


def same_family(ours: Exception, theirs: Exception) -> None:
    """Check that Lucid's exception is a subclass of NumPy's and has a message."""
    for family in FAMILIES:
        if isinstance(theirs, family):
            assert isinstance(ours, family), f"NumPy raises {theirs!r}, Lucid {ours!r}"
    assert len(str(ours).split()) > 2, f"{ours!r} has no message"


def equal(result: lucid.Tensor, expected: Any, rtol: float = 0, dtype: Any = None) -> None:
    """Check equal shape, dtype and values; NaN equals NaN."""
    assert isinstance(result, lucid.Tensor)
    wanted = np.asarray(expected)
    assert result.shape == wanted.shape
    assert result.dtype == (wanted.dtype.newbyteorder("=") if dtype is None else dtype)
    if rtol:
        np.testing.assert_allclose(result.numpy(), wanted, rtol=rtol, atol=rtol)
    else:
        np.testing.assert_array_equal(result.numpy(), wanted)


def summed_to(full: Array, shape: tuple[int, ...]) -> Array:
    """Sum ``full`` over the axes that broadcasting from ``shape`` added, element by element."""
    gathered = np.zeros(shape, full.dtype)
    places = np.broadcast_to(np.arange(gathered.size).reshape(shape), full.shape)
    np.add.at(gathered.reshape(-1), places.reshape(-1), full.reshape(-1))
    return gathered
