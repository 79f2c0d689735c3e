"""Compiled convolution against the reference, the reference against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lucid
from lucid import kernels

rng = np.random.default_rng(0)

NAMES = (None, *kernels.ACTIVATIONS)


@pytest.fixture(autouse=True, scope="module", params=["vectors", "amx"])
def unit(request):
    """Run all tests of this file on vector registers and on AMX."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "vectors":
            patch.setenv("LUCID_AMX", "0")
        elif not has_matrix_unit():
            pytest.skip("needs AMX")
        yield request.param


def has_matrix_unit():
    try:
        from lucid.kernels.compiled import amx_support
    except ModuleNotFoundError:  # no Numba
        return False
    return amx_support.available()


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def looped(x, w, bias, stride, padding, dilation, groups):
    """Convolve by the definition, one element at a time."""
    padded = np.pad(x, ((0, 0), (0, 0), *padding))
    n, _, h, wd = padded.shape
    o, c, kh, kw = w.shape
    ho = (h - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    wo = (wd - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, o, ho, wo))
    for image, out, row, column in np.ndindex(y.shape):
        group = out // (o // groups)
        total = 0.0 if bias is None else bias[out]
        for channel, i, j in np.ndindex(c, kh, kw):
            at = (row * stride[0] + i * dilation[0], column * stride[1] + j * dilation[1])
            total += padded[image, group * c + channel, at[0], at[1]] * w[out, channel, i, j]
        y[image, out, row, column] = total
    return y


@pytest.mark.parametrize(
    ("shape", "weight", "options"),
    [
        ((2, 3, 5, 6), (4, 3, 3, 2), ((2, 1), ((1, 1), (0, 2)), (1, 1), 1)),
        ((1, 4, 6, 5), (6, 2, 2, 3), ((1, 2), ((0, 0), (2, 1)), (2, 1), 2)),
        ((1, 3, 4, 4), (3, 1, 1, 1), ((1, 1), ((0, 0), (0, 0)), (1, 1), 3)),
    ],
)
def test_reference_matches_definition(shape, weight, options):
    x, w, b = (rng.standard_normal(s) for s in (shape, weight, weight[0]))
    np.testing.assert_allclose(
        kernels.conv2d.reference(x, w, b, *options), looped(x, w, b, *options), rtol=1e-12
    )


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
margins = st.tuples(st.integers(0, 3), st.integers(0, 3))


def close(result, exact, tolerance, terms):
    """Compare with an absolute tolerance of ``tolerance`` times the largest element.

    The largest element counts as at least the standard deviation of a sum of ``terms`` products
    of standard normal values, since a single sum may be near 0.
    """
    largest = max(np.abs(exact).max(initial=0), terms**0.5)
    np.testing.assert_allclose(result, exact, rtol=0, atol=tolerance * largest)


@settings(max_examples=120, deadline=None)
@given(
    n=st.integers(0, 3),
    size=st.tuples(st.integers(7, 11), st.integers(7, 11)),
    channels=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    groups=st.integers(1, 3),
    kernel=pairs,
    stride=pairs,
    dilation=pairs,
    padding=st.tuples(margins, margins),
    double=st.booleans(),
)
def test_compiled_matches_reference(
    n, size, channels, groups, kernel, stride, dilation, padding, double
):
    """Within 1e-5 of the largest element, or 1e-4 where Winograd may run."""
    dtype = np.float64 if double else np.float32
    tolerance = 1e-10 if double else 1e-5
    winograd = kernel == (3, 3) and stride == dilation == (1, 1) and min(channels) >= 32
    if winograd and not double:
        tolerance = 1e-4
    c, o = channels[0] * groups, channels[1] * groups
    x = rng.standard_normal((n, c, *size)).astype(dtype)
    w = rng.standard_normal((o, channels[0], *kernel)).astype(dtype)
    b = rng.standard_normal(o).astype(dtype)
    options = (stride, padding, dilation, groups)

    y = kernels.conv2d.compiled(x, w, b, *options)
    assert y.dtype == dtype
    assert kernels.is_channels_last(y)
    taps = kernel[0] * kernel[1]
    close(y, kernels.conv2d.reference(x, w, b, *options), tolerance, channels[0] * taps)

    g = rng.standard_normal(y.shape).astype(dtype)
    for kernel_, args, terms in (
        (kernels.conv2d_input_gradient, (g, w, x.shape), channels[1] * taps),
        (kernels.conv2d_weight_gradient, (g, x, w.shape), g[:, 0].size),
    ):
        result = kernel_.compiled(*args, *options)
        assert result.dtype == dtype
        close(result, kernel_.reference(*args, *options), tolerance, terms)

    onto = rng.standard_normal(x.shape).astype(dtype)
    before = onto.copy()
    result = kernels.conv2d_input_gradient.compiled(g, w, x.shape, *options, onto)
    expected = onto + kernels.conv2d_input_gradient.reference(g, w, x.shape, *options)
    close(result, expected, tolerance, channels[1] * taps)
    np.testing.assert_array_equal(onto, before)


