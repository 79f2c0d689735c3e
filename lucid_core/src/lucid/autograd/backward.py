"""The backward pass: from the gradient of an output to the gradients of the leaves."""

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


class _GradientSum:
    """Sum of gradients; adds in place only into an array that it owns."""

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


class _LeafGradients:
    """Gradients of leaves: stored at the end, or with a hook as soon as each is complete."""

    def __init__(self, start: Node, hook: Callable[[Variable], None] | None) -> None:
        self._sums: dict[int, tuple[Variable, _GradientSum]] = {}
        self._hook = hook
        self._uses = Counter[int]() if hook is None else _count_leaf_uses(start)

    def add(self, leaf: Variable, gradient: Array, owned: bool) -> None:
        if id(leaf) in self._sums:
            self._sums[id(leaf)][1].add(gradient, owned)
        else:
            self._sums[id(leaf)] = (leaf, _GradientSum(gradient, owned))

    def release(self, leaf: Variable) -> None:
        """Count one operation that uses the leaf as done."""
        if self._hook is not None:
            self._uses[id(leaf)] -= 1
            if not self._uses[id(leaf)]:
                self._store(id(leaf))

    def finish(self) -> None:
        for key in list(self._sums):
            self._store(key)

    def _store(self, key: int) -> None:
        if key not in self._sums:  # no derivative reached it
            return
        leaf, total = self._sums.pop(key)
        _accumulate_grad(leaf, total.value, total.owned)
        if self._hook is not None:
            self._hook(leaf)


def _count_leaf_uses(start: Node) -> Counter[int]:
    """Count the operations of the graph that use each leaf, by the leaf's id."""
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
    leaf_hook: Callable[[Variable], None] | None = None,
) -> None:
    """Compute gradients of ``output`` and add them to ``.grad`` of the leaves.

    Parameters
    ----------
    output : Tensor
        Root of the graph; a single element unless ``gradient`` is given.
    gradient : numpy.ndarray, optional
        Gradient with respect to ``output``, of the same shape.  Default: one.
    retain_graph : bool, default False
        Keep the graph, so that ``backward`` can run through it again.
    leaf_hook : callable, optional
        Called with each leaf as soon as its ``.grad`` is complete, while other gradients are
        still being computed.  It must not write to the gradient.

    Raises
    ------
    RuntimeError
        If ``output`` requires no gradient, has several elements and no ``gradient`` is given,
        the graph has been freed, a saved array was changed in place after the forward pass, or
        the data of a leaf was replaced by an array that does not fit its gradient.
    """
    gradient = _initial_gradient(output, gradient)
    if output._node is None:
        _accumulate_grad(output, gradient, owned=False)
        if leaf_hook is not None:
            leaf_hook(output)
        return

    pending: dict[Node, _GradientSum] = {output._node: _GradientSum(gradient, owned=False)}
    leaves = _LeafGradients(output._node, leaf_hook)
    # Largest order first: each node is visited once, after all users of its output.
    queue = [(-output._node.order, output._node)]
    while queue:
        _, node = heapq.heappop(queue)
        total = pending.pop(node)
        g, donate = total.value, total.owned and node.donate
        del total
        if node.vjp is None:
            raise RuntimeError(
                "backward() through a graph that has been freed; call the first "
                "backward(retain_graph=True), or compute the forward pass again"
            )
        if last_write() > node.order:
            check_saved_arrays(node)
        sources, partial = node.sources, None
        if node.accumulate and isinstance(sources[0], Node):
            partial = pending.pop(sources[0], None)
        args = (g,) if partial is None else (g, partial.value)
        gradients = list(node.vjp(*args, donate=True) if donate else node.vjp(*args))
        del args
        if not retain_graph:
            node.free()
        used = set() if donate else {id(base_array(g))}
        for i, source in enumerate(sources):
            gx = gradients[i]
            gradients[i] = None  # free each gradient as early as possible
            if gx is None:
                if isinstance(source, Variable):
                    leaves.release(source)
                continue
            gx = _check_gradient(gx, source, node)
            memory = id(base_array(gx))
            owned = gx.flags.writeable and memory not in used
            used.add(memory)
            if isinstance(source, Variable):
                leaves.add(source, gx, owned)
                leaves.release(source)
            elif source in pending:
                pending[source].add(gx, owned)
            else:
                pending[source] = _GradientSum(gx, owned)
                if i == 0 and partial is not None:
                    continue  # already in the queue
                heapq.heappush(queue, (-source.order, source))
        del g
    leaves.finish()


def _initial_gradient(output: Tensor, gradient: Array | None) -> Array:
    if not output._requires_grad:
        raise RuntimeError(
            "backward() expected a tensor that requires gradients; compute it from a tensor with "
            "requires_grad=True, outside of no_grad()"
        )
    if gradient is None:
        if output._data.size != 1:
            raise RuntimeError(
                f"backward() expected a tensor of one element, got shape {output._data.shape}; "
                "pass gradient="
            )
        return np.ones_like(output._data)
    gradient = np.asarray(gradient, dtype=output._data.dtype)
    if gradient.shape != output._data.shape:
        raise ValueError(
            f"backward() expected a gradient of shape {output._data.shape}, got {gradient.shape}"
        )
    return gradient


def _check_gradient(gradient: Array, source: Node | Variable, node: Node) -> Array:
    """Check the shape of an input's gradient and convert it to the input's dtype."""
    gradient = np.asarray(gradient)  # NumPy returns scalars for 0-d results
    like = source._data if isinstance(source, Variable) else source
    if gradient.shape != like.shape:
        if isinstance(source, Variable) and reshaped_since(source, node.order):
            raise RuntimeError(
                f"the data of a tensor of shape {gradient.shape} was replaced by an array of shape "
                f"{like.shape} after the forward pass; compute the forward pass again"
            )
        raise RuntimeError(
            f"expected a gradient of the input's shape {like.shape}, got {gradient.shape}; "
            "fix the vjp of the operation"
        )
    return gradient if gradient.dtype == like.dtype else gradient.astype(like.dtype)


def _accumulate_grad(leaf: Variable, gradient: Array, owned: bool) -> None:
    if leaf._grad is None:
        leaf._grad = new_tensor(gradient if owned else gradient.copy(order="K"))
        return
    total = leaf._grad._data
    if total.shape != gradient.shape:
        raise RuntimeError(
            f"expected .grad of shape {gradient.shape}, got {total.shape}: the tensor's data was "
            "replaced; set .grad to None"
        )
    kernels.add_into(total, gradient)
