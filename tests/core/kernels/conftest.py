"""Fixtures of the kernel tests."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

import numpy as np
import pytest

from lucid import kernels

Array = np.ndarray[Any, np.dtype[Any]]


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Skip a test that needs a compiled kernel if Numba is missing."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if error.name in ("numba", "llvmlite"):
            pytest.skip("compiled kernels need Numba, which is not installed")
        raise


@pytest.fixture(scope="session")
def numerical_gradient() -> Callable[..., Array]:
    """Return the gradient of ``sum(f(x) * g)`` by central differences in float64."""

    def gradient(f: Callable[[Array], Array], x: Array, g: Array, step: float = 1e-6) -> Array:
        result = np.empty(x.shape)
        for place in np.ndindex(x.shape):
            up, down = x.copy(), x.copy()
            up[place] += step
            down[place] -= step
            result[place] = np.sum((f(up) - f(down)) * g) / (2 * step)
        return result

    return gradient


@pytest.fixture
def use_threads() -> Generator[Callable[[int], None], None, None]:
    """Set the number of threads for one test."""
    before = kernels.get_num_threads()
    yield kernels.set_num_threads
    kernels.set_num_threads(before)


@pytest.fixture
def assert_thread_invariant(use_threads: Callable[[int], None]) -> Callable[..., None]:
    """Assert that a function returns bitwise equal arrays for several numbers of threads."""

    def check(run: Callable[[], Iterable[Array]], counts: Iterable[int] = (1, 2, 3)) -> None:
        results = []
        for count in counts:
            use_threads(count)
            results.append(list(run()))
        for other in results[1:]:
            for expected, actual in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(actual, expected)

    return check


def _strided(x: Array) -> Array:
    return np.repeat(x, 2, axis=-1)[..., ::2]


def _read_only(x: Array) -> Array:
    y = x.copy()
    y.flags.writeable = False
    return y


def _unaligned(x: Array) -> Array:
    memory = np.empty(x.nbytes + 1, np.uint8)
    y = memory[1:].view(x.dtype).reshape(x.shape)
    y[...] = x
    return y


#: Copies of x in other memory layouts.
_LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "strided": _strided,
    "reversed": lambda x: x[::-1].copy()[::-1],
    "fortran": np.asfortranarray,
    "read-only": _read_only,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": _unaligned,
}


@pytest.fixture(params=sorted(_LAYOUTS))
def foreign(request: pytest.FixtureRequest) -> Callable[[Array], Array]:
    """Copy an array into a memory layout that no kernel expects."""
    return _LAYOUTS[request.param]
