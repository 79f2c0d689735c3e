"""How an operation records itself.

An operation computes its value with NumPy or a kernel and then states its
derivatives, one statement each, beside it::

    def exp(x):
        value = np.exp(array_of(x))
        return record(value, (x, lambda g: g * value))

What a vjp may do
-----------------
It receives the gradient ``g`` of the output and returns the gradient of one
input, of that input's shape.  It must not write into ``g``.  It returns either
``g`` (or a view of it), or an array that nobody else holds: ``backward`` adds
into the latter in place.  It keeps (closes over) only the arrays it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

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


def array_of(x: ArrayLike) -> Array:
    """The NumPy array behind a tensor, or made from an array-like; never a copy of an array."""
    if isinstance(x, Variable):
        return x._data
    return np.asarray(x)


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
    """
    data = np.asarray(value)
    if is_grad_enabled() and data.dtype.kind == "f":
        live = [edge for edge in edges if isinstance(edge[0], Variable) and edge[0]._requires_grad]
        if live:
            inputs = tuple(edge[0] for edge in live)
            vjps = tuple(edge[1] for edge in live)
            return new_tensor(data, Node(inputs, lambda g: [vjp(g) for vjp in vjps]))  # type: ignore[arg-type]
    return new_tensor(data)


def record_joint(value: Array | np.generic, inputs: Sequence[Any], vjp: JointVjp) -> Tensor:
    """Like :func:`record`, for an operation whose input gradients are computed together.

    ``vjp(g)`` returns one gradient (or None) for each of ``inputs``, in order.
    An input may be None or a plain array; its gradient is ignored.
    """
    data = np.asarray(value)
    if is_grad_enabled() and data.dtype.kind == "f":
        live = [i for i, x in enumerate(inputs) if isinstance(x, Variable) and x._requires_grad]
        if live:

            def vjp_of_live(g: Array) -> list[Array | None]:
                gradients = vjp(g)
                return [gradients[i] for i in live]

            return new_tensor(data, Node(tuple(inputs[i] for i in live), vjp_of_live))
    return new_tensor(data)


def needs_grad(x: object) -> bool:
    """Whether a gradient for ``x`` would be used: True for a tensor that requires one."""
    return isinstance(x, Variable) and x._requires_grad


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: sum ``g`` over the axes that broadcasting from ``shape`` added or grew.

    Decided axis by axis (not by size), so ``(1, 3) -> (3, 3)`` sums rows only.
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
