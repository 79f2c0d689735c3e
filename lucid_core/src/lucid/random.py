"""Random numbers: one seeded generator by default, others where independence matters.

Everything random in Lucid (initial weights, dropout, shuffling, sampling) draws
from the default generator unless it is given another, so ``lucid.random.seed(0)``
makes a program repeatable.
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
    """A stream of random numbers (NumPy's PCG64).

    Parameters
    ----------
    seed : int or sequence of int, optional
        Seed of the stream; default: a random seed from the operating system.

    Attributes
    ----------
    numpy : numpy.random.Generator
        The NumPy generator behind it, for distributions that are not here.
    """

    def __init__(self, seed: int | Sequence[int] | None = None) -> None:
        # The seed is drawn here, so that copies and forked processes draw the same numbers.
        self._seed = int.from_bytes(os.urandom(16), "little") if seed is None else seed
        if seed is not None:
            _ = self.numpy  # raises for a bad seed

    @cached_property
    def numpy(self) -> np.random.Generator:
        # Created on first use: NumPy imports numpy.random lazily, which takes about 9 ms.
        generator = np.random.Generator(np.random.PCG64(self._seed))
        # Atomic, so that threads which create it at the same time all get the same one.
        shared: np.random.Generator = self.__dict__.setdefault("numpy", generator)
        return shared

    def seed(self, seed: int | Sequence[int] | None) -> None:
        """Start again from ``seed``."""
        self.numpy.bit_generator.state = np.random.PCG64(seed).state

    def get_state(self) -> dict[str, Any]:
        """Where the stream stands, as a dict of strings and integers that JSON can hold."""
        return dict(self.numpy.bit_generator.state)

    def set_state(self, state: dict[str, Any]) -> None:
        """Return to where :meth:`get_state` was called."""
        self.numpy.bit_generator.state = state

    def randn(self, *shape: Shape, dtype: DTypeLike = float32) -> Tensor:
        """Standard normal numbers; the shape as separate integers or as one sequence."""
        return Tensor(self._drawn(self.numpy.standard_normal, shape_of(shape), dtype))

    def rand(self, *shape: Shape, dtype: DTypeLike = float32) -> Tensor:
        """Numbers from 0 (included) to 1 (excluded), evenly distributed."""
        return Tensor(self._drawn(self.numpy.random, shape_of(shape), dtype))

    def _drawn(self, draw: Any, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray[Any, Any]:
        wanted = supported_dtype(dtype)
        if wanted.kind != "f":
            raise TypeError(f"these numbers are floats, not {wanted}")
        native = wanted if wanted.itemsize in (4, 8) else float32
        return np.asarray(draw(shape, dtype=native), dtype=wanted)

    def randint(
        self, low: int, high: int | None = None, size: Shape = (), dtype: DTypeLike = int64
    ) -> Tensor:
        """Integers from ``low`` up to but without ``high``; ``randint(n)`` starts at 0."""
        first, last = (0, low) if high is None else (low, high)
        if last <= first:
            raise ValueError(f"randint needs low < high, got {first} and {last}")
        drawn = self.numpy.integers(first, last, size=shape_of((size,)))
        return Tensor(np.asarray(drawn, dtype=supported_dtype(dtype)))

    def permutation(self, n: int) -> Tensor:
        """The integers 0 to n - 1 in random order."""
        return Tensor(self.numpy.permutation(n))

    def choice(
        self, a: int | ArrayLike, size: Shape = (), replace: bool = True, p: ArrayLike | None = None
    ) -> Tensor:
        """Elements of ``a`` (or of 0 to a - 1), with probabilities ``p`` where given."""
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
