"""Utilities for the gradients of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from lucid import kernels
from lucid.autograd.variable import Array
from lucid.hints import add_hints
from lucid.tensor import Tensor

__all__ = ["clip_grad_norm_"]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Clip the total norm of the gradients in place.

    The norm is that of all gradients concatenated.  If it is above ``max_norm``, each gradient is
    multiplied by ``max_norm / (norm + 1e-6)``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Parameters; those without a gradient are ignored.
    max_norm : float
        Maximum norm.
    norm_type : float, default 2.0
        Order of the norm; ``math.inf`` for the maximum absolute value.
    error_if_nonfinite : bool, default False
        Whether a NaN or infinite norm raises instead of scaling the gradients.

    Returns
    -------
    Tensor
        Norm before clipping, shape ().

    Raises
    ------
    ValueError
        If ``max_norm`` is negative or ``norm_type`` not positive.
    RuntimeError
        If the norm is not finite and ``error_if_nonfinite`` is set; gradients are unchanged.

    References
    ----------
    Pascanu, Mikolov and Bengio, *On the difficulty of training Recurrent Neural
    Networks*, 2013, section 3.2.
    """
    if not max_norm >= 0 or not norm_type > 0:
        raise ValueError(
            f"clip_grad_norm_: expected max_norm >= 0 and norm_type > 0, got {max_norm} and "
            f"{norm_type}"
        )
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    # A parameter may be listed twice; its gradient is scaled once.
    gradients = list({id(p.grad): p.grad for p in given if p.grad is not None}.values())
    arrays = [gradient.data for gradient in gradients]
    with np.errstate(over="ignore", invalid="ignore"):
        total = _norm(arrays, float(norm_type))
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(
            f"expected a finite gradient norm, got {total}; gradients were not clipped"
        )
    factor = max_norm / (total + 1e-6)
    if not factor >= 1:  # NaN too, so that it reaches the parameters
        with np.errstate(invalid="ignore"):
            kernels.scale(arrays, factor)
        for gradient in gradients:
            gradient.mark_changed()
    dtype = gradients[0].dtype if gradients else np.dtype(np.float32)
    return Tensor(np.asarray(total, dtype))


def _norm(arrays: list[Array], order: float) -> float:
    """Compute the norm of all arrays together in float64."""
    if order == 2:
        return math.sqrt(kernels.sum_of_squares(arrays))
    if math.isinf(order):
        return float(np.max([np.abs(array).max(initial=0) for array in arrays], initial=0))
    powers = [np.power(np.abs(array.astype(np.float64)), order).sum() for array in arrays]
    return float(np.sum(powers) ** (1 / order))


add_hints(globals())
