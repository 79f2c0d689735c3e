"""The registry of activations: compiled against reference, and values against derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from lucid import kernels
from lucid.kernels.reference.activation import ACTIVATIONS

FORMS = ["reference", "compiled"]
NAMES = [None, *ACTIVATIONS]


def compiled():
    return pytest.importorskip("lucid.kernels.compiled.activation", reason="needs Numba")


def test_both_forms_have_the_same_activations():
    codes = compiled().CODES
    assert list(codes) == NAMES
    assert len(set(codes.values())) == len(NAMES)


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (40, 1001), (3, 100_003)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_compiled_matches_reference(name, dtype, shape):
    rng = np.random.default_rng(1)
    x, g = (np.asarray(rng.standard_normal(shape) * 4, dtype) for _ in range(2))
    rtol, atol = (1e-5, 4e-6) if dtype == np.float32 else (1e-12, 1e-14)
    for kernel, arguments in (
        (kernels.activation, (x, name)),
        (kernels.activation_backward, (g, x, name)),
    ):
        result, expected = kernel.compiled(*arguments), kernel.reference(*arguments)
        assert (result.shape, result.dtype, type(result)) == (shape, dtype, np.ndarray)
        np.testing.assert_allclose(result, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", NAMES)
def test_foreign_layouts(name, foreign):
    x = np.linspace(-8, 8, 60, dtype=np.float32).reshape(1, 3, 4, 5)
    x[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    expected = kernels.activation.reference(x, name)
    result = kernels.activation.compiled(foreign(x), name)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["relu", "silu"])
def test_memory_order_is_kept(name):
    x = kernels.channels_last(np.linspace(-8, 8, 60).reshape(1, 3, 4, 5))
    y = kernels.activation.compiled(x, name)
    assert kernels.is_channels_last(y)
    np.testing.assert_allclose(y, kernels.activation.reference(x, name), rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_derivative_matches_finite_differences(name, form):
    x = np.linspace(-8, 8, 30_011)
    step = 1e-6
    value = getattr(kernels.activation, form)
    slope = (value(x + step, name) - value(x - step, name)) / (2 * step)
    result = getattr(kernels.activation_backward, form)(np.ones_like(x), x, name)
    smooth = np.min(np.abs(x[:, None] - [0, 6, -3, 3]), axis=1) > 2 * step
    np.testing.assert_allclose(result[smooth], slope[smooth], atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_by_hand(dtype, form):
    x = np.array([-1, 0, 2], dtype)
    cdf = np.array([0.158655253931, 0.5, 0.977249868052])
    density = np.exp(-0.5 * x.astype(np.float64) ** 2) / np.sqrt(2 * np.pi)
    tolerance = 2e-7 if dtype == np.float32 else 1e-11
    y = getattr(kernels.activation, form)(x, "gelu")
    np.testing.assert_allclose(y, x * cdf, atol=tolerance)
    slope = getattr(kernels.activation_backward, form)(np.ones_like(x), x, "gelu")
    np.testing.assert_allclose(slope, cdf + x * density, atol=tolerance)
    y = getattr(kernels.activation, form)(x, "gelu_tanh")
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x.astype(np.float64) ** 3)
    np.testing.assert_allclose(y, 0.5 * x * (1 + np.tanh(inner)), atol=tolerance)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["sigmoid", "silu"])
def test_large_arguments_do_not_overflow(name, form):
    x = np.tile(np.float32([-200, -90, 90, 200]), 5000)
    y = getattr(kernels.activation, form)(x, name)
    np.testing.assert_allclose(
        y[:4], [0, 0, *((1, 1) if name == "sigmoid" else (90, 200))], atol=1e-30
    )


@pytest.mark.parametrize("name", NAMES)
def test_in_place(name):
    x = np.linspace(-8, 8, 601, dtype=np.float32)
    expected = kernels.activation.reference(x, name)
    compiled().activate(x, compiled().CODES[name])
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)
