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
        raise ValueError(f"{layer!r}: expected input of shape (N, {channels}, H, W), got {shape}")


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
