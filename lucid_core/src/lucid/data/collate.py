"""Collate samples into a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from lucid.autograd import array_of
from lucid.ops import stack
from lucid.tensor import Tensor

__all__ = ["default_collate"]

_REMEDY = "make them equal in the dataset, or pass collate= to the DataLoader"


def default_collate(samples: Sequence[Any]) -> Any:
    """Stack samples into a batch along a new first axis.

    Parameters
    ----------
    samples : sequence
        Samples of equal structure: arrays and tensors of equal shape, numbers, text, or tuples,
        lists and dicts of them.

    Returns
    -------
    batch
        Arrays and numbers become tensors (int64, float32; arrays keep their dtype), text and
        None become lists; tuples, lists and dicts keep their structure.  Gradients flow back to
        sample tensors that require them.

    Raises
    ------
    ValueError
        If there are no samples, or shapes, lengths or keys differ.
    TypeError
        If a sample has another type, or samples differ in type.
    """
    if not len(samples):
        raise ValueError("expected at least one sample, got none")
    return _collated(list(samples), "")


def _collated(samples: list[Any], where: str) -> Any:
    kind = _kind(samples[0], where)
    for position, sample in enumerate(samples):
        if (other := _kind(sample, where)) != kind:
            raise TypeError(
                f"cannot collate samples{where} of different types: sample 0 of the batch is "
                f"{kind} ({type(samples[0]).__name__}), sample {position} is {other} "
                f"({type(sample).__name__}); {_REMEDY}"
            )
    if kind == "text":
        return samples
    if kind == "a number":
        return _stacked(samples, where)
    if kind == "a mapping":
        keys = [sample.keys() for sample in samples]
        _check_equal(keys, f"{where} with different keys", lambda names: sorted(map(str, names)))
        return {
            key: _collated([sample[key] for sample in samples], f"{where}[{key!r}]")
            for key in keys[0]
        }
    lengths = [len(sample) for sample in samples]
    _check_equal(lengths, f"{where} of different lengths", "{} entries".format)
    columns = [
        _collated(list(column), f"{where}[{i}]")
        for i, column in enumerate(zip(*samples, strict=True))
    ]
    first = samples[0]
    if hasattr(first, "_fields"):  # a named tuple
        return type(first)(*columns)
    return columns if isinstance(first, list) else tuple(columns)


def _kind(sample: Any, where: str) -> str:
    """Return how a sample is collated; None is treated as text."""
    if isinstance(sample, Tensor | np.ndarray | np.generic | bool | int | float):
        return "a number"
    if sample is None or isinstance(sample, str | bytes | PathLike):
        return "text"
    if isinstance(sample, Mapping):
        return "a mapping"
    if isinstance(sample, tuple | list):
        return "a sequence"
    raise TypeError(f"cannot collate {type(sample).__name__}{where}; {_REMEDY}")


def _check_equal(values: list[Any], where: str, show: Callable[[Any], Any] = str) -> None:
    for position, value in enumerate(values):
        if value != values[0]:
            raise ValueError(
                f"cannot collate samples{where}: sample 0 of the batch has {show(values[0])}, "
                f"sample {position} has {show(value)}; {_REMEDY}"
            )


def _stacked(samples: list[Any], where: str) -> Tensor:
    if not any(isinstance(sample, Tensor | np.ndarray | np.generic) for sample in samples):
        numbers = np.array(samples)
        return Tensor(numbers.astype(np.float32) if numbers.dtype.kind == "f" else numbers)
    arrays = [array_of(sample) for sample in samples]
    _check_equal([array.shape for array in arrays], f"{where} of different shapes")
    if any(isinstance(sample, Tensor) and sample.requires_grad for sample in samples):
        return stack(samples)  # records the graph
    return Tensor(np.stack(arrays))
