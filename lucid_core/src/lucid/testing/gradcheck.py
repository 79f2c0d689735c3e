"""Derivatives held against differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lucid.autograd.variable import Node
from lucid.tensor import Tensor

__all__ = ["gradcheck"]

Array = np.ndarray[Any, np.dtype[Any]]


def gradcheck(
    function: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-7,
) -> bool:
    """Compare the gradients of a function with central differences.

    Every floating output is weighed with random numbers, so that one backward
    pass tests all of them; every element of every differentiable input is moved
    by ``eps`` either way.  Also checked: no derivative writes into the gradient
    it receives, and none hands out memory of the inputs or the output, both of
    which would make gradients alias.

    Parameters
    ----------
    function : callable
        Takes the inputs and returns a tensor or several.
    inputs : Tensor or sequence
        Float64 tensors with ``requires_grad`` are differentiated; anything else
        is passed on as it is.
    eps : float, default 1e-6
        Half the width of the difference.
    rtol, atol : float, default 1e-5 and 1e-7
        Largest deviation, relative to the numerical gradient and absolute.

    Returns
    -------
    bool
        True; every failure raises.

    Raises
    ------
    AssertionError
        Naming the input and element of the largest deviation.
    ValueError
        If no input is a float64 tensor that requires gradients.
    """
    if isinstance(inputs, Tensor):
        inputs = (inputs,)
    watched = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not watched or any(inputs[i].dtype != np.float64 for i in watched):
        raise ValueError("gradcheck needs float64 inputs, at least one that requires gradients")
    before = [inputs[i].numpy().copy() for i in watched]
    outputs = _outputs(function(*inputs))
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(y.shape) for y in outputs]
    _check_contract(outputs, [inputs[i].numpy() for i in watched])

    for i in watched:
        inputs[i].grad = None
    for y, weight in zip(outputs, weights, strict=True):
        if y.requires_grad:
            y.backward(weight, retain_graph=True)
    for place, i in enumerate(watched):
        x = inputs[i]
        np.testing.assert_array_equal(
            x.numpy(), before[place], err_msg=f"input {i} was changed by backward()"
        )
        analytical = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
        numerical = _numerical(function, inputs, x, weights, eps)
        np.testing.assert_allclose(
            analytical,
            numerical,
            rtol=rtol,
            atol=atol,
            err_msg=f"gradient of input {i}, of shape {x.shape}",
        )
    return True


def _outputs(result: Tensor | Sequence[Tensor]) -> list[Tensor]:
    results = [result] if isinstance(result, Tensor) else list(result)
    return [y for y in results if y.dtype.kind == "f"]


def _numerical(
    function: Callable[..., Any], inputs: Sequence[Any], x: Tensor, weights: list[Array], eps: float
) -> Array:
    def total() -> float:
        outputs = _outputs(function(*inputs))
        return sum(float((y.numpy() * w).sum()) for y, w in zip(outputs, weights, strict=True))

    values = x.numpy()
    gradient = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        kept = values[index]
        values[index] = kept + eps
        above = total()
        values[index] = kept - eps
        below = total()
        values[index] = kept
        gradient[index] = (above - below) / (2 * eps)
    return gradient


def _check_contract(outputs: list[Tensor], arrays: list[Array]) -> None:
    """Each recorded derivative keeps to what ``lucid.autograd.primitive`` says of a vjp."""
    for y in outputs:
        node: Node | None = y._node
        if node is None or node.vjp is None:
            continue
        g = np.ones(node.shape, node.dtype)
        gradients = [x for x in node.vjp(g) if x is not None]
        if not (g == 1).all():
            raise AssertionError("a derivative wrote into the gradient that it received")
        for gx in gradients:
            if any(np.shares_memory(gx, a) for a in [*arrays, y.numpy()] if a.size and gx.size):
                raise AssertionError(
                    "a derivative returned memory of an input or of the output; "
                    "backward() may add into what a derivative returns"
                )
