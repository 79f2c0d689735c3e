from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lucid_models_detection.faster_rcnn import FasterRCNNConfig


def test_defaults() -> None:
    config = FasterRCNNConfig()
    assert config.rpn_pre_nms_top_n == (2000, 1000)
    assert config.rpn_post_nms_top_n == (2000, 300)
    assert (config.rpn_nms_threshold, config.box_nms_threshold) == (0.7, 0.5)
    assert (config.rpn_positive_iou, config.rpn_negative_iou) == (0.7, 0.3)
    assert (config.box_score_threshold, config.box_detections_per_image) == (0.05, 100)
    assert (config.box_positive_iou, config.box_positive_fraction) == (0.5, 0.25)
    assert config.box_batch_size_per_image == 512
    assert (config.min_size, config.max_size) == (None, None)
    assert config.image_mean == (0.485, 0.456, 0.406)
    assert config.image_std == (0.229, 0.224, 0.225)
    assert (config.hidden_dim, config.pool_size) == (1024, 7)


def test_one_number_applies_to_train_and_eval() -> None:
    assert FasterRCNNConfig(rpn_post_nms_top_n=50).rpn_post_nms_top_n == (50, 50)


def test_one_size_per_level_and_shared_ratios() -> None:
    config = FasterRCNNConfig(anchor_sizes=[16, 32], aspect_ratios=[1, 2])
    assert config.anchor_sizes == ((16.0,), (32.0,))
    assert config.aspect_ratios == ((1.0, 2.0), (1.0, 2.0))


def test_json_lists_and_numpy_numbers() -> None:
    config = FasterRCNNConfig(
        anchor_sizes=[[16], [32]],
        rpn_pre_nms_top_n=[np.int64(7), 8],
        rpn_nms_threshold=np.float32(0.5),
        min_size=[400, 500],
    )
    assert config.anchor_sizes == ((16.0,), (32.0,))
    assert config.rpn_pre_nms_top_n == (7, 8)
    assert config.rpn_nms_threshold == 0.5
    assert config.min_size == (400, 500)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rpn_nms_threshold": 1.5}, r"rpn_nms_threshold: expected a number from 0 to 1, got 1.5"),
        ({"box_score_threshold": float("nan")}, "box_score_threshold: .* got nan"),
        ({"box_positive_fraction": -0.1}, "box_positive_fraction: .* got -0.1"),
        ({"rpn_negative_iou": 0.8}, r"rpn_negative_iou: .*0.7 \(rpn_positive_iou\), got 0.8"),
        ({"rpn_post_nms_top_n": 0}, "rpn_post_nms_top_n: expected an integer of at least 1, got 0"),
        ({"rpn_post_nms_top_n": (1, 2, 3)}, r"rpn_post_nms_top_n: .*got \(1, 2, 3\)"),
        ({"rpn_pre_nms_top_n": (5, -1)}, r"rpn_pre_nms_top_n\[1\]: .* got -1"),
        ({"min_size": 800, "max_size": 600}, r"min_size: .*600 \(max_size\), got 800"),
        ({"min_size": ()}, "min_size: "),
        ({"image_mean": (0.5, 0.5)}, r"image_mean: expected three numbers.* got \(0.5, 0.5\)"),
        ({"image_std": (1, 1, 0)}, "image_std: expected a number greater than 0, got 0"),
        ({"anchor_sizes": ()}, r"anchor_sizes: .*got \(\)"),
        ({"anchor_sizes": ((32,), ())}, "anchor_sizes: "),
        ({"anchor_sizes": (32, (64,))}, "anchor_sizes: "),
        ({"anchor_sizes": (32, -64)}, "anchor_sizes: expected a number greater than 0, got -64"),
        ({"aspect_ratios": "wide"}, "aspect_ratios: expected a sequence .* got 'wide'"),
        ({"hidden_dim": 0}, "hidden_dim: expected an integer of at least 1, got 0"),
        ({"pool_size": -7}, "pool_size: expected an integer of at least 1, got -7"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FasterRCNNConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_dim": 10.0}, "hidden_dim: expected an integer of at least 1, got 10.0"),
        ({"pool_size": True}, "pool_size: expected an integer of at least 1, got True"),
        ({"rpn_nms_threshold": "0.7"}, "rpn_nms_threshold: expected a number .* got '0.7'"),
        ({"box_detections_per_image": None}, "box_detections_per_image: .* got None"),
    ],
)
def test_values_of_another_kind(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        FasterRCNNConfig(**options)


def test_every_field_is_checked() -> None:
    assert FasterRCNNConfig.names() == tuple(f.name for f in dataclasses.fields(FasterRCNNConfig))
