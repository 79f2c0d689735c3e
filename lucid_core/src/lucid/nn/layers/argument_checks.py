"""The checks that layers make of what they are built with and called with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lucid.autograd import ArrayLike, array_of

if TYPE_CHECKING:
    from lucid.nn.module import Module

__all__ = ["check_channels", "check_eps", "check_positive"]


def check_channels(layer: Module, x: ArrayLike, channels: int) -> None:
    """Raise ValueError, naming the layer, unless ``x`` has the shape (N, channels, H, W)."""
    shape = array_of(x).shape
    if len(shape) != 4 or shape[1] != channels:
        raise ValueError(f"{layer!r} expected an input of shape (N, {channels}, H, W), got {shape}")


def check_positive(layer: str, **sizes: int) -> None:
    """Raise, naming layer and argument, unless every size is an integer of at least 1."""
    for name, size in sizes.items():
        if not hasattr(size, "__index__"):
            raise TypeError(f"{layer}: {name} must be an integer, got {size!r}")
        if size < 1:
            raise ValueError(f"{layer}: {name} must be at least 1, got {size}")


def check_eps(layer: str, eps: float) -> None:
    """Raise ValueError, naming the layer, for a negative ``eps``: its square root is NaN."""
    if not eps >= 0:
        raise ValueError(f"{layer}: eps must not be negative, got {eps}")
