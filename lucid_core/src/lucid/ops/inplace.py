"""In-place operations: write into the memory of a tensor and record the change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.autograd import ArrayLike, Variable, array_of, is_grad_enabled, record, unbroadcast
from lucid.autograd.mutation import has_other_references, mark_written
from lucid.autograd.primitive import needs_grad
from lucid.autograd.variable import Array, new_tensor
from lucid.ops.index import as_array_index, copy_index, last_assigned

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = ["assign", "operator", "update", "writable"]


def operator(
    operation: Callable[[ArrayLike, ArrayLike], Tensor],
) -> Callable[[Tensor, ArrayLike], Tensor]:
    """Make ``__iadd__`` etc. of a binary operation."""

    def call(self: Tensor, other: ArrayLike) -> Tensor:
        return update(self, operation, other)

    return call


def update(
    target: Tensor, operation: Callable[[ArrayLike, ArrayLike], Tensor], other: ArrayLike
) -> Tensor:
    """Write ``operation(target, other)`` into ``target`` and return it; for ``+=`` etc."""
    recorded = _is_recorded(target, other)
    first = target
    if recorded:
        _check_recordable(target)
        # The vjp may read the overwritten values, so it gets a copy.
        first = new_tensor(target._data.copy(order="K"), target._node)
    result = operation(first, first if other is target else other)
    if result.shape != target.shape:
        raise ValueError(
            f"in-place operation expected a result of shape {target.shape}, got {result.shape}; "
            "write x = x + y instead of x += y"
        )
    if not np.can_cast(result.dtype, target.dtype, "same_kind"):
        raise TypeError(
            f"in-place operation expected a result of dtype {target.dtype}, got {result.dtype}; "
            "write x = x + y instead of x += y"
        )
    memory = writable(target)
    try:
        memory[...] = result._data
    finally:
        mark_written(memory)
    if recorded:
        _rebase_history(target, result)
    return target


def assign(target: Tensor, index: Any, value: ArrayLike) -> None:
    """Assign ``target[index] = value``, cast to the dtype of ``target``."""
    recorded = _is_recorded(target, value)
    if recorded:
        _check_recordable(target)
    selected = copy_index(index) if recorded else as_array_index(index)
    # NumPy checks the range of Python numbers only.
    is_number = isinstance(value, (bool, int, float))
    values = np.asarray(value, target.dtype) if is_number else array_of(value, target.dtype)
    memory = writable(target)
    result = _recorded_assignment(target, selected, value, values) if recorded else None
    try:
        memory[selected] = values
    finally:
        mark_written(memory)
    if result is not None:
        _rebase_history(target, result)


def _recorded_assignment(target: Tensor, index: Any, value: ArrayLike, values: Array) -> Tensor:
    shape = values.shape
    # Only the number of axes is needed: index a broadcast scalar.
    dims = np.broadcast_to(np.int8(0), target.shape)[index].ndim

    def by_target(g: Array) -> Array:
        gradient = g.copy(order="K")
        gradient[index] = 0
        return gradient

    def by_value(g: Array) -> Array:
        # Of several values for one element, the last was stored.
        chosen = np.asarray(last_assigned(g, index))
        return unbroadcast(chosen, shape[max(0, len(shape) - dims) :]).reshape(shape)

    before = new_tensor(target._data, target._node)
    return record(target._data, (before, by_target), (value, by_value))


def _is_recorded(target: Tensor, other: object) -> bool:
    return is_grad_enabled() and (
        target._requires_grad or (needs_grad(other) and target.dtype.kind == "f")
    )


def _check_recordable(target: Tensor) -> None:
    if target._requires_grad and target._node is None:
        raise RuntimeError(
            "cannot change a leaf tensor that requires gradients in place; use lucid.no_grad()"
        )
    if has_other_references(target):
        raise RuntimeError(
            f"cannot record an in-place operation on a tensor of shape {target.shape} whose memory "
            "is shared with a view, a NumPy array or a recorded operation; write x = x + y instead "
            "of x += y, or x[i] = x[i] + y for a view"
        )


def _rebase_history(target: Tensor, result: Tensor) -> None:
    """Make ``target`` the output of the operation of ``result``, as PyTorch's rebase_history."""
    target._node = result._node
    target._requires_grad = result._requires_grad


def writable(target: Variable) -> Array:
    """Return the array of a tensor; ValueError if its memory is read-only."""
    if not target._data.flags.writeable:
        raise ValueError(
            f"expected writable memory, got a read-only tensor of shape {target._data.shape} "
            "(expanded, or over a read-only array); change a clone()"
        )
    return target._data
