"""Image resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lucid import kernels
from lucid.autograd import ArrayLike, record
from lucid.ops.operands import image_batch, pair

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = ["interpolate"]


def interpolate(
    x: ArrayLike,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """Resize images to a given size or by a factor, without antialiasing.

    Parameters
    ----------
    x : array-like
        Shape (N, C, H, W).
    size : int or (int, int), optional
        Output height and width.
    scale_factor : float or (float, float), optional
        Instead of ``size``: the output size is ``floor(H * factor)`` by ``floor(W * factor)``,
        and the sampling step ``1 / factor`` (1 for an axis that keeps its length).
    mode : {"nearest", "bilinear"}
        ``"nearest"`` takes pixel ``floor(i * H / H')``, in single precision as in PyTorch;
        ``"bilinear"`` interpolates between the four nearest pixel centers.
    align_corners : bool, optional
        For ``"bilinear"``: align the centers of the corner pixels instead of the image
        corners.  Default: False.
    recompute_scale_factor : bool, optional
        With ``scale_factor``: sample with step ``H / H'``, as with ``size``.  Differs if
        ``H * factor`` is not an integer.  Default: False.

    Returns
    -------
    Tensor
        Shape (N, C, H', W').

    Raises
    ------
    ValueError
        If not exactly one of ``size`` and ``scale_factor`` is given, the output would be empty,
        or an option is unknown or does not apply.
    """
    a = image_batch(x, "interpolate")
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"interpolate expected mode='nearest' or 'bilinear', got {mode!r}")
    if mode == "nearest" and align_corners is not None:
        raise ValueError("align_corners requires mode='bilinear', got mode='nearest'")
    if recompute_scale_factor and scale_factor is None:
        raise ValueError("recompute_scale_factor requires scale_factor, got size")
    target, steps = _target(a.shape, size, scale_factor)
    if min(a.shape[2:]) < 1 or min(target) < 1:
        raise ValueError(
            "interpolate expected images of at least one pixel, got an input of shape "
            f"{a.shape} and size {target}"
        )
    if recompute_scale_factor:
        steps = (None, None)
    shape = a.shape
    if mode == "nearest":
        return record(
            kernels.resize_nearest(a, target, steps),
            (x, lambda g: kernels.resize_nearest_backward(g, shape, steps)),
        )
    corners = bool(align_corners)
    return record(
        kernels.resize_bilinear(a, target, corners, steps),
        (x, lambda g: kernels.resize_bilinear_backward(g, shape, corners, steps)),
    )


def _target(
    shape: tuple[int, ...],
    size: int | Sequence[int] | None,
    scale_factor: float | Sequence[float] | None,
) -> tuple[tuple[int, int], tuple[float | None, float | None]]:
    """Return the output size, and the sampling steps if ``scale_factor`` gives them."""
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate expected either size or scale_factor, got size={size!r} and "
            f"scale_factor={scale_factor!r}"
        )
    if size is not None:
        return pair(size, "size", 1), (None, None)
    given = tuple(scale_factor) if isinstance(scale_factor, Sequence) else (scale_factor,) * 2
    if len(given) != 2 or not all(f is not None and 0 < f < math.inf for f in given):
        raise ValueError(
            f"expected scale_factor to be one or two positive numbers, got {scale_factor!r}"
        )
    factors = [float(f) for f in given if f is not None]
    height, width = (math.floor(n * f) for n, f in zip(shape[2:], factors, strict=True))
    # As in PyTorch, an axis that keeps its length is sampled with step 1.
    rows = None if height == shape[2] else 1 / factors[0]
    columns = None if width == shape[3] else 1 / factors[1]
    return (height, width), (rows, columns)
