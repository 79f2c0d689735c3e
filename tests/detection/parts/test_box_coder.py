from __future__ import annotations

import math

import numpy as np
import pytest

from lucid_models_detection.parts import BoxCoder


def test_weights_multiply_the_offsets() -> None:
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    boxes, anchors = np.array([[5.0, 10, 25, 20]]), np.array([[0.0, 0, 10, 20]])
    expected = [[10.0, 2.5, 5 * math.log(2), 5 * math.log(0.5)]]
    np.testing.assert_allclose(coder.encode(boxes, anchors), expected)
    np.testing.assert_allclose(coder.decode(np.array(expected), anchors), boxes)


def test_the_bound_of_log_scales_can_be_chosen() -> None:
    anchors = np.array([[0.0, 0, 16, 16]])
    deltas = np.array([[0.0, 0, 5, 5]])
    size = BoxCoder(max_log_scale=math.log(2)).decode(deltas, anchors)[0, 2:] - 8
    np.testing.assert_allclose(size, [16, 16])
    unbounded = BoxCoder(max_log_scale=math.inf).decode(deltas, anchors)
    np.testing.assert_allclose(unbounded[0, 2] - unbounded[0, 0], 16 * math.exp(5))


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (1.0, 0.0, 1.0, 1.0), (1.0, -1.0, 1.0, 1.0)])
def test_weights_must_be_four_positive_numbers(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="weights: expected four positive numbers"):
        BoxCoder(weights)  # type: ignore[arg-type]


def test_the_bound_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="max_log_scale: expected a number, got nan"):
        BoxCoder(max_log_scale=math.nan)
