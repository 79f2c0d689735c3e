"""Focal loss of independent binary decisions: losses and derivatives in one pass."""

from __future__ import annotations

import math

from lucid.kernels.compiled.elementwise import large_lines
from lucid.kernels.compiled.jit import Array, kernel
from lucid.kernels.memory import empty
from lucid.kernels.reference import focal_loss as reference
from lucid.kernels.threads import parallel_for

# An element takes some ten times as long as one that is only read and written.
_GRAIN = 1 << 14


@kernel
def _focal_loss(
    start: int, stop: int, x: Array, t: Array, losses: Array, slopes: Array, alpha: float,
    gamma: float,
) -> None:  # fmt: skip
    number = x.dtype.type
    zero, one, two = number(0), number(1), number(2)
    exponent, positive, negative = number(gamma), number(alpha), number(1 - alpha)
    if alpha < 0:
        positive = negative = one
    x, t, losses = x[start:stop], t[start:stop], losses[start:stop]
    with_slopes = len(slopes) > 0
    slopes = slopes[start:stop]
    for i in range(len(x)):
        target, other = t[i], one - t[i]
        e = math.exp(-abs(x[i]))
        u = one + e
        large, small = one / u, e / u
        # log(1 + e): log(u) belongs to an e that was rounded to u - 1.
        entropy = e if u == one else math.log(u) * (e / (u - one))
        if x[i] < 0:
            p, rest = small, large
            entropy -= target * x[i]
        else:
            p, rest = large, small
            entropy += other * x[i]
        wrong = p * other + rest * target
        factor = wrong * wrong if exponent == two else wrong**exponent
        scale = (positive * target + negative * other) * factor
        losses[i] = scale * entropy
        if with_slopes:
            relative = (one - two * target) * (p * rest / (wrong if wrong > zero else one))
            slopes[i] = scale * (p * other - rest * target + exponent * entropy * relative)


def sigmoid_focal_loss(
    x: Array, t: Array, alpha: float, gamma: float, slopes: bool
) -> tuple[Array, Array | None]:
    """See `lucid.kernels.reference.focal_loss.sigmoid_focal_loss`."""
    lines = large_lines(x, t)
    if lines is None or not x.flags.c_contiguous:
        return reference.sigmoid_focal_loss(x, t, alpha, gamma, slopes)
    losses = empty(x.shape, x.dtype)
    derivatives = empty(x.shape if slopes else (0,), x.dtype)
    written = (losses.reshape(-1), derivatives.reshape(-1))
    parallel_for(_focal_loss, x.size, *lines, *written, alpha, gamma, grain=_GRAIN)
    return losses, derivatives if slopes else None
