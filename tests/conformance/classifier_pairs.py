"""Inputs and comparisons for tests of classifiers against torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["fit_norms", "images", "relative_error"]


def fit_norms(model: torch.nn.Module) -> None:
    """Draw random affine parameters and statistics of batch norms."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)


def images(count: int, size: int, dtype: Any = np.float32) -> np.ndarray:
    """Random images (count, 3, size, size) with a fixed seed."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((count, 3, size, size)).astype(dtype)


def relative_error(actual: Any, expected: torch.Tensor) -> float:
    """Largest difference, relative to the largest value."""
    reference = expected.detach().numpy()
    return float(np.abs(np.asarray(actual) - reference).max() / np.abs(reference).max())
