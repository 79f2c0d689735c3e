"""Resizing of images."""

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
        Height and width of the result.
    scale_factor : float or (float, float), optional
        In place of ``size``: the result measures ``floor(H * factor)`` by
        ``floor(W * factor)``, and a pixel of it is ``1 / factor`` of the image's,
        unless the length stays the same.
    mode : {"nearest", "bilinear"}
        ``"nearest"`` takes pixel ``floor(i * H / H')``, in single precision as in
        PyTorch; ``"bilinear"`` weights the four nearest pixel centres.
    align_corners : bool, optional
        For ``"bilinear"``: let the centres of the corner pixels, and not the
        corners of the images, coincide.  Default: no.
    recompute_scale_factor : bool, optional
        With ``scale_factor``: let a pixel of the result be ``H / H'`` of the
        image's, as with ``size``.  The two differ where ``H * factor`` is no
        whole number.  Default: no.

    Returns
    -------
    Tensor
        Shape (N, C, H', W').

    Raises
    ------
    ValueError
        If not exactly one of ``size`` and ``scale_factor`` is given, the
        result would be empty, ``mode`` is unknown, or an option does not apply.
    """
    a = image_batch(x, "interpolate")
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"mode must be 'nearest' or 'bilinear', got {mode!r}")
    if mode == "nearest" and align_corners is not None:
        raise ValueError("align_corners applies to mode='bilinear', not to mode='nearest'")
    if recompute_scale_factor and scale_factor is None:
        raise ValueError("recompute_scale_factor applies to a scale_factor, not to a size")
    target, steps = _target(a.shape, size, scale_factor)
    if min(a.shape[2:]) < 1 or min(target) < 1:
        raise ValueError(
            f"interpolate cannot resize an input of shape {a.shape} to {target}: "
            "both images must have at least one pixel"
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
    """The size of the result, and pixels of the image per pixel of it where they are given."""
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate needs either size or scale_factor, got size={size!r} and "
            f"scale_factor={scale_factor!r}"
        )
    if size is not None:
        return pair(size, "size", 1), (None, None)
    given = tuple(scale_factor) if isinstance(scale_factor, Sequence) else (scale_factor,) * 2
    if len(given) != 2 or not all(f is not None and 0 < f < math.inf for f in given):
        raise ValueError(f"scale_factor must be one or two positive numbers, got {scale_factor!r}")
    factors = [float(f) for f in given if f is not None]
    height, width = (math.floor(n * f) for n, f in zip(shape[2:], factors, strict=True))
    # An axis that keeps its length is taken as it is, whatever the factor, as in PyTorch.
    rows = None if height == shape[2] else 1 / factors[0]
    columns = None if width == shape[3] else 1 / factors[1]
    return (height, width), (rows, columns)
