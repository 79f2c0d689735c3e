"""Checks of arguments and images that all classifiers share."""

from __future__ import annotations

from typing import Any

import numpy as np

import lucid
from lucid.vision import conversion_hint

__all__ = ["check_count", "check_images", "check_norm"]


def check_count(name: str, count: Any) -> None:
    """Raise unless the argument ``name`` is an integer of at least 1."""
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise TypeError(f"{name}: expected an integer of at least 1, got {count!r}")
    if int(count) < 1:
        raise ValueError(f"{name}: expected an integer of at least 1, got {count!r}")


def check_norm(norm: object, norm_eps: Any) -> None:
    """Raise unless ``norm`` is "batch" or "frozen" and ``norm_eps`` a finite number, 0 or more."""
    if norm not in ("batch", "frozen"):
        raise ValueError(f'norm: expected "batch" or "frozen", got {norm!r}')
    is_number = isinstance(norm_eps, int | float) and not isinstance(norm_eps, bool)
    if not is_number or not 0 <= norm_eps < float("inf"):
        raise ValueError(f"norm_eps: expected a finite number of at least 0, got {norm_eps!r}")


def check_images(images: Any, channels: int) -> None:
    """Raise unless ``images`` is a batch (N, channels, H, W) with H, W >= 1."""
    expected = f"expected images of shape (N, {channels}, H, W) with at least one pixel"
    if not isinstance(images, lucid.Tensor | np.ndarray):
        batch = "; from a batch (images, labels), pass the images"
        hint = conversion_hint(images) or (batch if isinstance(images, list | tuple) else "")
        raise TypeError(f"{expected}, got {type(images).__name__}{hint}")
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != channels or 0 in shape[2:]:
        raise ValueError(f"{expected}, got {shape}")
