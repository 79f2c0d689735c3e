"""Random number generators.

Everything random in Lucid (weight initialization, dropout, shuffling, sampling) uses the
default generator unless another one is passed: ``lucid.random.seed(0)`` makes a program
reproducible.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from lucid.autograd import ArrayLike, array_of
from lucid.dtypes import DTypeLike, float32, float64, int64, supported_dtype
from lucid.hints import add_class_hints, add_hints
from lucid.ops.shape import Shape, shape_of
from lucid.tensor import Tensor

__all__ = [
    "Generator",
    "choice",
    "default_generator",
    "get_state",
    "permutation",
    "rand",
    "randint",
    "randn",
    "seed",
    "set_state",
]


class Generator:
    """Random number generator (NumPy's PCG64).

    Parameters
    ----------
    seed : int or sequence of int, optional
        Seed; default a random seed from the operating system.

    Attributes
    ----------
    numpy : numpy.random.Generator
        Underlying NumPy generator, for other distributions.
    """

    def __init__(self, seed: int | Sequence[int] | None = None) -> None:
        # Drawn here, so that copies and forked processes have the same seed.
        self._seed = int.from_bytes(os.urandom(16), "little") if seed is None else seed
        if seed is not None:
            _ = self.numpy  # raises for an invalid seed

    @cached_property
    def numpy(self) -> np.random.Generator:
        # Created on first use: NumPy imports numpy.random lazily, which takes about 9 ms.
        generator = np.random.Generator(np.random.PCG64(self._seed))
        # Atomic: all threads get the same generator.
        shared: np.random.Generator = self.__dict__.setdefault("numpy", generator)
        return shared

    def seed(self, seed: int | Sequence[int] | None) -> None:
        """Set the seed."""
        self.numpy.bit_generator.state = np.random.PCG64(seed).state

    def get_state(self) -> dict[str, Any]:
        """Return the state as a JSON-serializable dict."""
        return dict(self.numpy.bit_generator.state)

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`get_state`."""
        self.numpy.bit_generator.state = state

    def randn(self, *shape: Shape, dtype: DTypeLike = float32) -> Tensor:
        """Draw from the standard normal distribution; shape as integers or one sequence."""
        return Tensor(self._draw(self.numpy.standard_normal, shape_of(shape), dtype))

    def rand(self, *shape: Shape, dtype: DTypeLike = float32) -> Tensor:
        """Draw from the uniform distribution on [0, 1); shape as integers or one sequence."""
        return Tensor(self._draw(self.numpy.random, shape_of(shape), dtype))

    def _draw(self, draw: Any, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray[Any, Any]:
        result = supported_dtype(dtype)
        if result.kind != "f":
            raise TypeError(f"expected a floating dtype, got {result}")
        native = result if result.itemsize in (4, 8) else float32
        return np.asarray(draw(shape, dtype=native), dtype=result)

    def randint(
        self, low: int, high: int | None = None, size: Shape = (), dtype: DTypeLike = int64
    ) -> Tensor:
        """Draw integers in [``low``, ``high``); ``randint(n)`` starts at 0."""
        first, last = (0, low) if high is None else (low, high)
        if last <= first:
            raise ValueError(f"randint expected low < high, got {first} and {last}")
        drawn = self.numpy.integers(first, last, size=shape_of((size,)))
        return Tensor(np.asarray(drawn, dtype=supported_dtype(dtype)))

    def permutation(self, n: int) -> Tensor:
        """Draw a random permutation of 0 to n - 1."""
        return Tensor(self.numpy.permutation(n))

    def choice(
        self, a: int | ArrayLike, size: Shape = (), replace: bool = True, p: ArrayLike | None = None
    ) -> Tensor:
        """Draw elements of ``a`` (of 0 to a - 1 for an integer), with probabilities ``p``."""
        population: Any = a if isinstance(a, (int, np.integer)) else array_of(a)
        weights = None if p is None else array_of(p, float64)
        return Tensor(
            np.asarray(self.numpy.choice(population, shape_of((size,)), replace=replace, p=weights))
        )


add_class_hints(Generator, "Generator")
default_generator = Generator()

seed = default_generator.seed
get_state = default_generator.get_state
set_state = default_generator.set_state
randn = default_generator.randn
rand = default_generator.rand
randint = default_generator.randint
permutation = default_generator.permutation
choice = default_generator.choice

add_hints(globals())
