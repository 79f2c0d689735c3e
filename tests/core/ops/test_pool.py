"""Pooling: values, and gradients against finite differences."""

import numpy as np
import pytest

from lucid import Tensor
from lucid.nn import functional as F
from lucid.testing import gradcheck

rng = np.random.default_rng(5)
GRID = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)


def t(*shape):
    return Tensor(rng.standard_normal(shape), requires_grad=True)


def test_max_pool_values():
    np.testing.assert_array_equal(F.max_pool2d(GRID, 2).numpy()[0, 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(F.max_pool2d(GRID, 3, 2, 1).numpy()[0, 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(
        F.max_pool2d(GRID, 2, 1, dilation=2).numpy()[0, 0], [[10, 11], [14, 15]]
    )
    np.testing.assert_array_equal(
        F.max_pool2d(GRID, 3, 2, ceil_mode=True).numpy()[0, 0], [[10, 11], [14, 15]]
    )


def test_max_pool_pads_with_minus_infinity():
    assert F.max_pool2d(-1 - GRID, 3, 2, 1).numpy().max() == -1


def test_avg_pool_values():
    np.testing.assert_array_equal(F.avg_pool2d(GRID, 2).numpy()[0, 0], [[2.5, 4.5], [10.5, 12.5]])
    ones = np.ones_like(GRID)
    corner = F.avg_pool2d(ones, 2, 2, 1).numpy()[0, 0, 0, 0]
    assert corner == 0.25
    assert F.avg_pool2d(ones, 2, 2, 1, count_include_pad=False).numpy()[0, 0, 0, 0] == 1


def test_adaptive_avg_pool_values():
    np.testing.assert_allclose(F.adaptive_avg_pool2d(GRID, 1).numpy()[0, 0], [[7.5]])
    np.testing.assert_allclose(
        F.adaptive_avg_pool2d(GRID, 2).numpy()[0, 0], [[2.5, 4.5], [10.5, 12.5]]
    )
    # Three windows over four columns overlap: 0 to 1, 1 to 2, 2 to 3.
    np.testing.assert_allclose(
        F.adaptive_avg_pool2d(GRID[:, :, :1], (1, 3)).numpy()[0, 0, 0], [0.5, 1.5, 2.5]
    )
    assert F.adaptive_avg_pool2d(GRID, (None, 2)).shape == (1, 1, 4, 2)


@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d])
def test_results_are_channels_last_in_memory_and_keep_their_dtype(pool):
    y = pool(rng.standard_normal((2, 3, 4, 4)).astype(np.float32), 2).numpy()
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert y.dtype == np.float32
    assert pool(np.zeros((0, 3, 4, 4), np.float32), 2).shape == (0, 3, 2, 2)


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.max_pool2d(x, (2, 3), 2, dilation=(2, 1), ceil_mode=True),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0), True, False),
        lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
        lambda x: F.adaptive_avg_pool2d(x, 1),
    ],
    ids=["max", "max dilated", "avg", "avg ceil", "adaptive", "adaptive 1"],
)
def test_derivatives(pool):
    gradcheck(pool, [t(2, 3, 5, 6)])


def test_gradients_of_overlapping_windows_add_up():
    x = Tensor(np.zeros((1, 1, 1, 3)), requires_grad=True)
    F.avg_pool2d(x, (1, 2), 1).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy()[0, 0, 0], [0.5, 1, 0.5])


def test_return_indices():
    values, indices = F.max_pool2d(GRID, 2, return_indices=True)
    np.testing.assert_array_equal(indices.numpy()[0, 0], [[5, 7], [13, 15]])
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(values.numpy(), F.max_pool2d(GRID, 2).numpy())
    planes = Tensor(rng.permutation(2 * 3 * 30).reshape(2, 3, 5, 6).astype(np.float32))
    values, indices = F.max_pool2d(planes, 3, 2, 1, return_indices=True)
    found = planes.reshape(2, 3, 30).gather(2, indices.reshape(2, 3, -1))
    np.testing.assert_array_equal(found.numpy(), values.numpy().reshape(2, 3, -1))
    missed = F.max_pool2d(np.zeros((1, 1, 1, 1)), (1, 2), 1, (0, 1), (1, 2), return_indices=True)
    assert missed[1].item() == -1


def test_gradient_with_return_indices():
    gradcheck(lambda x: F.max_pool2d(x, 2, 1, return_indices=True)[0], [t(1, 2, 3, 4)])


def test_divisor_override():
    sums = F.avg_pool2d(GRID, 2, divisor_override=1).numpy()[0, 0]
    np.testing.assert_array_equal(sums, [[10, 18], [42, 50]])
    padded = F.avg_pool2d(np.ones_like(GRID), 2, 2, 1, divisor_override=8, count_include_pad=False)
    np.testing.assert_array_equal(padded.numpy()[0, 0, 0], [0.125, 0.25, 0.125])
    gradcheck(lambda x: F.avg_pool2d(x, 3, 2, 1, True, divisor_override=5), [t(2, 2, 5, 6)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.max_pool2d(GRID[0], 2), r"shape \(N, C, H, W\), got \(1, 4, 4\)"),
        (lambda: F.max_pool2d(GRID, 5), "height .* 5, got 4"),
        (lambda: F.max_pool2d(GRID, 2, padding=2), "padding .*got 2"),
        (lambda: F.avg_pool2d(GRID, 0), "kernel_size >= 1, got 0"),
        (lambda: F.avg_pool2d(GRID, 2, 0), "stride >= 1, got 0"),
        (lambda: F.avg_pool2d(GRID, (1, 2, 3)), "kernel_size"),
        (lambda: F.avg_pool2d(GRID, 2, divisor_override=0), "divisor_override, got 0"),
        (lambda: F.adaptive_avg_pool2d(GRID, 0), "output_size >= 1"),
        (lambda: F.adaptive_avg_pool2d(GRID, (1, 2, 3)), r"output_size.* got \(1, 2, 3\)"),
        (lambda: F.adaptive_avg_pool2d(GRID[:, :, :0], 1), r"shape \(1, 1, 0, 4\)"),
    ],
)
def test_invalid_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_half_precision_raises():
    with pytest.raises(TypeError, match="float32 or float64, got float16"):
        F.max_pool2d(GRID.astype(np.float16), 2)
