"""RoIAlign: by hand, the reference against loops, compiled against reference, by differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid import kernels

rng = np.random.default_rng(4)

FORMS = ["reference", "compiled"]

seeds = st.integers(0, 2**32 - 1)


def sample(plane, y, x):
    """Interpolate a plane at a point; the edge extends one pixel out, then it is 0."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = plane[top, left] + (x - left) * (plane[top, right] - plane[top, left])
    lower = plane[bottom, left] + (x - left) * (plane[bottom, right] - plane[bottom, left])
    return upper + (y - top) * (lower - upper)


def looped(x, rois, scale, output_size, ratio, aligned):
    """Compute RoIAlign by the definition, one sample at a time."""
    y = np.zeros((len(rois), x.shape[1], *output_size))
    for r, (image, x1, y1, x2, y2) in enumerate(rois):
        shift = 0.5 if aligned else 0.0
        left, top = x1 * scale - shift, y1 * scale - shift
        width, height = (x2 - x1) * scale, (y2 - y1) * scale
        if not aligned:
            width, height = max(width, 1), max(height, 1)
        bin_h, bin_w = height / output_size[0], width / output_size[1]
        many_y = ratio if ratio > 0 else max(math.ceil(bin_h), 0)
        many_x = ratio if ratio > 0 else max(math.ceil(bin_w), 0)
        for channel, p, q in np.ndindex(y.shape[1:]):
            values = [
                sample(
                    x[int(image), channel],
                    top + p * bin_h + (i + 0.5) * bin_h / many_y,
                    left + q * bin_w + (j + 0.5) * bin_w / many_x,
                )
                for i in range(many_y)
                for j in range(many_x)
            ]
            y[r, channel, p, q] = sum(values) / max(len(values), 1)
    return y


@st.composite
def regions(draw, images):
    """Draw regions inside, across and outside of a 7 x 9 image in steps of 1/16."""
    count = draw(st.integers(0, 4))
    rows = []
    for _ in range(count):
        x1, y1 = draw(st.integers(-64, 160)) / 16, draw(st.integers(-64, 160)) / 16
        w, h = draw(st.integers(-8, 160)) / 16, draw(st.integers(-8, 160)) / 16
        rows.append([draw(st.integers(0, images - 1)), x1, y1, x1 + w, y1 + h])
    return np.array(rows, np.float64).reshape(-1, 5)


options_of = {
    "scale": st.sampled_from([1.0, 0.5, 0.25]),
    "output_size": st.sampled_from([(1, 1), (2, 3), (3, 2), (7, 7)]),
    "ratio": st.sampled_from([-1, 0, 1, 2, 3]),
    "aligned": st.booleans(),
}


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    rois=regions(2),
    **options_of,
)
def test_reference_matches_definition(seed, rois, scale, output_size, ratio, aligned):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 2, 7, 9))
    options = (rois, scale, output_size, ratio, aligned)
    np.testing.assert_allclose(
        kernels.roi_align.reference(x, *options), looped(x, *options), rtol=1e-12, atol=1e-12
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    rois=regions(2),
    channels=st.integers(0, 70),
    double=st.booleans(),
    **options_of,
)
def test_compiled_matches_reference(
    seed, rois, channels, double, scale, output_size, ratio, aligned
):
    rng = np.random.default_rng(seed)
    dtype, tolerance = (np.float64, 1e-12) if double else (np.float32, 1e-5)
    x = rng.standard_normal((2, channels, 7, 9)).astype(dtype)
    rois = rois.astype(dtype)
    y = kernels.roi_align.compiled(x, rois, scale, output_size, ratio, aligned)
    expected = kernels.roi_align.reference(x, rois, scale, output_size, ratio, aligned)
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    assert y.dtype == expected.dtype == dtype
    assert y.shape == (len(rois), channels, *output_size)
    assert kernels.is_channels_last(y)

    g = rng.standard_normal(y.shape).astype(dtype)
    gx = kernels.roi_align_backward.compiled(g, rois, x.shape, scale, ratio, aligned)
    expected = kernels.roi_align_backward.reference(g, rois, x.shape, scale, ratio, aligned)
    np.testing.assert_allclose(gx, expected, rtol=tolerance, atol=10 * tolerance)
    assert gx.dtype == dtype
    assert kernels.is_channels_last(gx)


