"""Transposed convolution against the gradient of convolution."""

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid.nn import functional as F
from lucid.testing import gradcheck

rng = np.random.default_rng(8)


def test_values_computed_by_hand():
    # Each pixel adds the scaled kernel, two columns further.
    x = np.array([[[[1.0, 10.0]]]])
    weight = np.array([[[[1.0, 2.0, 3.0]]]])
    y = F.conv_transpose2d(x, weight, np.array([0.5]), stride=2)
    np.testing.assert_array_equal(y.numpy()[0, 0], [[1.5, 2.5, 13.5, 20.5, 30.5]])


@pytest.mark.parametrize(
    ("size", "stride", "padding", "output_padding", "groups", "dilation"),
    [
        ((5, 6), 1, 0, 0, 1, 1),
        ((8, 9), 2, 1, 1, 1, 1),
        ((7, 7), 3, (1, 0), (0, 1), 2, 1),
        ((6, 7), 1, 1, 1, 2, 2),
        ((7, 8), 1, 0, 1, 1, 2),
    ],
)
def test_is_the_adjoint_of_conv2d(size, stride, padding, output_padding, groups, dilation):
    """<conv(y), x> = <y, conv_transpose(x)> for any x and y."""
    weight = rng.standard_normal((4, 3, 3, 2))
    y = rng.standard_normal((2, 3 * groups, 40, 40))
    probe = rng.standard_normal((2, 4, *size))
    z = F.conv_transpose2d(probe, weight, None, stride, padding, output_padding, groups, dilation)
    y = y[:, :, : z.shape[2], : z.shape[3]]
    forward = lucid.conv2d(y, weight, None, stride, padding, dilation, groups).numpy()
    # With output_padding > stride, the convolution has more rows than x.
    forward = forward[:, :, : size[0], : size[1]]
    assert (forward * probe).sum() == pytest.approx((y * z.numpy()).sum())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"stride": (1, 2), "groups": 2, "dilation": 2, "output_padding": 1},
    ],
)
def test_derivatives(options):
    groups = options.get("groups", 1)
    inputs = [rng.standard_normal(s) for s in ((2, 4, 3, 2), (4, 2, 3, 2), (2 * groups,))]
    gradcheck(
        lambda x, w, b: F.conv_transpose2d(x, w, b, **options),
        [Tensor(a, requires_grad=True) for a in inputs],
    )


@pytest.mark.parametrize(
    ("weight", "bias", "options", "message"),
    [
        ((3, 2, 2, 2), None, {}, r"got \(1, 4, 3, 3\) and \(3, 2, 2, 2\)"),
        ((4, 2, 2, 2), None, {"groups": 3}, "divisible by groups=3"),
        ((4, 2, 2, 2), (3,), {}, r"bias of shape \(2,\), got \(3,\)"),
        ((4, 2, 2, 2), None, {"output_padding": 1}, "output_padding below stride or dilation"),
        ((4, 2, 2, 2), None, {"padding": 2}, "got 0 x 0"),
    ],
)
def test_invalid_arguments(weight, bias, options, message):
    bias = None if bias is None else np.zeros(bias)
    with pytest.raises(ValueError, match=message):
        F.conv_transpose2d(np.zeros((1, 4, 3, 3)), np.zeros(weight), bias, **options)
