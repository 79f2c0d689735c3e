"""Checks of the builder arguments that several families of classifiers share."""

from __future__ import annotations

from typing import Any

import numpy as np

import lucid
from lucid.vision import conversion_hint

__all__ = ["check_count", "check_images", "check_norm"]


def check_count(name: str, count: Any) -> None:
    """Raise unless ``count`` is an integer of at least 1.

    Parameters
    ----------
    name : str
        Name of the argument, for the error.
    count : object
        Value to check.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer, or less than 1.
    """
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise TypeError(f"{name}: expected an integer of at least 1, got {count!r}")
    if int(count) < 1:
        raise ValueError(f"{name}: expected an integer of at least 1, got {count!r}")


def check_norm(norm: object, norm_eps: Any) -> None:
    """Raise unless these are arguments ``norm`` and ``norm_eps`` of a builder.

    Parameters
    ----------
    norm : object
        Expected: ``"batch"`` or ``"frozen"``.
    norm_eps : object
        Expected: a finite number of at least 0.

    Raises
    ------
    ValueError
        If one of them is anything else.
    """
    if norm not in ("batch", "frozen"):
        raise ValueError(f'norm: expected "batch" or "frozen", got {norm!r}')
    is_number = isinstance(norm_eps, int | float) and not isinstance(norm_eps, bool)
    if not is_number or not 0 <= norm_eps < float("inf"):
        raise ValueError(f"norm_eps: expected a finite number of at least 0, got {norm_eps!r}")


def check_images(images: Any, channels: int) -> None:
    """Raise unless a batch of images has the shape (N, channels, H, W) with H, W >= 1.

    Parameters
    ----------
    images : Tensor
        The batch.
    channels : int
        Channels that the network takes.

    Raises
    ------
    TypeError
        If it is no tensor.
    ValueError
        If it has another number of axes or channels, or no pixels.
    """
    expected = f"expected images of shape (N, {channels}, H, W) with at least one pixel"
    if not isinstance(images, lucid.Tensor | np.ndarray):
        batch = "; of a batch (images, labels), give the images"
        hint = conversion_hint(images) or (batch if isinstance(images, list | tuple) else "")
        raise TypeError(f"{expected}, got {type(images).__name__}{hint}")
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != channels or 0 in shape[2:]:
        raise ValueError(f"{expected}, got {shape}")
