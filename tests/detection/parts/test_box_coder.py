from __future__ import annotations

import math

import numpy as np
import pytest

from lucid import Tensor
from lucid.testing import gradcheck
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


def test_decoding_with_gradient() -> None:
    coder = BoxCoder((2.0, 3.0, 0.5, 4.0), max_log_scale=1.0)
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (2, 3, 2))
    anchors = np.concatenate([corner, corner + rng.uniform(5, 30, (2, 3, 2))], axis=-1)
    deltas = Tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    boxes = coder.decode_tensor(deltas, anchors)
    np.testing.assert_array_equal(boxes.numpy(), coder.decode(deltas, anchors))
    assert (deltas.numpy()[..., 2] / 0.5 > 1).any(), "some are at the bound"
    gradcheck(lambda d: coder.decode_tensor(d, anchors), [deltas])


def test_decoding_with_gradient_keeps_the_dtype() -> None:
    deltas = Tensor(np.zeros((1, 4), np.float32), requires_grad=True)
    boxes = BoxCoder().decode_tensor(deltas, np.array([[0.0, 0, 4, 4]]))
    boxes.sum().backward()
    assert boxes.dtype == np.float32
    assert deltas.grad is not None
    assert deltas.grad.dtype == np.float32


def test_decode_tensor_requires_equal_shapes() -> None:
    deltas = Tensor(np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match=r"got \(2, 4\) and \(1, 4\)"):
        BoxCoder().decode_tensor(deltas, np.zeros((1, 4)))
