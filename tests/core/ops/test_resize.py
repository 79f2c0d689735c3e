"""Resizing: values, and gradients against finite differences."""

import numpy as np
import pytest

from lucid import Tensor
from lucid.nn import functional as F
from lucid.testing import gradcheck

ROW = np.array([[[[0.0, 4.0]]]], np.float32)


def test_nearest_values():
    np.testing.assert_array_equal(F.interpolate(ROW, (1, 5)).numpy()[0, 0], [[0, 0, 0, 4, 4]])
    doubled = F.interpolate(ROW, scale_factor=2).numpy()[0, 0]
    np.testing.assert_array_equal(doubled, [[0, 0, 4, 4], [0, 0, 4, 4]])
    wide = np.arange(6.0).reshape(1, 1, 1, 6)
    np.testing.assert_array_equal(F.interpolate(wide, (1, 4)).numpy()[0, 0], [[0, 1, 3, 4]])


def test_bilinear_values():
    # Pixel centers of four columns over two lie at -0.25, 0.25, 0.75, 1.25.
    np.testing.assert_allclose(
        F.interpolate(ROW, (1, 4), mode="bilinear").numpy()[0, 0], [[0, 1, 3, 4]]
    )
    np.testing.assert_allclose(
        F.interpolate(ROW, (1, 5), mode="bilinear", align_corners=True).numpy()[0, 0],
        [[0, 1, 2, 3, 4]],
    )


def test_scale_factor_sets_the_sampling_step():
    """Factor 1.5 gives 7 pixels of step 2 / 3; ``size`` gives step 5 / 7."""
    wide = np.arange(5.0).reshape(1, 1, 1, 5)
    options = {"scale_factor": (1, 1.5), "mode": "bilinear"}
    middle = np.arange(1, 6) + 0.5
    given = F.interpolate(wide, **options).numpy()[0, 0, 0, 1:6]
    np.testing.assert_allclose(given, middle / 1.5 - 0.5)
    again = F.interpolate(wide, **options, recompute_scale_factor=True).numpy()[0, 0, 0, 1:6]
    np.testing.assert_allclose(again, middle * 5 / 7 - 0.5)
    np.testing.assert_array_equal(
        again, F.interpolate(wide, (1, 7), mode="bilinear").numpy()[0, 0, 0, 1:6]
    )
    nine = np.arange(9.0).reshape(1, 1, 1, 9)
    nearest = F.interpolate(nine, scale_factor=(1, 0.4)).numpy()[0, 0, 0]
    np.testing.assert_array_equal(nearest, [0, 2, 5])
    np.testing.assert_array_equal(F.interpolate(nine, (1, 3)).numpy()[0, 0, 0], [0, 3, 6])


def test_scale_factor_per_axis():
    assert F.interpolate(np.zeros((2, 3, 4, 5)), scale_factor=(0.5, 1.5)).shape == (2, 3, 2, 7)


@pytest.mark.parametrize(
    "resize",
    [
        lambda x: F.interpolate(x, (5, 4)),
        lambda x: F.interpolate(x, (2, 7), mode="bilinear"),
        lambda x: F.interpolate(x, (6, 2), mode="bilinear", align_corners=True),
        lambda x: F.interpolate(x, scale_factor=(1.4, 0.6)),
        lambda x: F.interpolate(x, scale_factor=(1.4, 0.6), mode="bilinear"),
    ],
    ids=[
        "nearest",
        "bilinear",
        "bilinear align_corners",
        "nearest by factor",
        "bilinear by factor",
    ],
)
def test_derivatives(resize):
    x = np.random.default_rng(6).standard_normal((2, 3, 3, 4))
    gradcheck(resize, [Tensor(x, requires_grad=True)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either size or scale_factor, got size=None"),
        ({"size": 2, "scale_factor": 2}, "either size or scale_factor, got size=2"),
        ({"size": (2, 0)}, "size >= 1"),
        ({"scale_factor": 0.1}, r"shape \(1, 1, 1, 2\) and size \(0, 0\)"),
        ({"scale_factor": (2, -1)}, r"positive numbers, got \(2, -1\)"),
        ({"scale_factor": (1, 2, 3)}, r"one or two positive numbers, got \(1, 2, 3\)"),
        ({"size": 2, "mode": "cubic"}, "'nearest' or 'bilinear', got 'cubic'"),
        ({"scale_factor": float("inf")}, "positive numbers, got inf"),
        ({"size": 2, "recompute_scale_factor": True}, "recompute_scale_factor"),
        ({"size": 2, "align_corners": False}, "align_corners.*'bilinear'"),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        F.interpolate(ROW, **options)