@pytest.mark.parametrize(
    ("shape", "weight", "stride"),
    [((2, 64, 28, 28), (64, 64, 3, 3), 1), ((2, 32, 40, 40), (48, 32, 3, 3), 2),
     ((1, 256, 7, 7), (256, 256, 3, 3), 1), ((3, 64, 30, 30), (128, 64, 1, 1), 1),
     ((5, 32, 1, 1), (48, 32, 3, 3), 2), ((3, 32, 2, 4), (48, 32, 3, 3), 2),
     ((1, 2048, 7, 7), (512, 2048, 1, 1), 1), ((1, 1024, 5, 3), (70, 1024, 1, 1), 2)],
)  # fmt: skip
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("switch", "tolerance"), [("0", 1e-5), ("1", 1e-4)])
def test_shapes_of_real_networks(
    shape, weight, stride, threads, switch, tolerance, use_threads, monkeypatch
):
    """Large enough for several tiles, threads and every path of the compiled code."""
    monkeypatch.setenv("LUCID_WINOGRAD", switch)
    use_threads(threads)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in (shape, weight))
    p = weight[2] // 2
    options = ((stride, stride), ((p, p), (p, p)), (1, 1), 1)
    y = kernels.conv2d.compiled(x, w, None, *options)
    exact = kernels.conv2d.reference(x.astype(np.float64), w.astype(np.float64), None, *options)
    np.testing.assert_allclose(y, exact, atol=tolerance * np.abs(exact).max())
    g = rng.standard_normal(y.shape).astype(np.float32)
    for kernel, args in (
        (kernels.conv2d_input_gradient, (g, w, x.shape)),
        (kernels.conv2d_weight_gradient, (g, x, w.shape)),
    ):
        exact = kernel.reference(
            *(a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args), *options
        )
        result = kernel.compiled(*args, *options)
        np.testing.assert_allclose(result, exact, atol=tolerance * np.abs(exact).max())
    result = kernels.conv2d_input_gradient.compiled(g, w, x.shape, *options, x)
    exact = x + kernels.conv2d_input_gradient.compiled(g, w, x.shape, *options)
    np.testing.assert_allclose(result, exact, atol=1e-5 * np.abs(exact).max())


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 3),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.integers(1, 100),
    outputs=st.integers(1, 100),
)
def test_weight_gradient_of_pixels(n, size, channels, outputs):
    """Numbers of positions with and without large divisors, and any ratio of the channels."""
    g, x = draw(n, outputs, *size), draw(n, channels, *size)
    gw = kernels.conv2d_weight_gradient.compiled(
        g, x, (outputs, channels, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1
    )
    expected = np.einsum("nohw,nchw->oc", g.astype(np.float64), x.astype(np.float64))
    close(gw[:, :, 0, 0], expected, 1e-5, n * size[0] * size[1])
    assert gw.dtype == np.float32
    assert kernels.is_channels_last(gw)


#: Channels, outputs, groups and kernel size for each algorithm.
WAYS = {
    "first layer": (3, 40, 1, 3),
    "pixels": (40, 33, 1, 1),
    "winograd": (64, 64, 1, 3),
    "depthwise": (64, 64, 64, 3),
    "groups": (40, 80, 2, 3),
}


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("way", WAYS)
def test_fused_activations_of_large_values_and_nan(way, activation, with_residual):
    channels, outputs, groups, kernel = WAYS[way]
    x = rng.standard_normal((1, channels, 24, 25)).astype(np.float32)
    x[:, 0, :12] *= 1000  # to reach both ends of every activation
    x[0, 0, 20, 20] = np.nan
    w = rng.standard_normal((outputs, channels // groups, kernel, kernel)).astype(np.float32)
    p = kernel // 2
    options = ((1, 1), ((p, p), (p, p)), (1, 1), groups)
    shape = (1, outputs, 24, 25)
    added = rng.standard_normal(shape).astype(np.float32) if with_residual else None
    y = kernels.conv2d.compiled(x, kernels.prepare_filters(w, groups), None, *options, added)
    exact = kernels.activation.reference(y.astype(np.float64), activation)
    filters = kernels.prepare_filters(w, groups)
    result = kernels.conv2d.compiled(x, filters, None, *options, added, activation)
    assert np.isnan(result).any()
    np.testing.assert_allclose(result, exact, rtol=3e-6, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 2),
    channels=st.integers(1, 70),
    outputs=st.integers(1, 70),
    size=st.integers(1, 9),
    activation=st.sampled_from(NAMES),
    with_residual=st.booleans(),
    kernel=st.sampled_from([1, 3]),
)
def test_fused_residual_and_activation(
    n, channels, outputs, size, activation, with_residual, kernel
):
    x = rng.standard_normal((n, channels, size, size)).astype(np.float32)
    w = rng.standard_normal((outputs, channels, kernel, kernel)).astype(np.float32)
    b = rng.standard_normal(outputs).astype(np.float32)
    p = kernel // 2
    options = ((1, 1), ((p, p), (p, p)), (1, 1), 1)
    residual = None
    if with_residual:
        residual = rng.standard_normal((n, outputs, size, size)).astype(np.float32)
    y = kernels.conv2d.compiled(x, w, b, *options, residual, activation)
    expected = kernels.conv2d.reference(x, w, b, *options, residual, activation)
    # The error of Winograd is relative to the largest sum, not to each output.
    largest = np.abs(kernels.conv2d.reference(x, w, b, *options, residual)).max()
    tolerance = 1e-5 if kernel == 3 else 2e-6
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("form", ["reference", "compiled"])
def test_prepared_filters(form):
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 4, 9, 9), (6, 4, 3, 3)))
    convolve, prepare = (getattr(k, form) for k in (kernels.conv2d, kernels.prepare_filters))
    options = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    prepared = convolve(x, prepare(w, 1), None, *options)
    np.testing.assert_array_equal(prepared, convolve(x, w, None, *options))


