"""Operations in place: they write into the memory of a tensor and record it where needed."""

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

__all__ = ["assign", "update", "writable"]


def update(
    target: Tensor, operation: Callable[[ArrayLike, ArrayLike], Tensor], other: ArrayLike
) -> Tensor:
    """Write ``operation(target, other)`` into the memory of ``target``; the operators ``+=`` etc.

    Parameters
    ----------
    target : Tensor
        What to change.
    operation : callable
        A binary operation.
    other : array-like
        Its second operand.

    Returns
    -------
    Tensor
        ``target``.

    Raises
    ------
    RuntimeError
        If ``target`` is a leaf that requires gradients, or its memory is shared and the
        change would have to be recorded.
    TypeError
        If the result has a dtype that ``target`` cannot hold.
    ValueError
        If the result has another shape, or the memory is read-only.
    """
    recorded = _is_recorded(target, other)
    first = target
    if recorded:
        _check_recordable(target)
        # The derivative may read what is overwritten here, so it gets a copy.
        first = new_tensor(target._data.copy(order="K"), target._node)
    result = operation(first, first if other is target else other)
    if result.shape != target.shape:
        raise ValueError(
            f"an operation in place cannot change the shape: expected {target.shape}, got "
            f"{result.shape}; write x = x + y in place of x += y"
        )
    if not np.can_cast(result.dtype, target.dtype, "same_kind"):
        raise TypeError(
            f"an operation in place cannot change the dtype: expected {target.dtype}, got "
            f"{result.dtype}; convert the tensor with astype() first, or write x = x + y"
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
    """``target[index] = value``, in the memory of ``target``.

    Parameters
    ----------
    target : Tensor
        What to change.
    index : object
        As NumPy takes it; ``...`` for everything.
    value : array-like
        Cast to the dtype of ``target`` and broadcast to the shape that ``index`` chooses.

    Raises
    ------
    RuntimeError
        As for `update`.
    ValueError
        If the shapes do not fit, or the memory is read-only.
    OverflowError
        If ``target`` holds integers and a Python integer does not fit.
    """
    recorded = _is_recorded(target, value)
    if recorded:
        _check_recordable(target)
    places = copy_index(index) if recorded else as_array_index(index)
    # NumPy checks the range of a Python number, and only of that.
    number = isinstance(value, (bool, int, float))
    values = np.asarray(value, target.dtype) if number else array_of(value, target.dtype)
    memory = writable(target)
    result = _recorded_assignment(target, places, value, values) if recorded else None
    try:
        memory[places] = values
    finally:
        mark_written(memory)
    if result is not None:
        _rebase_history(target, result)


def _recorded_assignment(target: Tensor, index: Any, value: ArrayLike, values: Array) -> Tensor:
    shape = values.shape
    # Without the memory: a tensor of the shape says as much.
    dims = np.broadcast_to(np.int8(0), target.shape)[index].ndim

    def by_target(g: Array) -> Array:
        gradient = g.copy(order="K")
        gradient[index] = 0
        return gradient

    def by_value(g: Array) -> Array:
        # Of several values for one element only the last was kept.
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
            "a leaf tensor that requires gradients cannot be changed in place while gradients "
            "are recorded; do it under lucid.no_grad()"
        )
    if has_other_references(target):
        raise RuntimeError(
            f"an operation in place on a tensor of shape {target.shape} has to be recorded, but "
            "its memory is shared with a view, a NumPy array or a recorded operation, whose "
            "gradients would be wrong; write x = x + y in place of x += y, assign to the base "
            "(x[i] = x[i] + y), or change a clone()"
        )


def _rebase_history(target: Tensor, result: Tensor) -> None:
    """Make ``target`` the output of the operation that computed ``result``."""
    target._node = result._node
    target._requires_grad = result._requires_grad


def writable(target: Variable) -> Array:
    """The array of a tensor, to be written into; ValueError if its memory is read-only."""
    if not target._data.flags.writeable:
        raise ValueError(
            f"the memory of this tensor of shape {target._data.shape} is read-only, as that of "
            "an expanded view or of a read-only array is; change a clone()"
        )
    return target._data
