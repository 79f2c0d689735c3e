"""Gradient check against finite differences."""

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

    The vector-Jacobian product with random vectors is compared with
    ``(f(x + eps) - f(x - eps)) / (2 * eps)`` for each element of each differentiable input.
    Also checks that no vjp modifies the gradient it receives or returns memory of the inputs or
    the output, which would make gradients alias.

    Parameters
    ----------
    function : callable
        Function of the inputs that returns one or more tensors.
    inputs : Tensor or sequence
        Arguments of the function.  Float64 tensors with ``requires_grad`` are differentiated.
    eps : float, default 1e-6
        Perturbation of each element.
    rtol, atol : float, default 1e-5 and 1e-7
        Relative and absolute tolerance.

    Returns
    -------
    bool
        True; failures raise.

    Raises
    ------
    AssertionError
        If a gradient differs; the message has the input and its largest deviation.
    ValueError
        If no input requires gradients, or one that does is not float64.

    Examples
    --------
    >>> import lucid
    >>> from lucid.testing import gradcheck
    >>> x = lucid.tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    >>> gradcheck(lucid.tanh, x)
    True
    """
    if isinstance(inputs, Tensor):
        inputs = (inputs,)
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked or any(inputs[i].dtype != np.float64 for i in checked):
        dtypes = ", ".join(str(inputs[i].dtype) for i in checked) or "none"
        raise ValueError(
            f"expected float64 inputs that require gradients, got {dtypes}; create the inputs "
            "with dtype='float64', requires_grad=True"
        )
    before = [inputs[i].numpy().copy() for i in checked]
    outputs = _outputs(function(*inputs))
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(y.shape) for y in outputs]
    _check_vjps(outputs, [inputs[i].numpy() for i in checked])

    for i in checked:
        inputs[i].grad = None
    for y, weight in zip(outputs, weights, strict=True):
        if y.requires_grad:
            y.backward(weight, retain_graph=True)
    for x_before, i in zip(before, checked, strict=True):
        x = inputs[i]
        np.testing.assert_array_equal(x.numpy(), x_before, err_msg=f"backward() modified input {i}")
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
        value = values[index]
        values[index] = value + eps
        upper = total()
        values[index] = value - eps
        lower = total()
        values[index] = value
        gradient[index] = (upper - lower) / (2 * eps)
    return gradient


def _check_vjps(outputs: list[Tensor], arrays: list[Array]) -> None:
    """Check that recorded vjps do not modify their argument or alias inputs and output."""
    for y in outputs:
        node: Node | None = y._node
        if node is None or node.vjp is None:
            continue
        g = np.ones(node.shape, node.dtype)
        gradients = [x for x in node.vjp(g) if x is not None]
        if not (g == 1).all():
            raise AssertionError("a vjp modified the gradient that it received; copy it first")
        for gx in gradients:
            if any(np.shares_memory(gx, a) for a in [*arrays, y.numpy()] if a.size and gx.size):
                raise AssertionError(
                    "a vjp returned memory of an input or the output; return a copy, because "
                    "backward() accumulates in place"
                )
