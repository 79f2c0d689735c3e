"""One example call of a public operation, method or layer, and the arrays it is made with."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

#: A length that the walks choose: three, or zero for an empty axis.
N = "N"
LENGTH = 3


@dataclass(frozen=True)
class Drawn:
    """A random array: its shape, of which any length may be ``N``, and its numbers."""

    shape: tuple[Any, ...]
    kind: str
    low: float | None = None
    high: float | None = None

    def array(self, rng: np.random.Generator, length: int = LENGTH) -> Array:
        shape = tuple(length if n is N else n for n in self.shape)
        if self.kind == "b":
            return np.asarray(rng.random(shape) < 0.5)
        if self.kind == "i":
            return np.asarray(rng.integers(self.low or 0, self.high or 10, shape))
        if self.low is None:
            return np.asarray(rng.standard_normal(shape))
        return np.asarray(rng.uniform(self.low, self.high, shape))


def floats(*shape: Any, low: float | None = None, high: float | None = None) -> Drawn:
    """Floats: normal, or even from ``low`` to ``high``."""
    return Drawn(shape, "f", low, high)


def whole(*shape: Any, low: int = 0, high: int = 10) -> Drawn:
    """Integers from ``low`` up to but without ``high``."""
    return Drawn(shape, "i", low, high)


def truths(*shape: Any) -> Drawn:
    """Booleans."""
    return Drawn(shape, "b")


@dataclass(frozen=True)
class Example:
    """A call with arrays first and settings after them.

    Attributes
    ----------
    key
        The public name, such as ``lucid.sum``, ``functional.gelu``, ``Tensor.sum`` or
        ``nn.Conv2d``, and after a blank what sets this example apart.
    call
        What is called.
    drawn
        The arrays that it takes first.
    settings, options
        The other positional and the keyword arguments.
    gradient
        Whether floating arrays are differentiated by; otherwise the result
        requires no gradient even where they do.
    two
        Whether the first two arrays are the operands of an operation that
        broadcasts, so that either may be a scalar.
    sized
        Whether the shape of the result follows from the shapes of the arrays.
    plain
        Whether the call takes NumPy arrays where it takes tensors.
    """

    key: str
    call: Callable[..., Any]
    drawn: tuple[Drawn, ...]
    settings: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    gradient: bool = True
    two: bool = False
    sized: bool = True
    plain: bool = True

    @property
    def name(self) -> str:
        return self.key.partition(" ")[0]

    @property
    def may_be_empty(self) -> bool:
        return any(N in drawn.shape for drawn in self.drawn)

    def arrays(self, dtype: str, length: int = LENGTH) -> list[Array]:
        """The arrays, always the same ones, floats in the dtype asked for."""
        rng = np.random.default_rng(zlib.crc32(self.key.encode()))
        drawn = [d.array(rng, length) for d in self.drawn]
        return [a.astype(dtype) if a.dtype.kind == "f" else a for a in drawn]

    def __call__(self, *tensors: Any) -> Any:
        return self.call(*tensors, *self.settings, **self.options)

    def with_numpy_settings(self, *tensors: Any) -> Any:
        """The call with every number among the settings as NumPy's scalar.

        Truths stay Python's: NumPy itself takes none of its own for ``keepdims``.
        """
        settings = [_numpys(s) for s in self.settings]
        return self.call(*tensors, *settings, **{k: _numpys(v) for k, v in self.options.items()})


def _numpys(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return np.int64(value)
    if isinstance(value, float):
        return np.float64(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_numpys(v) for v in value)
    return value


def results(value: Any) -> list[Any]:
    """The tensors that a call returned: one, or several."""
    return list(value) if isinstance(value, Sequence) else [value]
