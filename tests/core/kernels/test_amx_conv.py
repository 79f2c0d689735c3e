"""Planes of pixels, and AMX convolutions under every partition of the work."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="needs Numba")

from lucid import kernels
from lucid.kernels.compiled import amx_conv, amx_support, amx_weight_gradient, conv
from lucid.kernels.compiled.amx_planes import planes_of

rng = np.random.default_rng(0)

needs_unit = pytest.mark.skipif(
    not amx_support.available(),
    reason="needs AMX",
)


def test_lines_share_zero_padding():
    planes = planes_of((-1, 0, 1), (-1, 0, 1), (1, 1), 5, 5)
    assert planes.phases.tolist() == [[0, 0]]
    assert planes.first == (-1, -1)
    assert planes.taps.tolist() == [[0, i, j] for i in range(3) for j in range(3)]
    assert (
        planes.pitch == 6
    )  # one zero and five pixels; the next line's zero is also the right padding
    assert planes.extra_rows == 3


def test_stride_two_has_four_planes():
    # 3 x 3 with padding 1 over 6 x 6 pixels: offsets -1, 0, 1 have the phases 1, 0, 1.
    planes = planes_of((-1, 0, 1), (-1, 0, 1), (2, 2), 3, 6)
    assert planes.phases.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert planes.first == (-1, -1)
    assert planes.taps.tolist() == [
        [3, 0, 0], [2, 0, 1], [3, 0, 1],
        [1, 1, 0], [0, 1, 1], [1, 1, 1],
        [3, 1, 0], [2, 1, 1], [3, 1, 1],
    ]  # fmt: skip
    # Odd columns have a zero before and none after, so nothing is shared.
    assert planes.pitch == 4
    assert planes.extra_rows == 1


def test_one_pixel_with_zero_padding():
    planes = planes_of((-1,), (-1,), (1, 1), 7, 5)
    assert planes.pitch == 7


@needs_unit
@pytest.mark.parametrize("strip", [1 << 12, 1 << 16, 1 << 19])
@pytest.mark.parametrize(
    ("shape", "weight", "stride", "pad"),
    [((2, 96, 9, 7), (70, 96, 3, 3), 1, 1), ((3, 64, 8, 8), (33, 64, 3, 3), 2, 1),
     ((5, 160, 3, 3), (96, 160, 1, 1), 1, 0), ((1, 40, 17, 5), (64, 40, 5, 2), 1, 2),
     ((1, 300, 5, 4), (64, 300, 1, 1), 1, 0), ((2, 640, 4, 5), (130, 640, 1, 1), 1, 0)],
)  # fmt: skip
def test_partition_does_not_change_sums(strip, shape, weight, stride, pad, monkeypatch):
    x, w = (rng.standard_normal(s).astype(np.float32) for s in (shape, weight))
    options = ((stride, stride), ((pad, pad), (pad, pad)), (1, 1), 1)
    usual = kernels.conv2d.compiled(x, w, None, *options)
    plans = []
    run_amx = conv.run_amx

    def run(plan, *args):
        plans.append(plan)
        run_amx(plan, *args)

    monkeypatch.setattr(conv, "run_amx", run)
    monkeypatch.setattr(amx_conv, "_STRIP_BYTES", strip)
    monkeypatch.setattr(amx_conv, "_MIN_STRIP", 1)
    monkeypatch.setattr(amx_conv, "_partition", amx_conv._partition.__wrapped__)
    # With chunks of channels the order of summation changes.
    cut = kernels.conv2d.compiled(x, w, None, *options)
    length, chunk = plans[0].settings[-3:-1]
    assert chunk < length or strip > 1 << 12 or length <= 160
    exact = kernels.conv2d.reference(x.astype(np.float64), w.astype(np.float64), None, *options)
    np.testing.assert_allclose(cut, exact, atol=1e-5 * np.abs(exact).max())
    np.testing.assert_allclose(cut, usual, atol=1e-6 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("side", "kernel", "suits"), [(2, 3, False), (3, 3, False), (5, 3, True), (7, 3, True)]
)
def test_fills_tiles_rejects_small_images(side, kernel, suits):
    offsets = np.arange(kernel) - kernel // 2
    shape = (64, side, side, 32)
    assert amx_weight_gradient.fills_tiles(shape, offsets, offsets, (1, 1), side) is suits
    zero = np.zeros(1, np.int64)
    assert amx_weight_gradient.fills_tiles((1, 64 * side**2, 1, 32), zero, zero, (1, 1), 1)


@needs_unit
@pytest.mark.parametrize("places", [20, 64, 448])
def test_weight_gradient_with_units_of_any_size(places, monkeypatch):
    monkeypatch.setattr(amx_weight_gradient, "_MAX_POSITIONS", places)
    g, x = (rng.standard_normal(s).astype(np.float32) for s in ((3, 9, 7, 40), (3, 9, 7, 50)))
    rows = np.array([-1, 0, 1])
    result = amx_weight_gradient.amx_weight_gradient(g, x, rows, rows, (1, 1), 50, 1)
    images = (a.astype(np.float64).transpose(0, 3, 1, 2) for a in (g, x))
    pads = ((1, 1), (1, 1))
    reference = kernels.conv2d_weight_gradient.reference
    exact = reference(*images, (40, 50, 3, 3), (1, 1), pads, (1, 1), 1).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(result, exact, atol=1e-5 * np.abs(exact).max())


@needs_unit
def test_threads_do_not_change_results(assert_thread_invariant):
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 64, 14, 14), (96, 64, 3, 3)))
    options = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)

    def run():
        y = kernels.conv2d.compiled(x, w, None, *options)
        gx = kernels.conv2d_input_gradient.compiled(y, w, x.shape, *options)
        return y, gx, kernels.conv2d_weight_gradient.compiled(y, x, w.shape, *options)

    assert_thread_invariant(run)
