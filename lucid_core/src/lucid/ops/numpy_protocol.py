"""NumPy functions on tensors: ``__array_ufunc__`` and ``__array_function__``.

Without gradients, NumPy functions treat tensors as arrays and return arrays; operators with an
array on the left return tensors.  With gradients, the Lucid operation of the same name is
recorded; functions without one raise, so that no gradient is lost silently.
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

#: Ufuncs of Python's operators.
_OPERATORS = {
    name: getattr(ops, name)
    for name in (
        "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "matmul",
        "bitwise_and", "bitwise_or", "bitwise_xor", "equal", "not_equal", "less", "less_equal",
        "greater", "greater_equal",
    )
}  # fmt: skip

#: Ufuncs by NumPy's name.
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


# Below, arguments are named as in NumPy, so that they can be passed by keyword.


def _reduction(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
        return operation(a, axis, keepdims)

    return call


def _moment(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(a: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
        return operation(a, axis, ddof, keepdims)

    return call


def _cumsum(a: Any, axis: int | None = None) -> Tensor:
    return ops.cumsum(ops.reshape(a, -1), 0) if axis is None else ops.cumsum(a, axis)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return ops.clip(a, a_min if min is None else min, a_max if max is None else max)


def _norm(x: Any, ord: float | None = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    if ord is not None and not isinstance(axis, int) and (axis is not None or x.ndim != 1):
        raise TypeError(f"np.linalg.norm of a matrix with ord={ord!r} has no gradient in Lucid")
    return ops.norm(x, 2 if ord is None else ord, axis, keepdims)


def _transpose(a: Any, axes: Any = None) -> Tensor:
    return ops.transpose(a) if axes is None else ops.permute(a, axes)


def _repeat(a: Any, repeats: int, axis: int | None = None) -> Tensor:
    if axis is None:
        return ops.repeat_interleave(ops.reshape(a, -1), repeats, 0)
    return ops.repeat_interleave(a, repeats, axis)


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


_max, _min = _reduction(ops.max), _reduction(ops.min)

#: Other functions.
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _reduction(ops.sum),
    np.mean: _reduction(ops.mean),
    np.prod: _reduction(ops.prod),
    np.max: _max,
    np.amax: _max,
    np.min: _min,
    np.amin: _min,
    np.var: _moment(ops.var),
    np.std: _moment(ops.std),
    np.cumsum: _cumsum,
    np.clip: _clip,
    np.round: lambda a, decimals=0: ops.round(a, decimals),
    np.around: lambda a, decimals=0: ops.round(a, decimals),
    np.linalg.norm: _norm,
    np.reshape: lambda a, shape: ops.reshape(a, shape),
    np.ravel: lambda a: ops.reshape(a, -1),
    np.transpose: _transpose,
    np.swapaxes: lambda a, axis1, axis2: ops.transpose(a, axis1, axis2),
    np.expand_dims: lambda a, axis: ops.unsqueeze(a, axis),
    np.squeeze: lambda a, axis=None: ops.squeeze(a, axis),
    np.broadcast_to: lambda array, shape: ops.broadcast_to(array, shape),
    np.flip: lambda m, axis=None: ops.flip(m, axis),
    np.repeat: _repeat,
    np.tile: lambda A, reps: ops.tile(A, reps),
    np.tril: lambda m, k=0: ops.tril(m, k),
    np.triu: lambda m, k=0: ops.triu(m, k),
    np.moveaxis: ops.moveaxis,
    np.roll: ops.roll,
    np.concatenate: _concatenate,
    np.stack: ops.stack,
    np.where: ops.where,
    np.einsum: ops.einsum,
    np.dot: _dot,
}

#: Functions that use only the shape and dtype of a tensor.
_CONSTANT = {np.zeros_like, np.ones_like, np.empty_like, np.full_like}
#: Functions that write to their first argument.
_WRITING = {np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis}


def call_ufunc(
    ufunc: np.ufunc, method: str, inputs: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Call a ufunc on tensors; implements ``Tensor.__array_ufunc__``.

    Returns a recorded tensor if an input requires gradients; else ``out`` if given, a tensor for
    an operator with an array on the left, or an array.
    """
    plain_call = method == "__call__" and not kwargs
    if _is_recorded((inputs, kwargs)):
        if plain_call and ufunc.__name__ in _UFUNCS:
            return _UFUNCS[ufunc.__name__](*inputs)
        if kwargs.get("out") is not None or method == "at":
            raise _gradient_lost(f"np.{ufunc.__name__} into an array")
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
    """Call a NumPy function on tensors; implements ``Tensor.__array_function__``."""
    name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
    writes = function in _WRITING
    if _is_recorded((args, kwargs)) and function not in _CONSTANT:
        if function in _FUNCTIONS:
            own = _FUNCTIONS[function]
            try:
                inspect.signature(own).bind(*args, **kwargs)
            except TypeError as error:
                raise _gradient_lost(f"{name} with these arguments ({error})") from None
            return own(*args, **kwargs)
        if writes or kwargs.get("out") is not None:
            raise _gradient_lost(f"{name} into an array")
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
    """Call a function on the arrays of tensors; it writes to ``targets``."""
    for target in targets:
        writable(target)
    recorded = _is_recorded((args, kwargs)) and not constant
    plain = {key: _without_tensors(value) for key, value in kwargs.items()}
    try:
        result = function(*(_without_tensors(value) for value in args), **plain)
    finally:
        for target in targets:
            mark_written(target._data)
    if recorded and _has_inexact(result):
        raise _gradient_lost(name)
    for target in targets:
        if result is target._data:
            return target
    return result


def _is_recorded(given: Any) -> bool:
    return is_grad_enabled() and _any_needs_grad(given)


def _any_needs_grad(value: Any) -> bool:
    if isinstance(value, Variable):
        return needs_grad(value)
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return False
    return any(map(_any_needs_grad, value))


def _has_inexact(result: Any) -> bool:
    if isinstance(result, (list, tuple)):
        return any(map(_has_inexact, result))
    return isinstance(result, (*_ARRAYS, float, complex)) and np.asarray(result).dtype.kind in "fcO"


def _gradient_lost(name: str) -> TypeError:
    return TypeError(
        f"{name} of a tensor that requires gradients would lose the gradient; use an operation "
        "of lucid, or pass x.detach()"
    )


def _without_tensors(value: Any) -> Any:
    """Replace tensors by their arrays, also in lists and tuples."""
    if isinstance(value, Variable):
        expose(value._data)  # the result may be a view
        return value._data
    if type(value) in (list, tuple):
        return type(value)(_without_tensors(item) for item in value)
    return value
