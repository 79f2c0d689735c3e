"""Datasets: anything with a length and samples by number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from lucid.autograd import ArrayLike, array_of

__all__ = ["Dataset", "Subset", "TensorDataset"]

T = TypeVar("T")


class Dataset(ABC, Generic[T]):
    """Samples by number, 0 to ``len(dataset) - 1``.

    A subclass defines ``__len__`` and ``__getitem__``.  What is random in a
    sample (augmentation) should draw from :mod:`lucid.random`: the loader seeds
    it for every sample, so that results do not depend on the number of workers.
    To be read by worker processes, a dataset must be picklable.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> T:
        """One sample; IndexError beyond the last."""

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(len(self)))


class Subset(Dataset[T]):
    """Some samples of another dataset.

    Parameters
    ----------
    dataset : Dataset or sequence
        Where the samples come from.
    indices : sequence of int
        Their numbers there, in any order; a number may come several times.

    Raises
    ------
    IndexError
        If a number is not one of the dataset's.
    """

    def __init__(
        self, dataset: Dataset[T] | Sequence[T], indices: Sequence[int] | np.ndarray[Any, Any]
    ) -> None:
        self.dataset = dataset
        self.indices = [int(index) for index in indices]
        size = len(dataset)
        for index in self.indices:
            if not -size <= index < size:
                raise IndexError(f"a subset of {size} samples cannot hold number {index}")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> T:
        return self.dataset[self.indices[index]]


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Rows of arrays: sample i is ``(arrays[0][i], arrays[1][i], ...)``.

    Parameters
    ----------
    *arrays : Tensor or array-like
        All with the same first axis.

    Raises
    ------
    ValueError
        If their first axes differ, or there are none.
    """

    def __init__(self, *arrays: ArrayLike) -> None:
        self.arrays = tuple(array_of(array) for array in arrays)
        shapes = [array.shape for array in self.arrays]
        if len({shape[:1] for shape in shapes}) != 1 or shapes[0] == ():
            raise ValueError(
                f"TensorDataset needs arrays with the same first axis, got shapes {shapes}"
            )

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(array[index] for array in self.arrays)
