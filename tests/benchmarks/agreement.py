"""An engine that computes something else is no peer: each one's output is checked, once.

``prepare.py`` leaves what PyTorch gives for the same weights and input.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

#: Share of detections that has to agree: rounding decides between two all but equal ones.
_DETECTIONS = 0.95


def check_logits(found: Array, name: str, folder: Path) -> None:
    """Compare with the logits of the same images; relative to their largest.

    ``name`` is that of the network in ``prepare.py``.
    """
    expected = np.load(folder / f"{name}_expected.npy")[: len(found)]
    if found.shape != expected.shape:
        raise ValueError(f"logits: expected {expected.shape}, got {found.shape}")
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not error < 1e-3:
        raise ValueError(f"logits differ from PyTorch's by {error:.1e} of their largest")


def check_detections(found: Sequence[Array], name: str, folder: Path) -> None:
    """Compare boxes, labels and scores with the detections of the same picture.

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
