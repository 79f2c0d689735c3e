"""From a list of samples to one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from lucid.autograd import array_of
from lucid.tensor import Tensor

__all__ = ["default_collate"]


def default_collate(samples: Sequence[Any]) -> Any:
    """Stack samples into a batch, along a new first axis.

    Parameters
    ----------
    samples : sequence
        Alike in structure: arrays and tensors of one shape, numbers, text, or
        tuples, lists and dicts of them.

    Returns
    -------
    batch
        Tensors where the samples have arrays or numbers (ints as int64, floats
        as float32; arrays keep their dtype), lists where they have text or
        None; tuples, lists and dicts as in a sample.

    Raises
    ------
    ValueError
        If shapes, lengths or keys differ.
    TypeError
        If a sample holds something else.
    """
    return _collated(list(samples), "")


def _collated(samples: list[Any], where: str) -> Any:
    first = samples[0]
    if isinstance(first, Tensor | np.ndarray | np.generic):
        return _stacked([array_of(sample) for sample in samples], where)
    if isinstance(first, bool | int | float):
        numbers = np.array(samples)
        return Tensor(numbers.astype(np.float32) if numbers.dtype.kind == "f" else numbers)
    if first is None or isinstance(first, str | bytes | PathLike):
        return samples
    if isinstance(first, Mapping):
        return _collated_dicts(samples, where)
    if isinstance(first, tuple | list):
        lengths = sorted({len(sample) for sample in samples})
        if len(lengths) > 1:
            raise ValueError(
                f"cannot make a batch of samples{where} with {lengths[0]} to {lengths[-1]} "
                "entries; give the loader a collate of its own"
            )
        columns = [
            _collated(list(column), f"{where}[{i}]")
            for i, column in enumerate(zip(*samples, strict=True))
        ]
        if hasattr(first, "_fields"):  # a named tuple
            return type(first)(*columns)
        return columns if isinstance(first, list) else tuple(columns)
    kind = type(first).__name__
    raise TypeError(f"cannot make a batch of {kind}{where}; give the loader a collate of its own")


def _stacked(arrays: list[np.ndarray[Any, Any]], where: str) -> Tensor:
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if len(shapes) > 1:
        raise ValueError(
            f"cannot stack samples{where} of different shapes, "
            f"{' and '.join(map(str, shapes[:4]))}; give the loader a collate of its own"
        )
    return Tensor(np.stack(arrays))


def _collated_dicts(samples: list[Any], where: str) -> dict[Any, Any]:
    keys = samples[0].keys()
    for sample in samples:
        if sample.keys() != keys:
            raise ValueError(
                f"cannot make a batch of samples{where} with keys {sorted(map(str, keys))} "
                f"and {sorted(map(str, sample.keys()))}"
            )
    return {
        key: _collated([sample[key] for sample in samples], f"{where}[{key!r}]") for key in keys
    }
