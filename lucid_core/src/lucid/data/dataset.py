"""Map-style datasets."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from lucid.autograd import ArrayLike, array_of
from lucid.tensor import Tensor

__all__ = ["Dataset", "Subset", "TensorDataset", "check_dataset"]

T = TypeVar("T")


class Dataset(ABC, Generic[T]):
    """Map-style dataset with indices 0 to ``len(dataset) - 1``.

    Subclasses define ``__len__`` and ``__getitem__``.  Random augmentation should draw from
    :mod:`lucid.random`, which the loader seeds for every sample: results do not depend on the
    number of workers.  Worker processes need a picklable dataset.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> T:
        """Return one sample; raise IndexError after the last."""

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(len(self)))


class Subset(Dataset[T]):
    """Selected samples of another dataset.

    Parameters
    ----------
    dataset : Dataset or sequence
        Source of the samples.
    indices : iterable of int or of bool
        Sample indices in any order; they may repeat, and negative ones count from the end.
        Booleans are a mask over all samples.

    Raises
    ------
    IndexError
        If an index is out of range, or a mask has another length than the dataset.
    TypeError
        If an index is not an integer, or the dataset has no length.

    Examples
    --------
    >>> from lucid.data import Subset
    >>> list(Subset("abcd", [3, 0, -2]))
    ['d', 'a', 'c']
    """

    def __init__(
        self,
        dataset: Dataset[T] | Sequence[T],
        indices: Iterable[int] | Tensor | np.ndarray[Any, Any],
    ) -> None:
        check_dataset(dataset, "Subset")
        self.dataset = dataset
        self.indices = _indices(indices, len(dataset))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> T:
        return self.dataset[self.indices[operator.index(index)]]


def check_dataset(dataset: object, owner: str) -> None:
    """Raise TypeError, naming `owner`, unless an object has ``__len__`` and ``__getitem__``."""
    if isinstance(dataset, type):
        raise TypeError(
            f"{owner} expected a dataset, got the class {dataset.__name__}; "
            f"create an instance: {dataset.__name__}(...)"
        )
    missing = [name for name in ("__len__", "__getitem__") if not hasattr(dataset, name)]
    if missing:
        raise TypeError(
            f"{owner} expected a dataset with __len__ and __getitem__, got "
            f"{type(dataset).__name__} without {' and '.join(missing)}; pass list(...) of it "
            "if the samples fit in memory, or define a lucid.data.Dataset"
        )
    try:
        len(dataset)  # type: ignore[arg-type]
    except TypeError as error:  # as of an array without axes
        raise TypeError(f"{owner} expected a dataset with a length: {error}") from None


def _indices(given: Iterable[int] | Tensor | np.ndarray[Any, Any], size: int) -> list[int]:
    """Return indices in 0 to ``size - 1``."""
    if not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0:
        raise TypeError(
            f"Subset expected a sequence of indices, got {given!r} ({type(given).__name__}); "
            "for the first n samples pass range(n)"
        )
    values: list[Any] = list(array_of(given) if isinstance(given, Tensor) else given)
    booleans = sum(isinstance(value, bool | np.bool_) for value in values)
    if booleans:
        if booleans != len(values) or len(values) != size:
            raise IndexError(
                f"expected a mask of {size} booleans, got {booleans} booleans in {len(values)} "
                "values"
            )
        return [i for i, chosen in enumerate(values) if chosen]
    return [_index(value, position, size) for position, value in enumerate(values)]


def _index(value: Any, position: int, size: int) -> int:
    try:
        index = operator.index(value)
    except TypeError:
        raise TypeError(f"expected integer indices, got {value!r} (indices[{position}])") from None
    if not -size <= index < size:
        raise IndexError(
            f"index {index} is out of range for a dataset of {size} samples (indices[{position}])"
        )
    return index % size


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Dataset of array rows: sample i is ``(arrays[0][i], arrays[1][i], ...)``.

    Parameters
    ----------
    *arrays : Tensor or array-like
        Equal length along the first axis.  Rows of a tensor that requires gradients are tensors
        in its graph; others are arrays.

    Raises
    ------
    ValueError
        If the lengths differ, or there are no arrays.
    """

    def __init__(self, *arrays: ArrayLike) -> None:
        self.arrays = tuple(
            array if isinstance(array, Tensor) and array.requires_grad else array_of(array)
            for array in arrays
        )
        shapes = [array.shape for array in self.arrays]
        if len({shape[:1] for shape in shapes}) != 1 or shapes[0] == ():
            raise ValueError(f"expected arrays of equal length, got shapes {shapes}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(array[index] for array in self.arrays)
