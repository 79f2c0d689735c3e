"""One computation here and in PyTorch, on the same random numbers."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

import lucid

Array = np.ndarray
#: Scale below which a tensor's numbers are the rounding of a zero.
SMALLEST = 1e-6
#: Random configurations of every operation, layer, loss, optimizer and schedule.
CONFIGURATIONS = 20
#: Largest difference, relative to the largest number of the same tensor.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


@contextlib.contextmanager
def quiet_torch() -> Iterator[None]:
    """PyTorch warns of what is slow: of copies for even kernels, of the layout of gradients."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.")
        yield


def compare(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    arrays: Sequence[Array],
    constants: Sequence[Array] = (),
    dtype: str = "float64",
    gradients: bool = True,
) -> None:
    """Values, and gradients by every one of ``arrays``, of two functions of tensors.

    Parameters
    ----------
    ours, theirs
        Take tensors for ``arrays`` and then for ``constants``.
    arrays
        Floats, in the given dtype.
    constants
        Integers, booleans, or floats without gradient.
    dtype
        "float32" or "float64".
    gradients
        Whether there are any.
    """
    floats = [np.asarray(a).astype(dtype) for a in arrays]
    here = [lucid.Tensor(a.copy(), requires_grad=gradients) for a in floats]
    there = [torch.tensor(a, requires_grad=gradients) for a in floats]
    mine = ours(*here, *(lucid.Tensor(c) for c in constants))
    with quiet_torch():
        expected = theirs(*there, *(torch.tensor(c) for c in constants))
    if isinstance(mine, (tuple, list)):
        assert len(mine) == len(expected)
    else:
        mine, expected = [mine], [expected]
    for i, (a, b) in enumerate(zip(mine, expected, strict=True)):
        same(a.numpy(), b.detach().numpy(), dtype, f"output {i}")
    if not gradients:
        return
    rng = np.random.default_rng(7)
    for a, b in zip(mine, expected, strict=True):
        if a.dtype.kind == "f" and b.requires_grad:
            # Handed in, not multiplied in: some values are infinite.
            g = np.asarray(rng.standard_normal(a.shape)).astype(dtype)
            a.backward(lucid.Tensor(g), retain_graph=True)
            with quiet_torch():
                b.backward(torch.tensor(g), retain_graph=True)
    for i, (a, b) in enumerate(zip(here, there, strict=True)):
        expected_gradient = torch.zeros_like(b) if b.grad is None else b.grad
        assert a.grad is not None, f"no gradient by input {i}"
        same(a.grad.numpy(), expected_gradient.numpy(), dtype, f"gradient by input {i}")


def same(actual: Array, expected: Array, dtype: str, what: str) -> None:
    """Equal shapes and kinds of element; floats within the tolerance of the dtype."""
    assert actual.shape == expected.shape, f"{what}: {actual.shape} for {expected.shape}"
    assert actual.dtype.kind == expected.dtype.kind, f"{what}: {actual.dtype}"
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, err_msg=what)
        return
    assert actual.dtype == expected.dtype, f"{what}: {actual.dtype}"
    tolerance = TOLERANCE[dtype]
    finite = np.abs(expected[np.isfinite(expected)])
    # Inputs are about 1, so cancellation to less than SMALLEST is no difference.
    scale = max(finite.max(), SMALLEST) if finite.size else SMALLEST
    np.testing.assert_allclose(
        actual, expected, rtol=tolerance, atol=tolerance * scale, err_msg=what
    )


# --- random shapes ------------------------------------------------------------------------------


def random_shape(rng: np.random.Generator, least: int = 0, most: int = 4) -> tuple[int, ...]:
    """Some axes of 1 to 4, and one in ten of them empty."""
    ndim = int(rng.integers(least, most + 1))
    return tuple(0 if rng.random() < 0.1 else int(rng.integers(1, 5)) for _ in range(ndim))


def full_shape(rng: np.random.Generator, least: int = 0, most: int = 4) -> tuple[int, ...]:
    """Some axes of 1 to 4."""
    return tuple(int(n) for n in rng.integers(1, 5, int(rng.integers(least, most + 1))))


def broadcasting(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts to another: without some of the first axes, others 1."""
    kept = shape[int(rng.integers(0, len(shape) + 1)) :]
    return tuple(1 if rng.random() < 0.3 else n for n in kept)


def pair_of_shapes(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two that broadcast, in either order."""
    shape = random_shape(rng)
    shapes = (shape, broadcasting(rng, shape))
    return shapes if rng.random() < 0.5 else shapes[::-1]


def some_axes(rng: np.random.Generator, ndim: int) -> tuple[int, ...] | None:
    """None, or one axis or more, from either end."""
    if ndim == 0 or rng.random() < 0.2:
        return None
    chosen = rng.permutation(ndim)[: int(rng.integers(1, ndim + 1))]
    return tuple(int(a) - (ndim if rng.random() < 0.5 else 0) for a in chosen)
