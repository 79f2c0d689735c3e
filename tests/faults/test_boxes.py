"""Boxes, scores and images that are equal, empty, without area, or in unusual memory layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lucid
from lucid_models_detection import FasterRCNN, boxes, roi_align

Array = np.ndarray[Any, Any]

# Few values, so that equal scores, equal boxes and boxes without area are the rule.
EDGES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 10.0])
SCORES = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@st.composite
def scored_boxes(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    count = draw(st.integers(0, 12))
    xy = draw(hnp.arrays(np.float32, (count, 2, 2), elements=EDGES))
    corners = np.sort(xy, axis=1).reshape(count, 4)
    scores = draw(hnp.arrays(np.float32, count, elements=SCORES))
    groups = draw(hnp.arrays(np.int64, count, elements=st.integers(0, 2)))
    return corners, scores, groups


def overlap(a: Array, b: Array) -> float:
    """IoU of two boxes; 0 if neither has an area."""
    width = max(0.0, float(min(a[2], b[2]) - max(a[0], b[0])))
    height = max(0.0, float(min(a[3], b[3]) - max(a[1], b[1])))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (a, b)]
    union = sum(areas) - width * height
    return width * height / union if union > 0 else 0.0


def suppressed_plainly(corners: Array, scores: Array, groups: Array, threshold: float) -> list[int]:
    """Reference NMS per group, stable for equal scores."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        rivals = [j for j in kept if groups[j] == groups[i]]
        if all(overlap(corners[i], corners[j]) <= threshold for j in rivals):
            kept.append(i)
    return kept


@settings(max_examples=150, deadline=None)
@given(scored_boxes(), st.sampled_from([0.0, 0.5, 1.0]))
def test_ties_and_boxes_without_area(drawn: tuple[Array, Array, Array], threshold: float) -> None:
    corners, scores, groups = drawn
    one = np.zeros_like(groups)
    expected = suppressed_plainly(corners, scores, one, threshold)
    assert boxes.nms(corners, scores, threshold).tolist() == expected
    expected = suppressed_plainly(corners, scores, groups, threshold)
    assert boxes.batched_nms(corners, scores, groups, threshold).tolist() == expected
    overlaps = boxes.iou(corners, corners)
    plain = [[overlap(a, b) for b in corners] for a in corners]
    np.testing.assert_allclose(overlaps, np.reshape(plain, overlaps.shape), atol=1e-6)
    assert np.isfinite(boxes.giou(corners, corners)).all()


@pytest.mark.parametrize("side", [0.0, 5.0])
def test_equal_boxes(side: float) -> None:
    """Equal boxes with an area leave the first; boxes without area do not overlap."""
    same = np.tile(np.array([[3, 3, 3 + side, 3 + side]], np.float32), (50, 1))
    kept = boxes.nms(same, np.ones(50, np.float32), 0.5).tolist()
    assert kept == ([0] if side else list(range(50)))


def layouts(array: Array) -> dict[str, Array]:
    """The same values in other memory orders and strides, and read-only."""
    read_only = array.copy()
    read_only.flags.writeable = False
    spread = np.zeros([2 * n for n in array.shape], array.dtype)
    every_other = tuple([slice(None, None, 2)] * array.ndim)
    spread[every_other] = array
    return {
        "backwards": array[..., ::-1].copy()[..., ::-1],
        "Fortran": np.asfortranarray(array),
        "spread": spread[every_other],
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "read-only": read_only,
    }


IMAGE = np.random.default_rng(0).random((1, 3, 40, 48), np.float32)
BOXES = np.array([[2, 3, 30, 20], [5, 1, 44, 39]], np.float32)


def found_in(model: FasterRCNN, image: Array) -> list[Array]:
    (found,) = model.predict(image)
    return [found["boxes"], found["labels"], found["scores"]]


def losses_of(model: FasterRCNN, corners: Array) -> list[float]:
    lucid.random.seed(0)
    targets = [{"boxes": corners, "labels": np.array([1, 2])}]
    return [loss.item() for loss in model(IMAGE, targets).values()]


@pytest.fixture(scope="module")
def model() -> FasterRCNN:
    lucid.random.seed(0)
    small = {"hidden_dim": 16, "rpn_post_nms_top_n": (50, 20), "box_score_threshold": 0.0}
    return FasterRCNN.from_backbone("resnet_18", 3, 2, **small).eval()


CALLS: dict[str, tuple[Callable[[FasterRCNN, Array], Any], Array]] = {
    "predict": (found_in, IMAGE),
    "forward": (lambda model, x: [y.numpy() for y in model(x)], IMAGE),
    "losses": (losses_of, BOXES),
    "roi_align of a map": (
        lambda model, x: roi_align(
            lucid.Tensor(x), np.array([[0, 1, 1, 30, 30]], np.float32), (2, 2)
        ).numpy(),
        IMAGE,
    ),
    "roi_align of regions": (
        lambda model, rois: roi_align(lucid.Tensor(IMAGE), rois, (2, 2)).numpy(),
        np.array([[0, 1, 1, 30, 30], [0, 4, 2, 9, 17]], np.float32),
    ),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("layout", layouts(BOXES))
def test_layouts_of_memory(model: FasterRCNN, call: str, layout: str) -> None:
    function, array = CALLS[call]
    expected = function(model, array.copy())
    given = layouts(array)[layout]
    before = given.copy()
    for ours, wanted in zip(function(model, given), expected, strict=True):
        np.testing.assert_array_equal(ours, wanted)
    np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_dtypes_are_converted(model: FasterRCNN, dtype: Any) -> None:
    corners, labels, scores = found_in(model, IMAGE.astype(dtype))
    assert (corners.dtype, labels.dtype, scores.dtype) == (np.float32, np.int64, np.float32)
    losses = model([IMAGE[0].astype(dtype)], [{"boxes": BOXES.astype(dtype), "labels": [1, 2]}])
    assert {loss.dtype for loss in losses.values()} == {np.dtype(np.float32)}


def test_weights_with_another_number_of_classes(model: FasterRCNN) -> None:
    small = {"hidden_dim": 16, "rpn_post_nms_top_n": (50, 20)}
    other = FasterRCNN.from_backbone("resnet_18", 5, 4, **small)
    before = {name: value.numpy().tobytes() for name, value in other.state_dict().items()}
    with pytest.raises(lucid.StateDictError) as caught:
        other.load_state_dict(model.state_dict())
    for name, (ours, theirs) in {
        "roi_heads.box_predictor.cls_score.weight": ((5, 16), (3, 16)),
        "roi_heads.box_predictor.bbox_pred.bias": ((20,), (12,)),
        "backbone.net.fc.bias": ((4,), (2,)),
    }.items():
        (line,) = [line for line in str(caught.value).splitlines() if name in line]
        assert str(ours) in line
        assert str(theirs) in line
    after = {name: value.numpy().tobytes() for name, value in other.state_dict().items()}
    assert after == before
    report = other.load_state_dict(model.state_dict(), skip_mismatched=True)
    heads = ("roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred")
    layers = (*heads, "backbone.net.fc")
    assert sorted(report.skipped) == sorted(f"{x}.{y}" for x in layers for y in ("bias", "weight"))
