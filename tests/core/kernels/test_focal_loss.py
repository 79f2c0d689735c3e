"""The fused focal loss: compiled against reference."""

from __future__ import annotations

import numpy as np
import pytest

from lucid import kernels


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (40, 1001), (3, 30_003)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (-1.0, 0.0), (0.9, 1.0), (0.5, 1.3)])
def test_compiled_matches_reference(shape, dtype, alpha, gamma):
    rng = np.random.default_rng(1)
    x = np.asarray(rng.standard_normal(shape) * 8, dtype)
    soft = np.asarray(rng.random(shape), dtype)
    tolerance = (
        {"rtol": 2e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-14}
    )
    for t in (soft, np.round(soft)):
        arguments = (x, t, alpha, gamma, True)
        found = kernels.sigmoid_focal_loss.compiled(*arguments)
        expected = kernels.sigmoid_focal_loss.reference(*arguments)
        for a, b in zip(found, expected, strict=True):
            assert (a.shape, a.dtype, type(a)) == (shape, dtype, np.ndarray)
            np.testing.assert_allclose(a, b, **tolerance)
        alone, slopes = kernels.sigmoid_focal_loss.compiled(*arguments[:-1], False)
        np.testing.assert_array_equal(alone, found[0])
        assert slopes is None


def test_foreign_layouts_and_non_finite_values():
    x = np.tile(np.float32([np.nan, np.inf, -np.inf, 1.5]), (200, 30))
    t = np.zeros_like(x)
    for a, b in ((x, t), (np.asfortranarray(x), t), (x.T, t.T), (x[::2], t[::2])):
        results = []
        for form in ("compiled", "reference"):
            results.append(getattr(kernels.sigmoid_focal_loss, form)(a, b, 0.25, 2.0, True))
        for found, expected in zip(*results, strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-5)
