"""Resizing of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lucid import kernels
from lucid.autograd import ArrayLike, record
from lucid.ops.image import image
from lucid.ops.operands import pair

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = ["interpolate"]


def interpolate(
    x: ArrayLike,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Resize images to a given size or by a factor, without antialiasing.

    Parameters
    ----------
    x : array-like
        Shape (N, C, H, W).
    size : int or (int, int), optional
        Height and width of the result.
    scale_factor : float or (float, float), optional
        In place of ``size``: the result measures ``floor(H * factor)`` by
        ``floor(W * factor)``.  Coordinates follow from the two sizes (in PyTorch:
        ``recompute_scale_factor=True``).
    mode : {"nearest", "bilinear"}
        ``"nearest"`` takes pixel ``floor(i * H / H')``; ``"bilinear"`` weights
        the four nearest pixel centres.
    align_corners : bool, optional
        For ``"bilinear"``: let the centres of the corner pixels, and not the
        corners of the images, coincide.  Default: no.

    Returns
    -------
    Tensor
        Shape (N, C, H', W').

    Raises
    ------
    ValueError
        If not exactly one of ``size`` and ``scale_factor`` is given, the
        result would be empty, or ``mode`` is unknown.
    """
    a = image(x, "interpolate")
    target = _target(a.shape, size, scale_factor)
    if min(a.shape[2:]) < 1 or min(target) < 1:
        raise ValueError(
            f"interpolate cannot resize an input of shape {a.shape} to {target}: "
            "both images must have at least one pixel"
        )
    shape = a.shape
    if mode == "nearest":
        if align_corners is not None:
            raise ValueError("align_corners applies to mode='bilinear', not to mode='nearest'")
        return record(
            kernels.resize_nearest(a, target),
            (x, lambda g: kernels.resize_nearest_backward(g, shape)),
        )
    if mode != "bilinear":
        raise ValueError(f"mode must be 'nearest' or 'bilinear', got {mode!r}")
    corners = bool(align_corners)
    return record(
        kernels.resize_bilinear(a, target, corners),
        (x, lambda g: kernels.resize_bilinear_backward(g, shape, corners)),
    )


def _target(
    shape: tuple[int, ...],
    size: int | Sequence[int] | None,
    scale_factor: float | Sequence[float] | None,
) -> tuple[int, int]:
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate needs either size or scale_factor, got size={size!r} and "
            f"scale_factor={scale_factor!r}"
        )
    if size is not None:
        return pair(size, "size", 1)
    factors = tuple(scale_factor) if isinstance(scale_factor, Sequence) else (scale_factor,) * 2
    if len(factors) != 2 or not all(f is not None and f > 0 for f in factors):
        raise ValueError(f"scale_factor must be one or two positive numbers, got {scale_factor!r}")
    height, width = (math.floor(n * float(f)) for n, f in zip(shape[2:], factors, strict=True))  # type: ignore[arg-type]
    return height, width
