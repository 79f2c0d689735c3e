"""torchvision's Python code beside a CPU build of PyTorch.

torchvision's wheel holds compiled operators that only a CUDA build of PyTorch can
load, and importing the package stops at the first of them that is missing.  Its
models are plain Python otherwise.  So this module gives the two operators that
the detectors call, ``torchvision::nms`` and ``torchvision::roi_align``, bodies
that run anywhere, and then imports the package.  They are an oracle for values
and gradients; they say nothing about speed.

Tests here write ``from torchvision_cpu import torchvision`` in place of
``import torchvision``.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["torchvision"]


def greedy_nms(boxes: Any, scores: Any, threshold: float) -> Any:
    """Indices of the boxes kept, best first: each drops the later ones it overlaps too much."""
    boxes, scores = boxes.detach(), scores.detach()
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    kept = []
    candidates = torch.sort(scores, descending=True, stable=True).indices
    while len(candidates):
        best, candidates = candidates[0], candidates[1:]
        kept.append(int(best))
        low = torch.maximum(boxes[best, :2], boxes[candidates, :2])
        high = torch.minimum(boxes[best, 2:], boxes[candidates, 2:])
        common = (high - low).clamp(min=0).prod(dim=1)
        # 0/0 between two empty boxes is NaN, which compares false: neither drops the other.
        overlap = common / (area[best] + area[candidates] - common)
        candidates = candidates[~(overlap > threshold)]
    return torch.tensor(kept, dtype=torch.int64)


def roi_align(
    features: Any, rois: Any, scale: float, height: int, width: int, ratio: int, aligned: bool
) -> Any:
    """torchvision's own pure PyTorch version of RoIAlign, differentiable."""
    from torchvision.ops import roi_align as module

    return sys.modules[module.__module__]._roi_align(
        features, rois, scale, height, width, ratio, aligned
    )


@contextlib.contextmanager
def without_shape_functions() -> Iterator[None]:
    """Importing torchvision declares output shapes of operators that do not exist here."""
    register = torch.library.register_fake
    torch.library.register_fake = lambda *args, **kwargs: lambda function: function
    try:
        yield
    finally:
        torch.library.register_fake = register


# Kept for as long as the process runs: the operators go when the object does.
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
LIBRARY.define(
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
    "int pooled_width, int sampling_ratio, bool aligned) -> Tensor"
)
LIBRARY.impl("nms", greedy_nms, "CPU")
LIBRARY.impl("roi_align", roi_align, "CompositeImplicitAutograd")

with without_shape_functions():
    import torchvision

for name, module in list(sys.modules.items()):
    if name.startswith("torchvision.") and hasattr(module, "_assert_has_ops"):
        module._assert_has_ops = lambda: None
