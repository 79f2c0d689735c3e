"""Checks that engines compute the same outputs.

``prepare.py`` writes PyTorch's outputs for the same weights and inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

#: Fraction of detections that must agree; rounding decides between nearly equal scores.
_DETECTIONS = 0.95


def check_logits(found: Array, name: str, folder: Path) -> None:
    """Compare logits, relative to the largest.

    ``name`` is that of the network in ``prepare.py``.
    """
    expected = np.load(folder / f"{name}_expected.npy")[: len(found)]
    if found.shape != expected.shape:
        raise ValueError(f"logits: expected {expected.shape}, got {found.shape}")
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not error < 1e-3:
        raise ValueError(f"logits differ from PyTorch's by {error:.1e} of their largest")


def check_detections(found: Sequence[Array], name: str, folder: Path) -> None:
    """Compare boxes, labels and scores of the detections in one image.

    ``name`` is that of the network in ``prepare.py``.
    """
    boxes, labels, scores = found
    with np.load(folder / f"{name}_expected.npz") as expected:
        same = np.asarray(labels)[:, None] == expected["labels"]
        near = np.abs(np.asarray(boxes)[:, None] - expected["boxes"]).max(axis=-1) < 0.1
        sure = np.abs(np.asarray(scores)[:, None] - expected["scores"]) < 1e-3
    agreeing = int((same & near & sure).any(axis=0).sum())
    if agreeing < _DETECTIONS * same.shape[1] or abs(len(labels) - same.shape[1]) > 2:
        raise ValueError(
            f"{agreeing} of {same.shape[1]} detections of PyTorch are among the {len(labels)} found"
        )