def test_many_channels_and_positions_use_winograd(unit, monkeypatch):
    """Scaled filters, as folded norms have them, by Winograd and then by the direct sum."""
    x, w, scale = draw(2, 256, 64, 64), draw(256, 256, 3, 3), draw(256)
    options = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    expected = kernels.conv2d.reference(
        x, kernels.prepare_filters.reference(w, 1, scale), None, *options
    )
    size = np.abs(expected).max()
    filters = kernels.prepare_filters.compiled(w, 1, scale)
    quick = kernels.conv2d.compiled(x, filters, None, *options)
    np.testing.assert_allclose(quick, expected, atol=1e-4 * size)
    monkeypatch.setenv("LUCID_WINOGRAD", "0")
    filters = kernels.prepare_filters.compiled(w, 1, scale)
    exact = kernels.conv2d.compiled(x, filters, None, *options)
    np.testing.assert_allclose(exact, expected, atol=1e-5 * size)
    assert not np.array_equal(quick, exact)
    if unit == "amx":  # more and smaller images use the direct sum
        small = np.ascontiguousarray(x.reshape(8, 256, 32, 32))
        few = [kernels.conv2d.compiled(small, filters, None, *options)]
        monkeypatch.delenv("LUCID_WINOGRAD")
        filters = kernels.prepare_filters.compiled(w, 1, scale)
        few.append(kernels.conv2d.compiled(small, filters, None, *options))
        np.testing.assert_array_equal(*few)
        assert filters._transformed is None


