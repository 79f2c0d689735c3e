"""Fused per-channel affine map and activation, with its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lucid import kernels
from lucid.autograd.variable import Array

__all__ = ["Gradients", "affine"]

#: Gradients of the input, the scale (None if not needed), the shift and the residual.
Gradients = tuple[Array, Any, Array, Array | None]


def affine(
    x: Array,
    scale: Array,
    shift: Array,
    residual: Array | None,
    activation: str | None,
    wants_scale: bool,
) -> tuple[Array, Callable[[Array], Gradients]]:
    """Compute ``act(x * scale + shift + residual)`` in one pass; return it and its vjp.

    The vjp of ReLU uses the output.  For other activations it recomputes the input of the
    activation from the arguments.
    """
    value: Array = kernels.affine_act(x, scale, shift, residual, activation)
    is_relu, with_residual = activation == "relu", residual is not None
    saved_x, saved_y = x if wants_scale else None, value if is_relu else None
    inner = None if is_relu or activation is None else (x, scale, shift, residual)

    def backward(g: Array) -> Gradients:
        if inner is not None:
            g = kernels.activation_backward(g, kernels.affine_act(*inner, None), activation)
        gradients: Gradients = kernels.affine_act_backward(
            g, saved_x, saved_y, scale, is_relu, with_residual
        )
        return gradients

    return value, backward
