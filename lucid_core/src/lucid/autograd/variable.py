"""The data that recording leaves behind: variables and the nodes between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lucid.tensor import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
#: From the gradient of a node's output to the gradients of its inputs.
JointVjp = Callable[..., Sequence["Array | None"]]

_counter = itertools.count(1)


def next_order() -> int:
    """The next number of the clock that orders recorded operations and writes in place."""
    return next(_counter)


class Node:
    """One recorded operation.

    Parameters
    ----------
    inputs : sequence of Variable
        What gradients are for.
    vjp : callable
        From the gradient of ``output`` to the gradients of ``inputs``, in order.
    output : numpy.ndarray
        The value of the operation, of which shape and dtype are kept.
    adds_onto, writes_over : bool, default False
        As the attributes of these names.

    Attributes
    ----------
    order : int
        Grows with every node, so a node always has a larger number than the
        nodes it depends on: descending order is a topological order.
    sources : tuple of Node or Variable
        Where the gradients of the inputs go: the node that made the input, or
        the input itself if it is a leaf.  Holding nodes and not intermediate
        tensors lets an array that no derivative needs be freed at once.
    vjp : callable or None
        Vector-Jacobian product; None once the graph has been freed.
    adds_onto : bool
        Whether ``vjp`` may be given the gradient that the first source has so far, too, and
        then returns the sum.
    writes_over : bool
        Whether ``vjp`` may be called with ``over=True``, and then may write into the gradient
        it is given, which nobody else holds.
    shape : tuple of int
        Of the operation's output.
    dtype : numpy.dtype
        Of the operation's output.
    """

    __slots__ = ("adds_onto", "dtype", "order", "shape", "sources", "vjp", "writes_over")

    def __init__(
        self,
        inputs: Sequence[Variable],
        vjp: JointVjp,
        output: Array,
        adds_onto: bool = False,
        writes_over: bool = False,
    ) -> None:
        self.order = next_order()
        self.sources: tuple[Node | Variable, ...] = tuple(
            x if x._node is None else x._node for x in inputs
        )
        self.vjp: JointVjp | None = vjp
        self.adds_onto = adds_onto
        self.writes_over = writes_over
        self.shape = output.shape
        self.dtype = output.dtype

    def free(self) -> None:
        """Drop the closures and with them every array they kept alive."""
        self.sources = ()
        self.vjp = None


class Variable:
    """An array that takes part in differentiation; :class:`lucid.Tensor` adds the operators."""

    __slots__ = ("__weakref__", "_data", "_grad", "_node", "_requires_grad")

    _data: Array
    _grad: Tensor | None
    _node: Node | None
    _requires_grad: bool


_tensor_class: type[Variable] = Variable


def set_tensor_class(cls: type[Variable]) -> None:
    """Name the class that operations give their results; called once, by ``lucid.tensor``.

    Operations stand below ``lucid.tensor`` in the import order, so they learn
    of the class this way and not by importing it.
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