@pytest.mark.parametrize("form", ["reference", "compiled"])
def test_empty_output_has_zero_gradients(form):
    """An input smaller than the kernel, as in an empty transposed convolution."""
    g, w = np.zeros((2, 3, 0, 4), np.float32), np.ones((3, 5, 4, 2), np.float32)
    gradient = getattr(kernels.conv2d_input_gradient, form)
    result = gradient(g, w, (2, 5, 3, 5), (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    np.testing.assert_array_equal(result, np.zeros((2, 5, 3, 5), np.float32))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize(("channels", "outputs", "kernel"), [(64, 128, 3), (17, 33, 3), (3, 64, 7)])
def test_images_smaller_than_the_window(
    channels, outputs, kernel, size, stride, threads, use_threads
):
    """Taps outside of all images add zero, not uninitialized memory."""
    use_threads(threads)
    x, w = draw(3, channels, *size), draw(outputs, channels, kernel, kernel)
    p = kernel // 2
    options = ((stride, stride), ((p, p), (p, p)), (1, 1), 1)
    g = draw(*kernels.conv2d.reference(x, w, None, *options).shape)
    for convolution, args in (
        (kernels.conv2d, (x, w, None)),
        (kernels.conv2d_input_gradient, (g, w, x.shape)),
        (kernels.conv2d_weight_gradient, (g, x, w.shape)),
    ):
        expected = convolution.reference(*args, *options)
        for _ in range(3):
            for magnitude in range(4, 20):  # freed at once, for reuse
                np.full(1 << magnitude, np.nan, np.float32)
            result = convolution.compiled(*args, *options)
            np.testing.assert_allclose(result, expected, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 3), *[st.integers(0, 6)] * 2, st.integers(1, 20)),
    padding=st.tuples(margins, margins),
)
def test_padded_images(shape, padding):
    from lucid.kernels.compiled.implicit_gemm import pad_image

    x = draw(*shape)
    y = pad_image(x, padding)
    assert (y.dtype, y.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), *padding, (0, 0))))


