"""Concatenation and shuffling of channels: by hand, and compiled against reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid import kernels

rng = np.random.default_rng(8)

FORMS = ["reference", "compiled"]

sides = st.one_of(st.integers(0, 7), st.integers(20, 40))
channels = st.one_of(st.integers(0, 6), st.integers(20, 70))


def draw(*shape, dtype=np.float32):
    return kernels.channels_last(rng.standard_normal(shape).astype(dtype))


@pytest.mark.parametrize("form", FORMS)
class TestByHand:
    def test_shuffle(self, form):
        x = kernels.channels_last(np.float32([0, 1, 2, 3, 4, 5]).reshape(1, 6, 1, 1))
        shuffle = getattr(kernels.channel_shuffle, form)
        for groups, expected in (
            (1, [0, 1, 2, 3, 4, 5]),
            (2, [0, 3, 1, 4, 2, 5]),
            (3, [0, 2, 4, 1, 3, 5]),
            (6, [0, 1, 2, 3, 4, 5]),
        ):
            assert shuffle(x, groups).ravel().tolist() == expected

    def test_concatenation(self, form):
        images = [kernels.channels_last(np.full((1, c, 1, 2), c, np.float32)) for c in (1, 2)]
        y = getattr(kernels.concatenate_channels, form)(*images)
        np.testing.assert_array_equal(y[0, :, 0], [[1, 1], [2, 2], [2, 2]])


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(sides, sides, sides),
    counts=st.lists(channels, min_size=1, max_size=4),
    double=st.booleans(),
)
def test_compiled_concatenation_matches_reference(shape, counts, double):
    n, h, w = shape
    dtype = np.float64 if double else np.float32
    images = [draw(n, c, h, w, dtype=dtype) for c in counts]
    y = kernels.concatenate_channels.compiled(*images)
    assert y.dtype == dtype
    assert kernels.is_channels_last(y)
    np.testing.assert_array_equal(y, kernels.concatenate_channels.reference(*images))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(sides, sides, sides),
    groups=st.integers(1, 9),
    width=st.integers(0, 40),
    double=st.booleans(),
)
def test_compiled_shuffle_matches_reference(shape, groups, width, double):
    n, h, w = shape
    dtype = np.float64 if double else np.float32
    x = draw(n, groups * width, h, w, dtype=dtype)
    y = kernels.channel_shuffle.compiled(x, groups)
    assert y.dtype == dtype
    assert kernels.is_channels_last(y)
    np.testing.assert_array_equal(y, kernels.channel_shuffle.reference(x, groups))


@pytest.mark.parametrize("shape", [(16, 256, 56, 56), (3, 1000, 7, 7)])
def test_large_images(shape):
    x = draw(*shape)
    y = kernels.concatenate_channels.compiled(x, x[:, :5].copy(order="K"), x)
    np.testing.assert_array_equal(y, np.concatenate([x, x[:, :5], x], axis=1))
    y = kernels.channel_shuffle.compiled(x, 4)
    np.testing.assert_array_equal(y, kernels.channel_shuffle.reference(x, 4))


def test_foreign_layouts(foreign):
    x = draw(2, 6, 3, 5)
    y = kernels.channel_shuffle.compiled(foreign(x), 3)
    np.testing.assert_array_equal(y, kernels.channel_shuffle.reference(x, 3))
    y = kernels.concatenate_channels.compiled(x, foreign(x))
    np.testing.assert_array_equal(y, np.concatenate([x, x], axis=1))


def test_shuffle_of_other_axes_and_dtypes():
    x = np.arange(12).reshape(1, 6, 2)
    y = kernels.channel_shuffle.compiled(x, 2)
    assert y.dtype == x.dtype
    assert y[0, :, 0].tolist() == [0, 6, 2, 8, 4, 10]


def test_threads_do_not_change_results(assert_thread_invariant):
    x = draw(8, 64, 56, 56)
    assert_thread_invariant(
        lambda: [
            kernels.concatenate_channels.compiled(x, x),
            kernels.channel_shuffle.compiled(x, 2),
        ]
    )
