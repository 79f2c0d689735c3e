"""Variables and graph nodes: the data structures of the autograd graph."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lucid.tensor import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
#: Vector-Jacobian product: gradient of a node's output -> gradients of its inputs.
JointVjp = Callable[..., Sequence["Array | None"]]

_counter = itertools.count(1)


def next_order() -> int:
    """Return the next number of the counter that orders operations and in-place writes."""
    return next(_counter)


class Node:
    """One recorded operation.

    Parameters
    ----------
    inputs : sequence of Variable
        Inputs that require gradients.
    vjp : callable
        Maps the gradient of ``output`` to the gradients of ``inputs``, in order.
    output : numpy.ndarray
        Result of the operation; only its shape and dtype are kept.
    accumulate, donate : bool, default False
        See the attributes.

    Attributes
    ----------
    order : int
        Creation order.  A node is created after the nodes it depends on, so descending order
        is a topological order.
    sources : tuple of Node or Variable
        Producer of each input, or the input itself if it is a leaf.  Intermediate tensors are
        not referenced, so arrays that no derivative needs are freed at once.
    vjp : callable or None
        Vector-Jacobian product; None once the graph has been freed.
    accumulate : bool
        Whether ``vjp(g, partial)`` is supported: the gradient of the first input is added to
        ``partial``.
    donate : bool
        Whether ``vjp(g, donate=True)`` is supported: ``vjp`` may overwrite ``g``.
    shape : tuple of int
        Shape of the output.
    dtype : numpy.dtype
        Dtype of the output.
    """

    __slots__ = ("accumulate", "donate", "dtype", "order", "shape", "sources", "vjp")

    def __init__(
        self,
        inputs: Sequence[Variable],
        vjp: JointVjp,
        output: Array,
        accumulate: bool = False,
        donate: bool = False,
    ) -> None:
        self.order = next_order()
        self.sources: tuple[Node | Variable, ...] = tuple(
            x if x._node is None else x._node for x in inputs
        )
        self.vjp: JointVjp | None = vjp
        self.accumulate = accumulate
        self.donate = donate
        self.shape = output.shape
        self.dtype = output.dtype

    def free(self) -> None:
        """Drop the closures and the arrays saved in them."""
        self.sources = ()
        self.vjp = None


class Variable:
    """Base class of :class:`lucid.Tensor`: the array and its autograd state."""

    __slots__ = ("__weakref__", "_data", "_grad", "_node", "_requires_grad")

    _data: Array
    _grad: Tensor | None
    _node: Node | None
    _requires_grad: bool


_tensor_class: type[Variable] = Variable


def set_tensor_class(cls: type[Variable]) -> None:
    """Set the class of operation results; called once, by ``lucid.tensor``.

    Operations cannot import ``lucid.tensor``, which is above them in the import order.
    """
    global _tensor_class
    _tensor_class = cls


def new_tensor(data: Array, node: Node | None = None) -> Tensor:
    """Wrap an array without copying it."""
    result: Any = _tensor_class.__new__(_tensor_class)
    result._data = data
    result._grad = None
    result._node = node
    result._requires_grad = node is not None
    return result  # type: ignore[no-any-return]
