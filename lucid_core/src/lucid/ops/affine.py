"""``act(x * scale + shift + residual)``, channel by channel, with its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lucid import kernels
from lucid.autograd.variable import Array

__all__ = ["Gradients", "affine"]

#: Of the input, the scale (None where it was not wanted), the shift, and the residual.
Gradients = tuple[Array, Any, Array, Array | None]


def affine(
    x: Array,
    scale: Array,
    shift: Array,
    residual: Array | None,
    activation: str | None,
    wants_scale: bool,
) -> tuple[Array, Callable[[Array], Gradients]]:
    """The value in one pass over memory, and its derivative.

    The derivative of ReLU is found from the output.  For other activations the derivative keeps
    all arguments and computes the input of the activation again.
    """
    value: Array = kernels.affine_act(x, scale, shift, residual, activation)
    rectified, with_residual = activation == "relu", residual is not None
    kept_x, kept_y = x if wants_scale else None, value if rectified else None
    inner = None if rectified or activation is None else (x, scale, shift, residual)

    def backward(g: Array) -> Gradients:
        if inner is not None:
            g = kernels.activation_backward(g, kernels.affine_act(*inner, None), activation)
        gradients: Gradients = kernels.affine_act_backward(
            g, kept_x, kept_y, scale, rectified, with_residual
        )
        return gradients

    return value, backward
