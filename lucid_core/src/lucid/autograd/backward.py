"""Walking back: from the gradient of an output to the gradients of the leaves."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd.mutation import base_array, check_saved_arrays, last_write, reshaped_since
from lucid.autograd.variable import Array, Node, Variable, new_tensor

if TYPE_CHECKING:
    from lucid.tensor import Tensor


class _Sum:
    """A gradient being added up; adds in place only into an array that it owns."""

    __slots__ = ("owned", "value")

    def __init__(self, value: Array, owned: bool) -> None:
        self.value = value
        self.owned = owned

    def add(self, other: Array, other_owned: bool) -> None:
        if self.owned:
            kernels.add_into(self.value, other)
        elif other_owned:
            kernels.add_into(other, self.value)
            self.value = other
        else:
            self.value = kernels.add(self.value, other)
        self.owned = True


class _Leaves:
    """The gradients of leaves: given at the end, or each as soon as nothing can add to it."""

    def __init__(self, start: Node, final: Callable[[Variable], None] | None) -> None:
        self._sums: dict[int, tuple[Variable, _Sum]] = {}
        self._final = final
        self._uses = Counter[int]() if final is None else _uses_of_leaves(start)

    def add(self, leaf: Variable, gradient: Array, owned: bool) -> None:
        if id(leaf) in self._sums:
            self._sums[id(leaf)][1].add(gradient, owned)
        else:
            self._sums[id(leaf)] = (leaf, _Sum(gradient, owned))

    def used(self, leaf: Variable) -> None:
        """One of the operations that the leaf went into is done."""
        if self._final is not None:
            self._uses[id(leaf)] -= 1
            if not self._uses[id(leaf)]:
                self._give(id(leaf))

    def finish(self) -> None:
        for key in list(self._sums):
            self._give(key)

    def _give(self, key: int) -> None:
        if key not in self._sums:  # no derivative reached it
            return
        leaf, total = self._sums.pop(key)
        _add_to_leaf(leaf, total.value, total.owned)
        if self._final is not None:
            self._final(leaf)


def _uses_of_leaves(start: Node) -> Counter[int]:
    """Into how many operations of the graph each leaf goes, by the leaf's id."""
    uses: Counter[int] = Counter()
    seen, stack = {start}, [start]
    while stack:
        for source in stack.pop().sources:
            if isinstance(source, Variable):
                uses[id(source)] += 1
            elif source not in seen:
                seen.add(source)
                stack.append(source)
    return uses


def backward(
    output: Tensor,
    gradient: Array | None = None,
    retain_graph: bool = False,
    final: Callable[[Variable], None] | None = None,
) -> None:
    """Add the gradient of ``output`` to ``.grad`` of every leaf it depends on.

    Parameters
    ----------
    output : Tensor
        Where to start; a single element unless ``gradient`` is given.
    gradient : numpy.ndarray, optional
        Gradient of whatever is differentiated with respect to ``output``;
        the same shape.  Default: one.
    retain_graph : bool, default False
        Keep the graph, so that ``backward`` can run through it again.
    final : callable, optional
        Called with each leaf as soon as its ``.grad`` is what it will be at the end,
        while other gradients are still being computed.  The array may be read but not
        written to before ``backward`` returns.

    Raises
    ------
    RuntimeError
        If ``output`` requires no gradient, is not a single element and no
        ``gradient`` was given, its graph has been freed already, a value that a
        derivative reads was changed in place after the forward pass, or the data of a
        leaf was replaced by an array that does not fit its gradient.
    """
    if not output._requires_grad:
        raise RuntimeError(
            "backward() of a tensor that requires no gradient: it was not computed from a tensor "
            "with requires_grad=True, or it was computed under no_grad()"
        )
    if gradient is None:
        if output._data.size != 1:
            raise RuntimeError(
                "backward() without a gradient needs a tensor of one element, "
                f"got one of shape {output._data.shape}"
            )
        gradient = np.ones_like(output._data)
    else:
        gradient = np.asarray(gradient, dtype=output._data.dtype)
        if gradient.shape != output._data.shape:
            raise ValueError(
                f"gradient of shape {gradient.shape} for a tensor of shape {output._data.shape}"
            )

    if output._node is None:
        _add_to_leaf(output, gradient, owned=False)
        if final is not None:
            final(output)
        return

    pending: dict[Node, _Sum] = {output._node: _Sum(gradient, owned=False)}
    leaves = _Leaves(output._node, final)
    # Largest order first: a node is visited once, after everything that used its output.
    queue = [(-output._node.order, output._node)]
    while queue:
        _, node = heapq.heappop(queue)
        held = pending.pop(node)
        g, over = held.value, held.owned and node.writes_over
        del held
        if node.vjp is None:
            raise RuntimeError(
                "backward() through a graph that has been freed: call backward(retain_graph=True) "
                "the first time, or compute the forward pass again"
            )
        if last_write() > node.order:
            check_saved_arrays(node)
        sources, onto = node.sources, None
        if node.adds_onto and isinstance(sources[0], Node):
            onto = pending.pop(sources[0], None)
        given = (g,) if onto is None else (g, onto.value)
        gradients = list(node.vjp(*given, over=True) if over else node.vjp(*given))
        del given
        if not retain_graph:
            node.free()
        taken = set() if over else {id(base_array(g))}
        for i, source in enumerate(sources):
            gx = gradients[i]
            # Dropped here so that a gradient lives no longer than it is needed.
            gradients[i] = None
            if gx is None:
                if isinstance(source, Variable):
                    leaves.used(source)
                continue
            gx = _checked(gx, source, node)
            memory = id(base_array(gx))
            owned = gx.flags.writeable and memory not in taken
            taken.add(memory)
            if isinstance(source, Variable):
                leaves.add(source, gx, owned)
                leaves.used(source)
            elif source in pending:
                pending[source].add(gx, owned)
            else:
                pending[source] = _Sum(gx, owned)
                if i == 0 and onto is not None:
                    continue  # it is in the queue already
                heapq.heappush(queue, (-source.order, source))
        del g
    leaves.finish()


def _checked(gradient: Array, source: Node | Variable, node: Node) -> Array:
    """The gradient in the dtype of what it belongs to; its shape must be right already."""
    gradient = np.asarray(gradient)  # what NumPy computes of no axes is a scalar
    like = source._data if isinstance(source, Variable) else source
    if gradient.shape != like.shape:
        if isinstance(source, Variable) and reshaped_since(source, node.order):
            raise RuntimeError(
                f"the data of a tensor of shape {gradient.shape} was replaced by an array of shape "
                f"{like.shape} after the forward pass; assign .data before the forward pass, or "
                "compute it again"
            )
        raise RuntimeError(
            f"a derivative gave a gradient of shape {gradient.shape} "
            f"for an input of shape {like.shape}; this is a bug in the operation"
        )
    return gradient if gradient.dtype == like.dtype else gradient.astype(like.dtype)


def _add_to_leaf(leaf: Variable, gradient: Array, owned: bool) -> None:
    if leaf._grad is None:
        leaf._grad = new_tensor(gradient if owned else gradient.copy(order="K"))
        return
    total = leaf._grad._data
    if total.shape != gradient.shape:
        raise RuntimeError(
            f"a gradient of shape {gradient.shape} cannot be added to .grad of shape "
            f"{total.shape}: the tensor's data was replaced; set .grad to None after that "
            "(zero_grad())"
        )
    kernels.add_into(total, gradient)
