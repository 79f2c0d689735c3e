"""Comparison of detector parts with torchvision: pyramids, matching, postprocessing."""

from __future__ import annotations

import re
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch_compare import TOLERANCE, compare
from torchvision_cpu import torchvision

import lucid
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.parts import (
    AnchorGenerator,
    FeaturePyramidNetwork,
    LastLevelMaxPool,
    LastLevelP6P7,
    Matcher,
    ciou_loss,
    diou_loss,
    giou_loss,
    postprocess_detections,
)

pyramid = torchvision.ops.feature_pyramid_network


@pytest.mark.parametrize("extra", ["none", "pool", "c5", "p5"])
def test_pyramids_agree(extra: str) -> None:
    channels, width = (5, 7, 9), 6
    ours_extra = {
        "none": None,
        "pool": LastLevelMaxPool(),
        "c5": LastLevelP6P7(9, width),
        "p5": LastLevelP6P7(width, width),
    }[extra]
    theirs_extra = {
        "none": None,
        "pool": pyramid.LastLevelMaxPool(),
        "c5": pyramid.LastLevelP6P7(9, width),
        "p5": pyramid.LastLevelP6P7(width, width),
    }[extra]
    torch.manual_seed(0)
    theirs = torchvision.ops.FeaturePyramidNetwork(channels, width, theirs_extra)
    ours = FeaturePyramidNetwork(channels, width, ours_extra)
    state = {}
    for key, value in theirs.state_dict().items():
        name = re.sub(r"^inner_blocks\.(\d)\.0", r"lateral.\1", key)
        name = re.sub(r"^layer_blocks\.(\d)\.0", r"output.\1", name)
        state[name] = lucid.Tensor(value.numpy())
    ours.load_state_dict(state)
    rng = np.random.default_rng(0)
    # Sizes that are no multiples of each other, as of images that are not padded.
    maps = [
        rng.standard_normal((2, c, *size)).astype(np.float32)
        for c, size in zip(channels, [(15, 21), (8, 11), (4, 6)], strict=True)
    ]
    a = [lucid.Tensor(m, requires_grad=True) for m in maps]
    b = [torch.tensor(m, requires_grad=True) for m in maps]
    levels = ours(a)
    expected = list(theirs(OrderedDict((str(i), m) for i, m in enumerate(b))).values())
    assert len(levels) == len(expected)
    weights = [rng.standard_normal(e.shape).astype(np.float32) for e in expected]
    for level, other in zip(levels, expected, strict=True):
        np.testing.assert_allclose(level.numpy(), other.detach().numpy(), atol=1e-5)
    sum(((x * w).sum() for x, w in zip(levels, weights, strict=True)), lucid.zeros(())).backward()
    sum((x * torch.tensor(w)).sum() for x, w in zip(expected, weights, strict=True)).backward()
    for mine, other in zip(a, b, strict=True):
        assert mine.grad is not None
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), atol=2e-4)


def random_boxes(rng: np.random.Generator, count: int, extent: float = 200) -> np.ndarray:
    corner = rng.uniform(0, extent, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(4, extent / 2, (count, 2))], axis=1)
    return boxes.astype(np.float32)


@pytest.mark.parametrize("low_quality", [False, True])
@pytest.mark.parametrize("thresholds", [(0.5, 0.4), (0.7, 0.3), (0.5, 0.5)])
def test_matches_agree(thresholds: tuple[float, float], low_quality: bool) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        anchors = random_boxes(rng, 300)
        # Every box overlaps an anchor; where none does, ours differs as documented.
        truth = anchors[rng.integers(0, 300, 5)] + rng.uniform(-3, 3, (5, 4)).astype(np.float32)
        quality = box_ops.iou(truth, anchors)
        theirs = torchvision.models.detection._utils.Matcher(*thresholds, low_quality)
        ours = Matcher(*thresholds, allow_low_quality_matches=low_quality)
        np.testing.assert_array_equal(ours(quality), theirs(torch.tensor(quality)).numpy())


def retinanet(**options: Any) -> Any:
    """The postprocessing of torchvision's RetinaNet."""
    coder = torchvision.models.detection._utils.BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
    return SimpleNamespace(box_coder=coder, **options)


@pytest.mark.parametrize(
    ("threshold", "candidates", "nms", "count"),
    [(0.05, 1000, 0.5, 300), (0.3, 40, 0.4, 20), (0.999999, 10, 0.5, 5)],
)
def test_selected_detections_agree(
    threshold: float, candidates: int, nms: float, count: int
) -> None:
    rng = np.random.default_rng(2)
    sizes, image_size = [(8, 9), (4, 5), (2, 3)], (120, 140)
    generator = AnchorGenerator([(16, 20), (32, 40), (64, 80)], [(0.5, 1.0)] * 3)
    anchors = generator(sizes, (128, 144))
    logits = [rng.normal(-1, 2, (len(a), 6)).astype(np.float32) for a in anchors]
    deltas = [rng.normal(0, 0.3, (len(a), 4)).astype(np.float32) for a in anchors]
    model = retinanet(
        score_thresh=threshold, topk_candidates=candidates, nms_thresh=nms, detections_per_img=count
    )
    (expected,) = torchvision.models.detection.RetinaNet.postprocess_detections(
        model,
        {
            "cls_logits": [torch.tensor(x)[None] for x in logits],
            "bbox_regression": [torch.tensor(x)[None] for x in deltas],
        },
        [[torch.tensor(a) for a in anchors]],
        [image_size],
    )
    found = postprocess_detections(
        [lucid.sigmoid(lucid.Tensor(x)) for x in logits],
        deltas,
        anchors,
        image_size,
        score_threshold=threshold,
        candidates_per_level=candidates,
        nms_threshold=nms,
        detections_per_image=count,
    )
    np.testing.assert_array_equal(found["labels"], expected["labels"].numpy())
    np.testing.assert_allclose(found["scores"], expected["scores"].numpy(), rtol=1e-5)
    np.testing.assert_allclose(found["boxes"], expected["boxes"].numpy(), atol=1e-3)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (giou_loss, torchvision.ops.generalized_box_iou_loss),
        (diou_loss, torchvision.ops.distance_box_iou_loss),
        (ciou_loss, torchvision.ops.complete_box_iou_loss),
    ],
    ids=["giou", "diou", "ciou"],
)
def test_overlap_losses_agree(ours: Any, theirs: Any, reduction: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    for count in (0, 1, 50):
        first, second = random_boxes(rng, count), random_boxes(rng, count, 150)
        if count > 1:
            second[::5] = first[::5] + rng.uniform(-2, 2, first[::5].shape)
            second[1::5, :2] = first[1::5, :2]  # edges that coincide
            second[2::5, 2:] = first[2::5, 2:]
            second[3::5] = first[3::5] + 500  # far apart
        compare(
            lambda a, b: ours(a, b, reduction=reduction),
            lambda a, b: theirs(a, b, reduction=reduction),
            [first, second],
            dtype=dtype,
        )
    if ours is not ciou_loss:  # torchvision's takes eps for a part of its denominators only
        compare(
            lambda a, b: ours(a, b, reduction, 0.5),
            lambda a, b: theirs(a, b, reduction, 0.5),
            [random_boxes(rng, 20), random_boxes(rng, 20)],
            dtype=dtype,
        )
