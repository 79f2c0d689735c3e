"""Upsampling layer."""

from __future__ import annotations

from collections.abc import Sequence

from lucid.nn import functional as F
from lucid.nn.module import Module
from lucid.tensor import Tensor

__all__ = ["Upsample"]


class Upsample(Module):
    """Resize images to a given size or by a scale factor.

    Parameters
    ----------
    size : int or (int, int), optional
        Height and width of the output.
    scale_factor : float or (float, float), optional
        Factors of height and width, instead of ``size``.
    mode : {"nearest", "bilinear"}
        Interpolation method.
    align_corners, recompute_scale_factor : bool, optional
        See :func:`lucid.nn.functional.interpolate`.
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        if (size is None) == (scale_factor is None):
            raise ValueError(
                f"Upsample: expected either size or scale_factor, got size={size!r} and "
                f"scale_factor={scale_factor!r}"
            )
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H_out, W_out)."""
        return F.interpolate(
            x,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        name = "size" if self.size is not None else "scale_factor"
        return f"{name}={getattr(self, name)}, mode={self.mode!r}"
