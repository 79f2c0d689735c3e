"""Recording operations with their vector-Jacobian products (vjps).

An operation computes its value with NumPy or a kernel and passes one vjp per input::

    def exp(x):
        value = np.exp(array_of(x))
        return record(value, (x, lambda g: g * value))

Rules for a vjp
---------------
It maps the gradient ``g`` of the output to the gradient of one input, in that input's shape.
It must not write into ``g``, except with ``donate=True`` (see :func:`record_joint`).  It
returns ``g``, a view of ``g``, or a new array, into which ``backward`` accumulates in place.
It closes over only the arrays it needs: ``backward`` raises if one of them was changed in
place after the forward pass.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

from lucid.autograd.grad_mode import is_grad_enabled
from lucid.autograd.variable import Array, JointVjp, Node, Variable, new_tensor

if TYPE_CHECKING:
    from lucid.tensor import Tensor

#: Accepted by every operation in place of a tensor.
ArrayLike: TypeAlias = (
    "Tensor | np.ndarray[Any, Any] | np.generic | bool | int | float | Sequence[Any]"
)
Vjp = Callable[[Array], Array]


def array_of(x: ArrayLike, dtype: np.dtype[Any] | None = None) -> Array:
    """Convert a tensor or array-like to a NumPy array.

    Arrays are copied only to change the dtype or a non-native byte order.

    Parameters
    ----------
    x : array-like
        A tensor, an array, a number, or nested sequences of numbers.
    dtype : numpy.dtype, optional
        Result dtype; default that of ``x``, float32 for Python floats.

    Returns
    -------
    numpy.ndarray
        Shape of ``x``, in native byte order.

    Raises
    ------
    TypeError
        If ``x`` is not boolean, integer or floating, or is a sequence with tensors that
        require gradients.
    ValueError
        If ``x`` is a sequence whose entries have different shapes.
    OverflowError
        If a Python integer does not fit into ``dtype``.
    """
    if isinstance(x, Variable):
        return x._data if dtype is None else x._data.astype(dtype, copy=False)
    if isinstance(x, (list, tuple)) and is_grad_enabled() and _any_needs_grad(x):
        raise TypeError(
            f"expected a tensor, got a {type(x).__name__} of tensors that require gradients; "
            "join them with lucid.stack(), or detach() them"
        )
    if x is None:
        raise TypeError("expected a tensor, an array or numbers, got None; pass a tensor")
    array = _as_array(x)
    if array.dtype.kind not in "biuf":  # NumPy would convert None to NaN and text to numbers
        raise TypeError(
            f"expected booleans, integers or floats, got {array.dtype} (from a {type(x).__name__})"
        )
    python = not isinstance(x, (np.ndarray, np.generic))
    if dtype is not None:
        if python and dtype.kind in "iu":  # astype() wraps Python integers that do not fit
            return np.asarray(x, dtype)
        return array.astype(dtype, copy=False)
    if python and array.dtype == np.float64:
        array = array.astype(np.float32)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _as_array(x: ArrayLike) -> Array:
    try:
        return np.asarray(x)
    except ValueError as error:
        if not isinstance(x, (list, tuple)):
            raise
        raise ValueError(
            f"expected a tensor, an array or numbers, got a {type(x).__name__} of {len(x)} entries "
            "of different shapes; pass one entry, such as the images of a batch (images, labels)"
        ) from error


def record(value: Array | np.generic, *edges: tuple[ArrayLike, Vjp]) -> Tensor:
    """Wrap the result of an operation in a tensor and record one vjp per input.

    Parameters
    ----------
    value : numpy.ndarray
        Forward result.
    *edges : (input, vjp)
        Each input with its vjp, from the gradient of ``value`` to the gradient of the input.
        The vjp of an input that requires no gradient is never called.

    Returns
    -------
    Tensor
        Wraps ``value`` without a copy.  Requires gradients if recording is on, ``value`` is
        floating point and an input requires them.
    """
    data = np.asarray(value)
    if is_grad_enabled() and data.dtype.kind == "f":
        inputs = [x for x, _ in edges if needs_grad(x)]
        if inputs:
            vjps = [vjp for x, vjp in edges if needs_grad(x)]
            return new_tensor(data, Node(inputs, lambda g: [vjp(g) for vjp in vjps], data))
    return new_tensor(data)


def record_joint(
    value: Array | np.generic,
    inputs: Sequence[Any],
    vjp: JointVjp,
    accumulate: bool = False,
    donate: bool = False,
) -> Tensor:
    """Wrap the result of an operation in a tensor and record one vjp for all inputs.

    Parameters
    ----------
    value : numpy.ndarray
        Forward result.
    inputs : sequence of Tensor, array or None
        Inputs of the operation.
    vjp : callable
        ``vjp(g)`` returns one gradient or None for each of ``inputs``, in order.
    accumulate : bool, default False
        Whether ``vjp(g, partial)`` is supported: it returns the gradient of the first input
        plus ``partial``, the gradient from its other uses, in a new array.
    donate : bool, default False
        Whether ``vjp(g, donate=True)`` is supported: it may overwrite ``g`` and return it as
        the gradient of an input.

    Returns
    -------
    Tensor
        See :func:`record`.
    """
    data = np.asarray(value)
    if is_grad_enabled() and data.dtype.kind == "f":
        live = [i for i, x in enumerate(inputs) if needs_grad(x)]
        if live:

            def vjp_of_live(*args: Array | None, **options: bool) -> list[Array | None]:
                gradients = vjp(*args, **options)
                return [gradients[i] for i in live]

            sources = [inputs[i] for i in live]
            first = accumulate and live[0] == 0
            node = Node(sources, vjp_of_live, data, accumulate=first, donate=donate)
            return new_tensor(data, node)
    return new_tensor(data)


def needs_grad(x: object) -> TypeGuard[Variable]:
    """Whether ``x`` is a tensor that requires gradients."""
    return isinstance(x, Variable) and x._requires_grad


def _any_needs_grad(items: Sequence[Any]) -> bool:
    return any(
        _any_needs_grad(item) if isinstance(item, (list, tuple)) else needs_grad(item)
        for item in items
    )


#: Arrays that np.asarray() made of tensors that require gradients, by id.
_detached: dict[int, weakref.ref[Array]] = {}


def mark_detached(array: Array) -> Array:
    """Register a new array or view of a tensor that requires gradients; see `check_attached`."""
    if is_grad_enabled():
        key = id(array)
        _detached[key] = weakref.ref(array, lambda _: _detached.pop(key, None))
    return array


def check_attached(x: object) -> None:
    """Raise for an array of `mark_detached`: an operation on it would lose the gradient."""
    if _detached and id(x) in _detached and is_grad_enabled():
        raise TypeError(
            "expected a tensor, got np.asarray() of a tensor that requires gradients; pass the "
            "tensor itself, or x.detach() to compute without its gradient"
        )


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum ``g`` over the axes that broadcasting from ``shape`` added or expanded.

    Parameters
    ----------
    g : numpy.ndarray
        Gradient, of a shape that ``shape`` broadcasts to.
    shape : tuple of int
        Shape of the input.

    Returns
    -------
    numpy.ndarray
        Shape ``shape``; ``g`` itself if it has that shape.
    """
    if g.shape == shape:
        return g
    added = g.ndim - len(shape)
    if added:
        g = g.sum(axis=tuple(range(added)))
    # Axis by axis, not by size: (1, 3) -> (3, 3) sums rows only.
    grown = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    if grown:
        g = g.sum(axis=grown, keepdims=True)
    return np.asarray(g)
