"""Elementwise functions: compiled against reference, for all sizes and layouts."""

from __future__ import annotations

import numpy as np
import pytest

from lucid import kernels

FORMS = ["reference", "compiled"]
#: Small arrays use NumPy in the compiled form too; the last one uses several threads.
SHAPES = [(), (0,), (3, 5), (40, 1001), (1, 700_001)]
#: Memory orders of the axes of an image.
ORDERS = [(0, 1, 2, 3), (0, 2, 3, 1), (3, 0, 2, 1)]


def laid(x, order):
    """Copy values with their axes in this memory order."""
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_is_bitwise_equal_to_reference(shape, dtype):
    rng = np.random.default_rng(1)
    a, b = (np.asarray(rng.standard_normal(shape), dtype) for _ in range(2))
    for kernel, args in (
        (kernels.add, (a, b)),
        (kernels.relu, (a,)),
        (kernels.relu_backward, (a, kernels.relu.reference(b))),
    ):
        result, expected = kernel.compiled(*args), kernel.reference(*args)
        np.testing.assert_array_equal(result, expected)
        assert (result.shape, result.dtype, type(result)) == (shape, dtype, np.ndarray)
    total, expected = a.copy(), a.copy()
    kernels.add_into.compiled(total, b)
    kernels.add_into.reference(expected, b)
    np.testing.assert_array_equal(total, expected)


@pytest.mark.parametrize("form", FORMS)
def test_relu_by_hand(form):
    x = np.tile(np.float32([-2, -0.0, 0, 3, np.nan, np.inf, -np.inf]), 5000)
    y = getattr(kernels.relu, form)(x)
    np.testing.assert_array_equal(y[:7], [0, 0, 0, 3, np.nan, np.inf, 0])
    g = np.tile(np.float32([1, 2, 3, 4, 5, np.inf, np.inf]), 5000)
    gx = getattr(kernels.relu_backward, form)(g, y)
    np.testing.assert_array_equal(gx[-7:], [0, 0, 0, 4, 5, np.inf, 0])


@pytest.mark.parametrize("form", FORMS)
def test_integers_and_broadcasting(form):
    whole = np.arange(-3, 40_000)
    np.testing.assert_array_equal(getattr(kernels.relu, form)(whole), np.maximum(whole, 0))
    column, row = np.ones((200, 1), np.float32), np.float32(np.arange(150))
    total = getattr(kernels.add, form)(column, row)
    assert total.shape == (200, 150)
    assert total[7, 5] == 6
    kept = np.zeros((200, 150), np.float32)
    getattr(kernels.add_into, form)(kept, row)
    assert kept[7, 5] == 5


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(2, 32, 30, 20), (1, 64, 1, 300), (4, 1, 90, 70)])
def test_results_have_the_layout_of_the_first_argument(shape, order):
    rng = np.random.default_rng(2)
    a, b = (np.float32(rng.standard_normal(shape)) for _ in range(2))
    x, y = laid(a, order), laid(b, order)
    for kernel, args, plain in (
        (kernels.add, (x, y), (a, b)),
        (kernels.relu, (x,), (a,)),
        (kernels.relu_backward, (x, y), (a, b)),
    ):
        result = kernel.compiled(*args)
        np.testing.assert_array_equal(result, kernel.reference(*plain))
        assert result.transpose(order).flags.c_contiguous
    np.testing.assert_array_equal(kernels.add.compiled(x, b), a + b)


def test_foreign_layouts(foreign):
    rng = np.random.default_rng(3)
    a, b = (np.float32(rng.standard_normal((40, 1000))) for _ in range(2))
    for kernel in (kernels.add, kernels.relu_backward):
        expected = kernel.reference(a, b)
        np.testing.assert_array_equal(kernel.compiled(foreign(a), b), expected)
        np.testing.assert_array_equal(kernel.compiled(a, foreign(b)), expected)
    np.testing.assert_array_equal(kernels.relu.compiled(foreign(a)), np.maximum(a, 0))
    total = a.copy()
    kernels.add_into.compiled(total, foreign(b))
    np.testing.assert_array_equal(total, a + b)


def test_add_into_with_overlap():
    memory = np.ones(100_001, np.float32)
    kernels.add_into.compiled(memory[1:], memory[:-1])
    assert (memory[0], memory[1:].min(), memory[1:].max()) == (1, 2, 2)
    kernels.add_into.compiled(memory, memory)
    assert memory[5] == 4


def test_read_only_total_is_rejected():
    fixed = np.ones(100_000, np.float32)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        kernels.add_into.compiled(fixed, np.ones_like(fixed))
    assert fixed.max() == 1
