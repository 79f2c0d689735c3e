"""The benchmarks' RoIAlign for torchvision equals torchvision's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision_cpu import pure_roi_align, torchvision

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_roi_align_and_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    # The benchmarks replace these; restore them after the test.
    monkeypatch.setattr(torchvision.ops.poolers, "roi_align", torchvision.ops.roi_align)
    monkeypatch.setattr(torchvision.ops.boxes, "nms", torchvision.ops.nms)
    monkeypatch.syspath_prepend(BENCHMARKS)
    from inputs import regions
    from torch_detection import watch

    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((2, 8, 50, 50))).requires_grad_()
    boxes = regions(60, 200).clip(0, 200).astype(float)
    boxes[:3] = [[0, 0, 200, 200], [190, 190, 200, 200], [5, 5, 5.5, 5.5]]
    image = np.arange(60)[:, None] % 2
    rois = torch.from_numpy(np.concatenate([image, boxes], axis=1))
    found = torchvision.ops.poolers.roi_align(features, rois, (7, 7), 0.25, 2)
    expected = pure_roi_align(features, rois, 0.25, 7, 7, 2, False)
    torch.testing.assert_close(found, expected)
    upstream = torch.from_numpy(rng.standard_normal(found.shape))
    gradients = (torch.autograd.grad(value, features, upstream)[0] for value in (found, expected))
    torch.testing.assert_close(*gradients)
    assert watch.take("roi_align", "roi_align_backward") > 0
