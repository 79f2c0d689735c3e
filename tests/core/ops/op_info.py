"""Sample call of an operation, method or layer, as PyTorch's ``OpInfo``."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

#: Placeholder for a length: three, or zero for an empty axis.
N = "N"
LENGTH = 3


@dataclass(frozen=True)
class Sample:
    """Shape, kind and range of a random input; a length may be ``N``."""

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


def floats(*shape: Any, low: float | None = None, high: float | None = None) -> Sample:
    """Floats: standard normal, or uniform on [``low``, ``high``)."""
    return Sample(shape, "f", low, high)


def integers(*shape: Any, low: int = 0, high: int = 10) -> Sample:
    """Integers in [``low``, ``high``)."""
    return Sample(shape, "i", low, high)


def booleans(*shape: Any) -> Sample:
    """Booleans."""
    return Sample(shape, "b")


@dataclass(frozen=True)
class OpInfo:
    """A call with arrays first and settings after them.

    Attributes
    ----------
    key
        Public name, such as ``lucid.sum``, ``functional.gelu``, ``Tensor.sum`` or ``nn.Conv2d``,
        and after a blank the variant.
    call
        Function to call.
    samples
        Array arguments.
    settings, options
        Other positional and keyword arguments.
    gradient
        Whether the operation is differentiable; otherwise its result requires no gradient.
    two
        Whether the first two arrays broadcast, so that either may be a scalar.
    sized
        Whether the shape of the result follows from the shapes of the arrays.
    plain
        Whether the call accepts NumPy arrays in place of tensors.
    """

    key: str
    call: Callable[..., Any]
    samples: tuple[Sample, ...]
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
        return any(N in samples.shape for samples in self.samples)

    def arrays(self, dtype: str, length: int = LENGTH) -> list[Array]:
        """Create the arrays, seeded by the key, with floats in the given dtype."""
        rng = np.random.default_rng(zlib.crc32(self.key.encode()))
        samples = [d.array(rng, length) for d in self.samples]
        return [a.astype(dtype) if a.dtype.kind == "f" else a for a in samples]

    def __call__(self, *tensors: Any) -> Any:
        return self.call(*tensors, *self.settings, **self.options)

    def with_numpy_settings(self, *tensors: Any) -> Any:
        """Call with NumPy scalars in place of Python numbers, except booleans."""
        settings = [_to_numpy(s) for s in self.settings]
        return self.call(*tensors, *settings, **{k: _to_numpy(v) for k, v in self.options.items()})


def _to_numpy(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return np.int64(value)
    if isinstance(value, float):
        return np.float64(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_to_numpy(v) for v in value)
    return value


def results(value: Any) -> list[Any]:
    """Return the results of a call as a list."""
    return list(value) if isinstance(value, Sequence) else [value]
