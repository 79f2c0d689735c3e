from __future__ import annotations

import math

import numpy as np

from lucid_models_detection.box_encoding import MAX_LOG_SCALE, decode, encode


def test_encode_by_hand() -> None:
    # Anchor of 10 x 20 around (5, 10); box of 20 x 10 around (15, 15).
    result = encode(np.array([[5.0, 10, 25, 20]]), np.array([[0.0, 0, 10, 20]]))
    np.testing.assert_allclose(result, [[1.0, 0.25, math.log(2), math.log(0.5)]])


def test_decode_by_hand() -> None:
    deltas = np.array([[0.5, -0.5, math.log(2), 0.0]], np.float32)
    # Center (5, 10) moves by (5, -10) to (10, 0); size 10 x 20 becomes 20 x 20.
    result = decode(deltas, np.array([[0, 0, 10, 20]], np.float32))
    np.testing.assert_allclose(result, [[0, -10, 20, 10]], atol=1e-5)
    assert result.dtype == np.float32


def test_decode_undoes_encode() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 100, (2, 50, 2))
    boxes, anchors = np.concatenate([corner, corner + rng.uniform(1, 60, (2, 50, 2))], axis=-1)
    np.testing.assert_allclose(decode(encode(boxes, anchors), anchors), boxes)


def test_log_scales_are_limited() -> None:
    anchors = np.array([[0.0, 0, 16, 16]])
    expected = decode(np.array([[0, 0, MAX_LOG_SCALE, 0]]), anchors)
    np.testing.assert_array_equal(decode(np.array([[0, 0, 99.0, 0]]), anchors), expected)
    np.testing.assert_allclose(expected[0, 2] - expected[0, 0], 1000)


def test_class_specific_offsets_broadcast_over_regions() -> None:
    deltas = np.zeros((3, 5, 4), np.float32)
    deltas[:, 2, 0] = 1
    anchors = np.array([[0, 0, 10, 10], [5, 5, 10, 10], [1, 2, 3, 4]], np.float32)
    result = decode(deltas, anchors[:, None])
    assert result.shape == (3, 5, 4)
    np.testing.assert_array_equal(result[:, 0], anchors)
    np.testing.assert_array_equal(result[:, 2, 0] - anchors[:, 0], [10, 5, 2])


def test_broken_offsets_pass_without_a_warning() -> None:
    result = decode(np.array([[np.nan, 0, 0, 0], [0, np.inf, 0, -np.inf]]), np.ones((2, 4)))
    assert not np.isfinite(result[0, 0])


def test_nothing_to_do() -> None:
    none = np.zeros((0, 4), np.float32)
    assert encode(none, none).shape == decode(none, none).shape == (0, 4)
