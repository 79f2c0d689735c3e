"""Concatenation of images: memory layout and gradients."""

import numpy as np
import pytest

import lucid
from lucid import kernels


def draw(*shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return lucid.Tensor(kernels.channels_last(x), requires_grad=True)


def test_channels_of_images_stay_last_in_memory():
    x, y = draw(2, 5, 3, 4), draw(2, 20, 3, 4)
    z = lucid.concatenate([x, y, x], axis=1)
    assert kernels.is_channels_last(z.numpy())
    np.testing.assert_array_equal(z.numpy(), np.concatenate([x, y, x], axis=1))
    g = draw(*z.shape).numpy()
    z.backward(g)
    np.testing.assert_allclose(x.grad.numpy(), g[:, :5] + g[:, 25:], atol=1e-6)
    np.testing.assert_array_equal(y.grad.numpy(), g[:, 5:25])


@pytest.mark.parametrize("shape", [(3, 5, 3, 4), (2, 5, 4, 3), (2, 5, 12)])
def test_images_of_other_sizes_are_refused(shape):
    with pytest.raises(ValueError, match=r"got \(2, 5, 3, 4\) and"):
        lucid.concatenate([draw(2, 5, 3, 4), lucid.zeros(*shape)], axis=1)
