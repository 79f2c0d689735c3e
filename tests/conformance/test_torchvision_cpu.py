"""The replacement of torchvision's compiled RoIAlign, against its Python version and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision_cpu import pure_roi_align, torchvision

from lucid import Tensor
from lucid_models_detection import roi_align


@pytest.mark.parametrize("aligned", [False, True])
def test_equals_the_python_version_inside_the_map(aligned: bool) -> None:
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((2, 5, 9, 13))).requires_grad_()
    corner = rng.uniform(4, 15, (20, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(4, 16, (20, 2))], axis=1)
    rois = torch.from_numpy(np.concatenate([np.arange(20)[:, None] % 2, boxes], axis=1))
    found = torchvision.ops.roi_align(features, rois, (3, 2), 0.25, 2, aligned)
    expected = pure_roi_align(features, rois, 0.25, 3, 2, 2, aligned)
    torch.testing.assert_close(found, expected)
    upstream = torch.from_numpy(rng.standard_normal(found.shape))
    torch.testing.assert_close(
        *(torch.autograd.grad(value, features, upstream)[0] for value in (found, expected))
    )


@pytest.mark.parametrize(
    ("top", "bottom", "expected"),
    [
        (1.0, 2.0, 1.0),
        (3.0, 4.0, 1.0),  # samples at 3.25 and 3.75: past the last center, held to it
        (3.6, 3.9, 0.5),  # as high as a pixel at least, so samples at 3.85 and 4.35
        (3.9, 4.0, 0.0),  # at 4.15 and 4.65
    ],
)
def test_samples_outside_the_map_are_zero(top: float, bottom: float, expected: float) -> None:
    """Of a map of ones four pixels high; torchvision's pure version would always say 1."""
    rois = np.array([[0, 0.5, top, 2.5, bottom]], np.float32)
    theirs = torchvision.ops.roi_align(torch.ones(1, 1, 4, 4), torch.from_numpy(rois), 1, 1.0, 2)
    ours = roi_align(Tensor(np.ones((1, 1, 4, 4), np.float32)), rois, 1, 1.0, 2)
    assert theirs.item() == pytest.approx(expected)
    assert ours.item() == pytest.approx(expected)