def test_threads_do_not_change_results(assert_thread_invariant):
    """The partition of sums does not depend on the number of threads."""
    x = rng.standard_normal((4, 8, 60, 60)).astype(np.float32)
    g = rng.standard_normal((4, 8, 60, 60)).astype(np.float32)
    options = ((8, 8, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    assert_thread_invariant(lambda: [kernels.conv2d_weight_gradient.compiled(g, x, *options)])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("side", [1, 2, 5, 7])
def test_weight_gradients_of_many_small_images(side, kernel, groups):
    """Lines that do not fill a tile, or are laid out one after the other."""
    x, g = draw(9, 64, side, side), draw(9, 96, side, side)
    options = (
        (96, 64 // groups, kernel, kernel),
        (1, 1),
        ((kernel // 2,) * 2,) * 2,
        (1, 1),
        groups,
    )
    exact = kernels.conv2d_weight_gradient.reference(
        g.astype(np.float64), x.astype(np.float64), *options
    )
    result = kernels.conv2d_weight_gradient.compiled(g, x, *options)
    np.testing.assert_allclose(result, exact, atol=2e-5 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("shape", "outputs", "side"),
    [
        ((2, 256, 46, 46), 64, 3),
        ((1, 1024, 14, 14), 512, 1),
        ((2, 64, 46, 46), 256, 3),
        ((1, 2048, 7, 7), 64, 1),
        ((1, 512, 7, 7), 96, 3),
        ((1, 96, 40, 8), 64, 3),
    ],
)
def test_threads_do_not_change_sums(shape, outputs, side, assert_thread_invariant, monkeypatch):
    """Also for images so large that channels are processed in chunks."""
    monkeypatch.setenv("LUCID_WINOGRAD", "0")
    x, w = draw(*shape), draw(outputs, shape[1], side, side)
    options = ((1, 1), ((side // 2, side // 2),) * 2, (1, 1), 1)
    g = draw(shape[0], outputs, *shape[2:])

    def run():
        y = kernels.conv2d.compiled(x, w, None, *options)
        return y, kernels.conv2d_input_gradient.compiled(g, w, x.shape, *options)

    assert_thread_invariant(run, (1, 2, 3, 5))


def test_foreign_layouts():
    x = rng.standard_normal((2, 3, 8, 9)).astype(np.float32)
    w = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    expected = lucid.conv2d(x, w, padding=1).numpy()
    read_only = x.copy()
    read_only.flags.writeable = False
    for variant in (
        kernels.channels_last(x),
        np.asfortranarray(x),
        x[:, :, ::-1].copy()[:, :, ::-1],
        read_only,
        x.astype(">f4"),
    ):
        kept = variant.copy()
        np.testing.assert_array_equal(lucid.conv2d(variant, w, padding=1).numpy(), expected)
        np.testing.assert_array_equal(variant, kept)


def test_asymmetric_and_named_padding():
    x = lucid.Tensor(rng.standard_normal((1, 1, 5, 5)))
    w = lucid.Tensor(rng.standard_normal((1, 1, 2, 4)))
    same = lucid.conv2d(x, w, padding="same")
    assert same.shape == (1, 1, 5, 5)
    np.testing.assert_allclose(same, lucid.conv2d(x, w, padding=((0, 1), (1, 2))))
    assert lucid.conv2d(x, w, padding="valid").shape == (1, 1, 4, 2)


@settings(max_examples=30, deadline=None)
@given(m=st.integers(0, 70), k=st.integers(0, 70), n=st.integers(0, 70))
def test_gemm_matches_reference(m, k, n):
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    expected = kernels.gemm.reference(a, b)
    np.testing.assert_allclose(kernels.gemm.compiled(a, b), expected, atol=1e-12)
    out = np.empty((m, n))
    assert kernels.gemm.compiled(a, b, out) is out
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_gemm_in_blocks():
    a, b = rng.standard_normal((300, 80)), rng.standard_normal((80, 500))
    np.testing.assert_allclose(kernels.gemm.compiled(a, b), a @ b, atol=1e-11)
    np.testing.assert_allclose(kernels.gemm.compiled(b.T, a.T), b.T @ a.T, atol=1e-11)


@pytest.mark.parametrize("layouts", ["CC", "CF", "FC", "FF"])
@pytest.mark.parametrize("shape", [(300, 400, 70), (33, 4096, 97), (64, 64, 1100)])
def test_gemm_of_transposed_operands(shape, layouts):
    """Large enough for AMX, in C or Fortran order."""
    m, k, n = shape
    a, b = (
        np.asarray(rng.standard_normal(size).astype(np.float32), order=order)
        for size, order in zip(((m, k), (k, n)), layouts, strict=True)
    )
    exact = a.astype(np.float64) @ b.astype(np.float64)
    y = kernels.gemm.compiled(a, b)
    np.testing.assert_allclose(y, exact, atol=1e-5 * np.abs(exact).max())
    out = np.full((m, n), np.nan, np.float32)
    assert kernels.gemm.compiled(a, b, out) is out
    np.testing.assert_array_equal(out, y)
    out = np.full((m, 2 * n), np.float32(7))
    assert kernels.gemm.compiled(a, b, out[:, :n]).base is out  # not contiguous
    np.testing.assert_allclose(out[:, :n], exact, atol=1e-5 * np.abs(exact).max())
    np.testing.assert_array_equal(out[:, n:], 7)
