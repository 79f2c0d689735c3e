"""Argument checks shared by layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lucid.autograd import ArrayLike, array_of

if TYPE_CHECKING:
    from lucid.nn.module import Module

__all__ = ["check_channels", "check_eps", "check_positive"]


def check_channels(layer: Module, x: ArrayLike, channels: int) -> None:
    """Raise ValueError unless ``x`` has shape (N, channels, H, W)."""
    shape = array_of(x).shape
    if len(shape) != 4 or shape[1] != channels:
        remedies = {
            (4, 3): "; move the channels: x.transpose(0, 3, 1, 2)",
            (3, 0): "; add the batch axis: x[None]",
            (3, 2): "; move the channels and add the batch axis: x.transpose(2, 0, 1)[None]",
        }
        fits = (
            text for (n, i), text in remedies.items() if len(shape) == n and shape[i] == channels
        )
        raise ValueError(
            f"{layer!r}: expected input of shape (N, {channels}, H, W), got {shape}{next(fits, '')}"
        )


def check_positive(layer: str, **sizes: int) -> None:
    """Raise TypeError or ValueError unless every size is a positive integer."""
    for name, size in sizes.items():
        if not hasattr(size, "__index__"):
            raise TypeError(f"{layer}: expected an integer for {name}, got {size!r}")
        if size < 1:
            raise ValueError(f"{layer}: expected {name} >= 1, got {size}")


def check_eps(layer: str, eps: float) -> None:
    """Raise ValueError if ``eps`` is negative or NaN."""
    if not eps >= 0:
        raise ValueError(f"{layer}: expected eps >= 0, got {eps}")
