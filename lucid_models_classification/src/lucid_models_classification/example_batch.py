"""Example batch of a classifier for the checks of plugins."""

from __future__ import annotations

import lucid
from lucid import Tensor

__all__ = ["example_batch"]


def example_batch() -> tuple[Tensor, Tensor]:
    """Four random images of four classes.

    They are smaller than what the networks are made for, which their global pooling
    allows, and which keeps the check of the largest of them to seconds.

    Returns
    -------
    images : lucid.Tensor
        (4, 3, 64, 64), as if normalized.
    labels : lucid.Tensor
        (4,), 0 to 3.
    """
    return lucid.random.randn(4, 3, 64, 64), lucid.arange(4)
