"""Resizing: by hand, by differences, compiled against reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid import kernels

rng = np.random.default_rng(3)

FORMS = ["reference", "compiled"]

seeds = st.integers(0, 2**32 - 1)


def row(*values):
    return np.array(values, np.float64)[None, None, None]


@pytest.mark.parametrize("form", FORMS)
class TestByHand:
    @pytest.mark.parametrize(
        ("target", "expected"),
        [(6, [1, 1, 2, 2, 4, 4]), (5, [1, 1, 2, 2, 4]), (2, [1, 2]), (1, [1]), (3, [1, 2, 4])],
    )
    def test_nearest(self, form, target, expected):
        y = getattr(kernels.resize_nearest, form)(row(1, 2, 4), (1, target))
        np.testing.assert_array_equal(y[0, 0, 0], expected)
        transposed = getattr(kernels.resize_nearest, form)(
            row(1, 2, 4).transpose(0, 1, 3, 2), (target, 1)
        )
        np.testing.assert_array_equal(transposed[0, 0, :, 0], expected)

    @pytest.mark.parametrize(
        ("values", "target", "align_corners", "expected"),
        [
            # half-pixel centers: at -0.25 (clipped), 0.25, 0.75, 1.25 (past the last)
            ([0, 4], 4, False, [0, 1, 3, 4]),
            ([0, 4], 5, True, [0, 1, 2, 3, 4]),
            # at 0.5, 2.5: no antialiasing, two neighbors each
            ([0, 1, 4, 9], 2, False, [0.5, 6.5]),
            ([0, 1, 4, 9], 2, True, [0, 9]),
            ([0, 1, 4, 9], 1, True, [0]),
            ([0, 1, 4, 9], 1, False, [2.5]),
            ([7], 3, False, [7, 7, 7]),
            ([7], 3, True, [7, 7, 7]),
        ],
    )
    def test_bilinear(self, form, values, target, align_corners, expected):
        resize = getattr(kernels.resize_bilinear, form)
        y = resize(row(*values), (1, target), align_corners)
        np.testing.assert_allclose(y[0, 0, 0], expected)
        transposed = resize(row(*values).transpose(0, 1, 3, 2), (target, 1), align_corners)
        np.testing.assert_allclose(transposed[0, 0, :, 0], expected)

    def test_explicit_steps(self, form):
        steps = (None, 0.75)
        y = getattr(kernels.resize_nearest, form)(row(1, 2, 4), (1, 5), steps)
        np.testing.assert_array_equal(y[0, 0, 0], [1, 1, 2, 4, 4])
        gx = getattr(kernels.resize_nearest_backward, form)(y, (1, 1, 1, 3), steps)
        np.testing.assert_array_equal(gx[0, 0, 0], [2, 2, 8])
        # At -0.125 (clipped), 0.625, 1.375 and past the last.
        y = getattr(kernels.resize_bilinear, form)(row(0, 8, 24), (1, 4), False, steps)
        np.testing.assert_array_equal(y[0, 0, 0], [0, 5, 14, 24])

    def test_nearest_is_rounded_to_single_precision(self, form):
        """41 * (2 / 82) is just below 1 there, as in PyTorch."""
        y = getattr(kernels.resize_nearest, form)(row(5, 7), (1, 82))
        assert y[0, 0, 0].tolist() == [5.0] * 42 + [7.0] * 40

    def test_nearest_gradient(self, form):
        g = row(1, 2, 4, 8, 16)
        gx = getattr(kernels.resize_nearest_backward, form)(g, (1, 1, 1, 3))
        np.testing.assert_array_equal(gx[0, 0, 0], [3, 12, 16])
        gx = getattr(kernels.resize_nearest_backward, form)(row(1, 2), (1, 1, 1, 5))
        np.testing.assert_array_equal(gx[0, 0, 0], [1, 0, 2, 0, 0])

    def test_bilinear_gradient(self, form):
        g = row(1, 10, 100, 1000)
        gx = getattr(kernels.resize_bilinear_backward, form)(g, (1, 1, 1, 2), False)
        np.testing.assert_allclose(gx[0, 0, 0], [1 + 7.5 + 25, 2.5 + 75 + 1000])

    def test_empty_images_are_rejected(self, form):
        x = np.zeros((1, 1, 2, 2))
        with pytest.raises(ValueError, match=r"got \(2, 2\) .*\(0, 3\)"):
            getattr(kernels.resize_nearest, form)(x, (0, 3))
        with pytest.raises(ValueError, match=r"got \(0, 2\) .*\(1, 1\)"):
            getattr(kernels.resize_bilinear, form)(x[:, :, :0], (1, 1), False)
        with pytest.raises(ValueError, match=r"got \(4, 0\) .*\(2, 2\)"):
            getattr(kernels.resize_nearest_backward, form)(x, (1, 1, 4, 0))
        with pytest.raises(ValueError, match=r"got \(4, 0\) .*\(2, 2\)"):
            getattr(kernels.resize_bilinear_backward, form)(x, (1, 1, 4, 0), True)

    def test_weight_past_the_last_pixel_is_one(self, form):
        g = np.ones((1, 1, 3, 5), np.float32)
        steps = (1e4 / 3, 1e4 / 3)
        gx = getattr(kernels.resize_bilinear_backward, form)(g, (1, 1, 1, 1), False, steps)
        assert gx.item() == 15

    def test_infinity_propagates_without_warning(self, form):
        y = getattr(kernels.resize_bilinear, form)(row(np.inf, 1, 2), (1, 6), False)
        np.testing.assert_array_equal(np.isfinite(y[0, 0, 0]), [False] * 3 + [True] * 3)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(7, 4), (2, 9), (3, 5), (1, 1)])
class TestByDifferences:
    def test_nearest(self, form, size, numerical_gradient):
        x, g = rng.standard_normal((2, 2, 3, 5)), rng.standard_normal((2, 2, *size))
        np.testing.assert_allclose(
            getattr(kernels.resize_nearest_backward, form)(g, x.shape),
            numerical_gradient(lambda v: getattr(kernels.resize_nearest, form)(v, size), x, g),
            atol=1e-8,
        )

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_bilinear(self, form, size, align_corners, numerical_gradient):
        x, g = rng.standard_normal((2, 2, 3, 5)), rng.standard_normal((2, 2, *size))
        forward = getattr(kernels.resize_bilinear, form)
        np.testing.assert_allclose(
            getattr(kernels.resize_bilinear_backward, form)(g, x.shape, align_corners),
            numerical_gradient(lambda v: forward(v, size, align_corners), x, g),
            atol=1e-8,
        )


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    batch=st.tuples(st.integers(0, 2), st.integers(0, 70)),
    source=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    target=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    steps=st.tuples(*[st.one_of(st.none(), st.floats(0.1, 3))] * 2),
    align_corners=st.booleans(),
    double=st.booleans(),
)
def test_compiled_matches_reference(seed, batch, source, target, steps, align_corners, double):
    rng = np.random.default_rng(seed)
    dtype, tolerance = (np.float64, 1e-12) if double else (np.float32, 1e-5)
    x = rng.standard_normal((*batch, *source)).astype(dtype)
    g = rng.standard_normal((*batch, *target)).astype(dtype)
    for kernel, args in (
        (kernels.resize_nearest, (x, target, steps)),
        (kernels.resize_nearest_backward, (g, x.shape, steps)),
        (kernels.resize_bilinear, (x, target, align_corners, steps)),
        (kernels.resize_bilinear_backward, (g, x.shape, align_corners, steps)),
    ):
        result, expected = kernel.compiled(*args), kernel.reference(*args)
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=20 * tolerance)
        assert result.dtype == expected.dtype == dtype
        assert kernels.is_channels_last(result)
        assert kernels.is_channels_last(expected)


def test_foreign_layouts(foreign):
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    for kernel, args in (
        (kernels.resize_nearest, ((6, 7),)),
        (kernels.resize_nearest_backward, ((2, 3, 3, 2),)),
        (kernels.resize_bilinear, ((6, 7), False)),
        (kernels.resize_bilinear_backward, ((2, 3, 3, 2), False)),
    ):
        np.testing.assert_array_equal(kernel.compiled(foreign(x), *args), kernel.compiled(x, *args))


def test_large_enough_for_several_threads():
    x = rng.standard_normal((2, 64, 50, 40)).astype(np.float32)
    g = rng.standard_normal((2, 64, 100, 80)).astype(np.float32)
    for kernel, args in (
        (kernels.resize_nearest, (x, (100, 80))),
        (kernels.resize_nearest_backward, (g, x.shape)),
        (kernels.resize_bilinear, (x, (100, 80), False)),
        (kernels.resize_bilinear_backward, (g, x.shape, False)),
    ):
        np.testing.assert_allclose(
            kernel.compiled(*args), kernel.reference(*args), rtol=1e-5, atol=1e-5
        )
