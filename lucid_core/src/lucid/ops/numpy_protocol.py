"""NumPy's functions and operators on tensors: ``__array_ufunc__`` and ``__array_function__``.

Without gradients a NumPy function takes tensors as the arrays that they hold and gives an
array; only the operators give a tensor where an array stands on the left.  Where a gradient
would have to pass, the operation of Lucid of that name is recorded, and a function that Lucid
does not have raises, as a result without its gradient would be wrong without a word.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid import ops
from lucid.autograd import Variable, is_grad_enabled
from lucid.autograd.mutation import expose, mark_written
from lucid.autograd.primitive import needs_grad
from lucid.ops.inplace import writable

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = ["call_function", "call_ufunc"]

#: Universal functions that are Python's operators.
_OPERATORS = {
    name: getattr(ops, name)
    for name in (
        "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "matmul",
        "bitwise_and", "bitwise_or", "bitwise_xor", "equal", "not_equal", "less", "less_equal",
        "greater", "greater_equal",
    )
}  # fmt: skip

#: Universal functions by NumPy's name.
_UFUNCS: dict[str, Callable[..., Tensor]] = {
    **_OPERATORS,
    **{
        name: getattr(ops, name)
        for name in (
            "ceil", "cos", "exp", "floor", "log", "maximum", "minimum", "negative", "positive",
            "reciprocal", "sign", "sin", "sqrt", "square", "tan", "tanh",
        )
    },
    "absolute": ops.abs,
    "rint": ops.round,
}  # fmt: skip


def _sum(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return ops.sum(a, axis, keepdims)


def _mean(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return ops.mean(a, axis, keepdims)


def _prod(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return ops.prod(a, axis, keepdims)


def _max(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return ops.max(a, axis, keepdims)


def _min(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return ops.min(a, axis, keepdims)


def _var(a: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    return ops.var(a, axis, ddof, keepdims)


def _std(a: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    return ops.std(a, axis, ddof, keepdims)


def _cumsum(a: Any, axis: int | None = None) -> Tensor:
    return ops.cumsum(ops.reshape(a, -1), 0) if axis is None else ops.cumsum(a, axis)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return ops.clip(a, a_min if min is None else min, a_max if max is None else max)


def _round(a: Any, decimals: int = 0) -> Tensor:
    return ops.round(a, decimals)


def _norm(x: Any, ord: float | None = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    if ord is not None and not isinstance(axis, int) and (axis is not None or x.ndim != 1):
        raise TypeError(f"np.linalg.norm of a matrix with ord={ord!r} has no gradient in Lucid")
    return ops.norm(x, 2 if ord is None else ord, axis, keepdims)


def _reshape(a: Any, shape: Any) -> Tensor:
    return ops.reshape(a, shape)


def _ravel(a: Any) -> Tensor:
    return ops.reshape(a, -1)


def _transpose(a: Any, axes: Any = None) -> Tensor:
    return ops.transpose(a) if axes is None else ops.permute(a, axes)


def _swapaxes(a: Any, axis1: int, axis2: int) -> Tensor:
    return ops.transpose(a, axis1, axis2)


def _expand_dims(a: Any, axis: int) -> Tensor:
    return ops.unsqueeze(a, axis)


def _squeeze(a: Any, axis: Any = None) -> Tensor:
    return ops.squeeze(a, axis)


def _broadcast_to(array: Any, shape: Any) -> Tensor:
    return ops.broadcast_to(array, shape)


def _flip(m: Any, axis: Any = None) -> Tensor:
    return ops.flip(m, axis)


def _repeat(a: Any, repeats: int, axis: int | None = None) -> Tensor:
    if axis is None:
        return ops.repeat_interleave(ops.reshape(a, -1), repeats, 0)
    return ops.repeat_interleave(a, repeats, axis)


def _tile(A: Any, reps: Any) -> Tensor:
    return ops.tile(A, reps)


def _tril(m: Any, k: int = 0) -> Tensor:
    return ops.tril(m, k)


def _triu(m: Any, k: int = 0) -> Tensor:
    return ops.triu(m, k)


def _concatenate(arrays: Any, axis: int | None = 0) -> Tensor:
    if axis is None:
        return ops.concatenate([ops.reshape(a, -1) for a in arrays])
    return ops.concatenate(arrays, axis)


def _dot(a: Any, b: Any) -> Tensor:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return ops.multiply(a, b)
    if np.ndim(b) > 2:
        raise TypeError("np.dot with more than two axes has no gradient in Lucid; use np.matmul")
    return ops.matmul(a, b)


#: Other functions, with NumPy's names for the arguments.
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _sum, np.mean: _mean, np.prod: _prod, np.max: _max, np.amax: _max, np.min: _min,
    np.amin: _min, np.var: _var, np.std: _std, np.cumsum: _cumsum, np.clip: _clip,
    np.round: _round, np.around: _round, np.linalg.norm: _norm, np.reshape: _reshape,
    np.ravel: _ravel, np.transpose: _transpose, np.swapaxes: _swapaxes,
    np.expand_dims: _expand_dims, np.squeeze: _squeeze, np.broadcast_to: _broadcast_to,
    np.flip: _flip, np.repeat: _repeat, np.tile: _tile, np.tril: _tril, np.triu: _triu,
    np.moveaxis: ops.moveaxis, np.roll: ops.roll, np.concatenate: _concatenate,
    np.stack: ops.stack, np.where: ops.where, np.einsum: ops.einsum, np.dot: _dot,
}  # fmt: skip

#: Functions whose result depends on the shape and dtype of a tensor alone.
_CONSTANT = {np.zeros_like, np.ones_like, np.empty_like, np.full_like}
#: Functions that write into their first argument.
_WRITING = {np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis}


def call_ufunc(
    ufunc: np.ufunc, method: str, inputs: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """The result of a universal function of NumPy that was given a tensor.

    Parameters
    ----------
    ufunc : numpy.ufunc
        The function.
    method : str
        ``"__call__"``, ``"reduce"``, ``"at"``, ...
    inputs : sequence
        Arrays, tensors and numbers.
    kwargs : mapping
        Further arguments; ``out`` is a tuple.

    Returns
    -------
    Tensor or numpy.ndarray
        A recorded tensor where a gradient has to pass.  Otherwise ``out`` where it was given, a
        tensor for an operator with an array on the left, and else an array.

    Raises
    ------
    TypeError
        If a gradient has to pass and Lucid has no such operation, or ``out`` was given.
    """
    plain_call = method == "__call__" and not kwargs
    if _is_recorded((inputs, kwargs)):
        if plain_call and ufunc.__name__ in _UFUNCS:
            return _UFUNCS[ufunc.__name__](*inputs)
        if kwargs.get("out") is not None or method == "at":
            raise _lost(f"np.{ufunc.__name__} into an array")
    elif plain_call and ufunc.__name__ in _OPERATORS and isinstance(inputs[0], _ARRAYS):
        return _OPERATORS[ufunc.__name__](*inputs)
    targets = [out for out in kwargs.get("out", ()) if isinstance(out, Variable)]
    if method == "at" and isinstance(inputs[0], Variable):
        targets.append(inputs[0])
    return _call(getattr(ufunc, method), f"np.{ufunc.__name__}", inputs, kwargs, targets)


_ARRAYS = (np.ndarray, np.generic)


def call_function(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """The result of a function of NumPy that was given a tensor; compare `call_ufunc`."""
    name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
    writes = function in _WRITING
    if _is_recorded((args, kwargs)) and function not in _CONSTANT:
        if function in _FUNCTIONS:
            own = _FUNCTIONS[function]
            try:
                inspect.signature(own).bind(*args, **kwargs)
            except TypeError as error:
                raise _lost(f"{name} with these arguments ({error})") from None
            return own(*args, **kwargs)
        if writes or kwargs.get("out") is not None:
            raise _lost(f"{name} into an array")
    targets = [out for out in (kwargs.get("out"), *args[:writes]) if isinstance(out, Variable)]
    return _call(function, name, args, kwargs, targets, constant=function in _CONSTANT)


def _call(
    function: Callable[..., Any],
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    targets: Sequence[Variable],
    constant: bool = False,
) -> Any:
    """Call with the arrays of tensors, ``targets`` being written."""
    for target in targets:
        writable(target)
    recorded = _is_recorded((args, kwargs)) and not constant
    plain = {key: _without_tensors(value) for key, value in kwargs.items()}
    try:
        result = function(*(_without_tensors(value) for value in args), **plain)
    finally:
        for target in targets:
            mark_written(target._data)
    if recorded and _has_floats(result):
        raise _lost(name)
    for target in targets:
        if result is target._data:
            return target
    return result


def _is_recorded(given: Any) -> bool:
    return is_grad_enabled() and _holds_recorded(given)


def _holds_recorded(value: Any) -> bool:
    if isinstance(value, Variable):
        return needs_grad(value)
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return False
    return any(map(_holds_recorded, value))


def _has_floats(result: Any) -> bool:
    if isinstance(result, (list, tuple)):
        return any(map(_has_floats, result))
    return isinstance(result, (*_ARRAYS, float)) and np.asarray(result).dtype.kind in "fO"


def _lost(name: str) -> TypeError:
    return TypeError(
        f"{name} of a tensor that requires gradients would lose the gradient: use an operation "
        "of lucid, or pass x.detach() to compute without the gradient"
    )


def _without_tensors(value: Any) -> Any:
    """Arrays in place of tensors, in lists and tuples too."""
    if isinstance(value, Variable):
        expose(value._data)  # the result may be a view
        return value._data
    if type(value) in (list, tuple):
        return type(value)(_without_tensors(item) for item in value)
    return value
