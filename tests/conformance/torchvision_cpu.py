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

__all__ = ["pure_roi_align", "roi_align", "torchvision"]


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


def taps(positions: Any, size: int) -> tuple[Any, Any]:
    """The two pixels around each position (R, B, S) and their shares, both (R, B, 2 * S).

    A position of more than a pixel outside has no share in any.  So it is in
    torchvision's compiled operators, which the published results come from, and in
    ONNX's; its pure version takes the pixel at the border there, which shows in regions
    thinner than a pixel at the lower or right border.
    """
    inside = (positions >= -1) & (positions <= size)
    positions = positions.clamp(min=0)
    low = positions.long().clamp(max=size - 1)
    share = (positions - low).clamp(max=1)
    pixels = torch.stack([low, (low + 1).clamp(max=size - 1)], dim=-1)
    shares = torch.stack([1 - share, share], dim=-1) * inside[..., None]
    return pixels.flatten(2), shares.flatten(2)


def roi_align(
    features: Any, rois: Any, scale: float, height: int, width: int, ratio: int, aligned: bool
) -> Any:
    """RoIAlign as sums over bags of pixels: (R, C, height, width), differentiable.

    torchvision's own pure version makes arrays of all samples of all regions,
    gigabytes of them; a test holds this one against it.
    """
    if ratio < 1:
        raise NotImplementedError("sampling_ratio <= 0, which no detector uses")
    _, channels, rows, columns = features.shape
    start = rois[:, 1:3] * scale - (0.5 if aligned else 0.0)
    length = (rois[:, 3:5] - rois[:, 1:3]) * scale
    if not aligned:
        length = length.clamp(min=1)

    def places(axis: int, bins: int) -> Any:
        place = torch.arange(bins * ratio, dtype=rois.dtype) + 0.5
        place = place.reshape(bins, ratio) / (bins * ratio)
        return start[:, axis, None, None] + length[:, axis, None, None] * place

    x, across = taps(places(0, width), columns)
    y, down = taps(places(1, height), rows)
    first = rois[:, 0].long()[:, None, None, None, None] * (rows * columns)
    index = first + y[:, :, None, :, None] * columns + x[:, None, :, None, :]
    share = down[:, :, None, :, None] * across[:, None, :, None, :] / ratio**2
    pooled = torch.nn.functional.embedding_bag(
        index.flatten(3).flatten(0, 2),
        features.permute(0, 2, 3, 1).reshape(-1, channels),
        per_sample_weights=share.flatten(3).flatten(0, 2).to(features.dtype),
        mode="sum",
    )
    return pooled.reshape(-1, height, width, channels).permute(0, 3, 1, 2).contiguous()


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

# Where the compiled operator is missing, torchvision calls its pure version of its own accord.
pure = sys.modules["torchvision.ops.roi_align"]
#: torchvision's pure version, as it is written and not as it would be compiled.
pure_roi_align = pure._roi_align.__wrapped__
pure._roi_align = roi_align

for name, module in list(sys.modules.items()):
    if name.startswith("torchvision.") and hasattr(module, "_assert_has_ops"):
        module._assert_has_ops = lambda: None
