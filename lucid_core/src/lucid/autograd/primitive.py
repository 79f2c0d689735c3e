"""How an operation records itself.

An operation computes its value with NumPy or a kernel and then states its
derivatives, one statement each, beside it::

    def exp(x):
        value = np.exp(array_of(x))
        return record(value, (x, lambda g: g * value))

What a vjp may do
-----------------
It receives the gradient ``g`` of the output and returns the gradient of one
input, of that input's shape.  It must not write into ``g``, unless it is told that it may
(see :func:`record_joint`).  It returns either
``g`` (or a view of it), or an array that nobody else holds: ``backward`` adds
into the latter in place.  It keeps (closes over) only the arrays it needs: ``backward``
raises if one of them was written after the forward pass.
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

#: What every operation accepts in place of a tensor.
ArrayLike: TypeAlias = (
    "Tensor | np.ndarray[Any, Any] | np.generic | bool | int | float | Sequence[Any]"
)
Vjp = Callable[[Array], Array]


def array_of(x: ArrayLike, dtype: np.dtype[Any] | None = None) -> Array:
    """The NumPy array behind a tensor, or made from an array-like.

    An array is not copied, unless its bytes are in foreign order or ``dtype``
    asks for it.  Python floats become the default float32, but are read in
    full where another ``dtype`` is named.

    Parameters
    ----------
    x : array-like
        A tensor, an array, a number, or nested sequences of numbers.
    dtype : numpy.dtype, optional
        What to convert to; default the dtype of ``x``, float32 for Python floats.

    Returns
    -------
    numpy.ndarray
        Of the shape of ``x``, in the machine's byte order.

    Raises
    ------
    TypeError
        If ``x`` holds anything but booleans, integers and floats, or is a sequence with
        tensors that require gradients.
    ValueError
        If ``x`` is a sequence whose entries have different shapes.
    OverflowError
        If a Python integer does not fit into ``dtype``.
    """
    if isinstance(x, Variable):
        return x._data if dtype is None else x._data.astype(dtype, copy=False)
    if isinstance(x, (list, tuple)) and is_grad_enabled() and _holds_recorded(x):
        raise TypeError(
            "a list of tensors that require gradients would lose the gradient as an array: join "
            "them with lucid.stack(), or detach() them"
        )
    if x is None:
        raise TypeError("expected a tensor, an array or numbers, got None; pass a tensor")
    array = _as_array(x)
    if array.dtype.kind not in "biuf":  # NumPy would convert None to NaN and text to numbers
        raise TypeError(
            f"tensors hold booleans, integers and floats, not {array.dtype} (of a "
            f"{type(x).__name__})"
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
            "of different shapes; pass one of the entries, such as the images of a batch "
            "(images, labels)"
        ) from error


def record(value: Array | np.generic, *edges: tuple[ArrayLike, Vjp]) -> Tensor:
    """Wrap the value of an operation and remember how to differentiate it.

    Parameters
    ----------
    value : numpy.ndarray
        The forward result.
    *edges : (input, vjp)
        Each input with the function from the gradient of ``value`` to the
        gradient of that input.  Inputs that are no tensors, or need no
        gradient, are passed over and their vjp is never called.

    Returns
    -------
    Tensor
        Around ``value`` itself, not a copy.  It requires a gradient where recording
        is on, ``value`` is floating point and an input requires one.
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
    adds_onto: bool = False,
    writes_over: bool = False,
) -> Tensor:
    """Like :func:`record`, for an operation whose input gradients are computed together.

    Parameters
    ----------
    value : numpy.ndarray
        The forward result.
    inputs : sequence of Tensor, array or None
        What the operation was given; the gradient of what is no tensor is ignored.
    vjp : callable
        ``vjp(g)`` returns one gradient (or None) for each of ``inputs``, in order.
    adds_onto : bool, default False
        Whether it may be called as ``vjp(g, onto)`` too: the gradient of the first input
        is then added to ``onto``, what other uses of that input have given so far.  It
        goes into a new array; nothing is written to ``onto``.
    writes_over : bool, default False
        Whether it may be called as ``vjp(g, over=True)`` too: nobody else holds ``g``
        then, so it may be written into and returned as the gradient of an input.

    Returns
    -------
    Tensor
        As of :func:`record`.
    """
    data = np.asarray(value)
    if is_grad_enabled() and data.dtype.kind == "f":
        live = [i for i, x in enumerate(inputs) if needs_grad(x)]
        if live:

            def vjp_of_live(*given: Array | None, **options: bool) -> list[Array | None]:
                gradients = vjp(*given, **options)
                return [gradients[i] for i in live]

            sources = [inputs[i] for i in live]
            first = adds_onto and live[0] == 0
            node = Node(sources, vjp_of_live, data, adds_onto=first, writes_over=writes_over)
            return new_tensor(data, node)
    return new_tensor(data)


def needs_grad(x: object) -> TypeGuard[Variable]:
    """Whether a gradient for ``x`` would be used: True for a tensor that requires one."""
    return isinstance(x, Variable) and x._requires_grad


def _holds_recorded(items: Sequence[Any]) -> bool:
    return any(
        _holds_recorded(item) if isinstance(item, (list, tuple)) else needs_grad(item)
        for item in items
    )


#: Arrays that np.asarray() made of tensors that require gradients, by id.
_outside: dict[int, weakref.ref[Array]] = {}


def leave_graph(array: Array) -> Array:
    """An array made of a tensor that requires gradients, from now on known to `check_in_graph`.

    Of this object only, so it must be new: a copy, or a view of the tensor's array.
    """
    if is_grad_enabled():
        key = id(array)
        _outside[key] = weakref.ref(array, lambda _: _outside.pop(key, None))
    return array


def check_in_graph(x: object) -> None:
    """Raise for an array of `leave_graph`: an operation on it would lose the gradient."""
    if _outside and id(x) in _outside and is_grad_enabled():
        raise TypeError(
            "np.asarray() of a tensor that requires gradients has no gradient: use the tensor "
            "itself, or x.detach() to compute without its gradient"
        )


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: sum ``g`` over the axes that broadcasting from ``shape`` added or grew.

    Decided axis by axis (not by size), so ``(1, 3) -> (3, 3)`` sums rows only.

    Parameters
    ----------
    g : numpy.ndarray
        A gradient, of a shape that ``shape`` broadcasts to.
    shape : tuple of int
        The shape of the input.

    Returns
    -------
    numpy.ndarray
        Of shape ``shape``; ``g`` itself where it has that shape already.
    """
    if g.shape == shape:
        return g
    added = g.ndim - len(shape)
    if added:
        g = g.sum(axis=tuple(range(added)))
    grown = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    if grown:
        g = g.sum(axis=grown, keepdims=True)
    return np.asarray(g)
