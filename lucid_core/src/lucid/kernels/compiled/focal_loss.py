"""Sigmoid focal loss: losses and their gradients in one pass."""

from __future__ import annotations

import math

from lucid.kernels.compiled.elementwise import flatten_if_large
from lucid.kernels.compiled.jit import Array, kernel
from lucid.kernels.memory import empty
from lucid.kernels.reference import focal_loss as reference
from lucid.kernels.threads import parallel_for

# An element takes about ten times as long as one that is only copied.
_GRAIN = 1 << 14


@kernel
def _focal_loss(
    start: int, stop: int, x: Array, t: Array, losses: Array, gradients: Array, alpha: float,
    gamma: float,
) -> None:  # fmt: skip
    number = x.dtype.type
    zero, one, two = number(0), number(1), number(2)
    exponent, positive, negative = number(gamma), number(alpha), number(1 - alpha)
    if alpha < 0:
        positive = negative = one
    x, t, losses = x[start:stop], t[start:stop], losses[start:stop]
    with_gradients = len(gradients) > 0
    gradients = gradients[start:stop]
    for i in range(len(x)):
        target, other = t[i], one - t[i]
        e = math.exp(-abs(x[i]))
        u = one + e
        large, small = one / u, e / u
        # log1p(e), by Kahan's correction for the rounding of u = 1 + e.
        bce = e if u == one else math.log(u) * (e / (u - one))
        if x[i] < 0:
            p, q = small, large
            bce -= target * x[i]
        else:
            p, q = large, small
            bce += other * x[i]
        one_minus_pt = p * other + q * target
        factor = one_minus_pt * one_minus_pt if exponent == two else one_minus_pt**exponent
        scale = (positive * target + negative * other) * factor
        losses[i] = scale * bce
        if with_gradients:
            safe = one_minus_pt if one_minus_pt > zero else one
            relative = (one - two * target) * (p * q / safe)
            gradients[i] = scale * (p * other - q * target + exponent * bce * relative)


def sigmoid_focal_loss(
    x: Array, t: Array, alpha: float, gamma: float, gradients: bool
) -> tuple[Array, Array | None]:
    """See `lucid.kernels.reference.focal_loss.sigmoid_focal_loss`."""
    flat = flatten_if_large(x, t)
    if flat is None or not x.flags.c_contiguous:
        return reference.sigmoid_focal_loss(x, t, alpha, gamma, gradients)
    losses = empty(x.shape, x.dtype)
    derivatives = empty(x.shape if gradients else (0,), x.dtype)
    written = (losses.reshape(-1), derivatives.reshape(-1))
    parallel_for(_focal_loss, x.size, *flat, *written, alpha, gamma, grain=_GRAIN)
    return losses, derivatives if gradients else None