@pytest.mark.parametrize("form", FORMS)
class TestByHand:
    ramp = np.add.outer(10.0 * np.arange(4), np.arange(5))[None, None]  # 10 y + x

    def test_ramp_is_sampled_at_bin_centers(self, form):
        roi_align = getattr(kernels.roi_align, form)
        rois = np.array([[0, 1.0, 1, 3, 3]])
        y = roi_align(self.ramp, rois, 1.0, (2, 2), 1, False)
        np.testing.assert_allclose(y[0, 0], [[16.5, 17.5], [26.5, 27.5]])
        y = roi_align(self.ramp, rois, 1.0, (2, 2), 2, True)  # shifted by half a pixel
        np.testing.assert_allclose(y[0, 0], [[11, 12], [21, 22]])
        y = roi_align(self.ramp, rois * [1, 4, 4, 4, 4], 0.25, (1, 2), 0, False)
        np.testing.assert_allclose(y[0, 0], [[21.5, 22.5]])

    def test_x_and_y_are_not_swapped(self, form):
        rois = np.array([[0, 3.0, 0, 4, 2]])  # wider and higher than the image
        y = getattr(kernels.roi_align, form)(self.ramp, rois, 1.0, (2, 1), 1, False)
        np.testing.assert_allclose(y[0, 0], [[8.5], [18.5]])

    def test_borders(self, form):
        """Samples at -1.5, -0.5, 3.5 and 4.5 of a column of height 4: 0, edge, edge, 0."""
        column = np.arange(1.0, 5)[None, None, :, None]
        rois = np.array([[0, 0, -2, 1, 0], [0, 0, 3, 1, 5]])
        y = getattr(kernels.roi_align, form)(column, rois, 1.0, (2, 1), 1, False)
        np.testing.assert_allclose(y.reshape(2, 2), [[0, 1], [4, 0]])

    def test_small_regions_are_one_pixel_unless_aligned(self, form):
        rois = np.array([[0, 2.0, 1, 2, 1]])
        roi_align = getattr(kernels.roi_align, form)
        assert roi_align(self.ramp, rois, 1.0, (1, 1), 0, False).item() == 17.5
        assert roi_align(self.ramp, rois, 1.0, (1, 1), 2, True).item() == 6.5
        assert roi_align(self.ramp, rois, 1.0, (1, 1), 0, True).item() == 0  # no samples

    def test_order_and_images(self, form):
        x = np.array([5.0, 7])[:, None, None, None] * np.ones((2, 1, 3, 3))
        rois = np.array([[1, 0, 0, 2, 2], [0, 0, 0, 2, 2], [1, 0, 0, 1, 1]])
        y = getattr(kernels.roi_align, form)(x, rois, 1.0, (1, 1), 2, False)
        np.testing.assert_allclose(y.ravel(), [7, 5, 7])

    def test_nan_stays_local(self, form):
        x = self.ramp.copy()
        x[0, 0, 3, 4] = np.nan
        rois = np.array([[0, 0.0, 0, 2, 2], [0, 2.0, 2, 4, 3]])
        y = getattr(kernels.roi_align, form)(x, rois, 1.0, (1, 2), 2, False)
        np.testing.assert_array_equal(np.isnan(y.reshape(2, 2)), [[False, False], [False, True]])

    @pytest.mark.parametrize(
        "region", [[0, np.nan, 0, 1, 1], [0, 0, 0, np.inf, 1], [0, -np.inf, 0, 1, 1],
                   [0, 0, 0, 1e30, 1]]
    )  # fmt: skip
    def test_invalid_region_is_nan(self, form, region):
        rois = np.array([region, [0, 1.0, 1, 3, 3]], np.float32)
        x = self.ramp.astype(np.float32)
        y = getattr(kernels.roi_align, form)(x, rois, 1.0, (2, 2), 0, False)
        assert np.isnan(y[0]).all()
        assert np.isfinite(y[1]).all()
        gx = getattr(kernels.roi_align_backward, form)(
            np.ones_like(y), rois, x.shape, 1.0, 0, False
        )
        np.testing.assert_allclose(gx.sum(), 4, rtol=1e-6)

    @pytest.mark.parametrize(
        ("rois", "output_size", "message"),
        [
            (np.zeros((2, 4)), (2, 2), r"shape \(R, 5\), .* got shape \(2, 4\)"),
            (np.array([[0, 0, 0, 1, 1], [2.0, 0, 0, 1, 1]]), (2, 2), r"0 to 1, got 2.0 .*row 1"),
            (np.array([[-1.0, 0, 0, 1, 1]]), (2, 2), r"0 to 1, got -1.0 .*row 0"),
            (np.array([[np.nan, 0, 0, 1, 1]]), (2, 2), r"0 to 1, got nan .*row 0"),
            (np.zeros((1, 5)), (0, 2), r"at least 1, got \(0, 2\)"),
        ],
    )
    def test_invalid_rois_are_rejected(self, form, rois, output_size, message):
        x = np.zeros((2, 1, 4, 4))
        with pytest.raises(ValueError, match=message):
            getattr(kernels.roi_align, form)(x, rois, 1.0, output_size, 2, False)

    def test_empty_features(self, form):
        roi_align = getattr(kernels.roi_align, form)
        none, one = np.zeros((0, 5)), np.zeros((1, 5))
        assert roi_align(np.zeros((0, 3, 0, 4)), none, 1.0, (2, 2), 2, False).shape == (0, 3, 2, 2)
        with pytest.raises(ValueError, match=r"features .*\(1, 3, 0, 4\)"):
            roi_align(np.zeros((1, 3, 0, 4)), one, 1.0, (2, 2), 2, False)
        gx = getattr(kernels.roi_align_backward, form)(
            np.zeros((0, 3, 2, 2)), none, (2, 3, 4, 4), 1.0, 2, False
        )
        np.testing.assert_array_equal(gx, np.zeros((2, 3, 4, 4)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", [False, True])
def test_backward_by_differences(form, ratio, aligned, numerical_gradient):
    x = rng.standard_normal((2, 2, 5, 6))
    rois = np.array([[1, 0.5, 1, 7, 9], [0, -3, -2, 4, 5], [1, 2, 2, 2.5, 2.25], [1, 1, 1, 12, 12]])
    g = rng.standard_normal((4, 2, 3, 2))
    forward = getattr(kernels.roi_align, form)
    np.testing.assert_allclose(
        getattr(kernels.roi_align_backward, form)(g, rois, x.shape, 0.5, ratio, aligned),
        numerical_gradient(lambda v: forward(v, rois, 0.5, (3, 2), ratio, aligned), x, g),
        atol=1e-8,
    )


def test_foreign_layouts(foreign):
    x = rng.standard_normal((2, 3, 8, 9)).astype(np.float32)
    rois = np.array([[1, 0.5, 1, 7, 9], [0, 1, 2, 5, 5]], np.float32)
    options = (1.0, (3, 2), 2, False)
    y = kernels.roi_align.compiled(x, rois, *options)
    np.testing.assert_array_equal(
        kernels.roi_align.compiled(foreign(x), foreign(rois), *options), y
    )
    backward = kernels.roi_align_backward.compiled
    np.testing.assert_array_equal(
        backward(foreign(y), foreign(rois), x.shape, 1.0, 2, False),
        backward(y, rois, x.shape, 1.0, 2, False),
    )


def test_threads_do_not_change_results(assert_thread_invariant):
    """Overlapping regions, whose gradients add up in the same pixels."""
    x = rng.standard_normal((2, 32, 40, 40)).astype(np.float32)
    corner = rng.uniform(0, 100, (60, 2))
    boxes = np.hstack([corner, corner + rng.uniform(5, 60, (60, 2))])
    rois = np.hstack([rng.integers(0, 2, (60, 1)), boxes]).astype(np.float32)

    def run():
        y = kernels.roi_align.compiled(x, rois, 0.25, (7, 7), 2, False)
        return y, kernels.roi_align_backward.compiled(y, rois, x.shape, 0.25, 2, False)

    assert_thread_invariant(run, (1, 2, 5))
