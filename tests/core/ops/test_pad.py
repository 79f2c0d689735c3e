"""``lucid.pad`` and ``nn.functional.pad`` against NumPy, with gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lucid
from lucid.nn import functional as F
from lucid.ops.pad import MODES
from lucid.testing import gradcheck

X = np.arange(6.0).reshape(2, 3)


def test_values_computed_by_hand():
    row = lucid.tensor([1, 2, 3])
    for mode, expected in {
        "constant": [9, 9, 1, 2, 3, 9],
        "reflect": [3, 2, 1, 2, 3, 2],
        "edge": [1, 1, 1, 2, 3, 3],
        "wrap": [2, 3, 1, 2, 3, 1],
    }.items():
        assert lucid.pad(row, (2, 1), mode, 9).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), max_size=4),
    mode=st.sampled_from(MODES),
    data=st.data(),
)
def test_matches_numpy_pad(shape, mode, data):
    """Widths longer than the axis repeat its elements."""
    width = st.integers(0, 9)
    pair = st.tuples(width, width)
    each = st.lists(pair, min_size=len(shape), max_size=len(shape))
    widths = data.draw(st.one_of(width, pair, each) if shape else st.one_of(width, pair))
    x = np.arange(np.prod(shape)).reshape(shape)
    padded = lucid.pad(x, widths, mode)
    np.testing.assert_array_equal(padded.numpy(), np.pad(x, widths, mode))
    assert padded.dtype == x.dtype


@pytest.mark.parametrize("mode", MODES)
def test_derivatives(mode):
    x = lucid.Tensor(np.random.default_rng(1).standard_normal((2, 3, 4)), requires_grad=True)
    for widths in (((1, 0), (0, 2), (5, 3)), (0, 1), ((0, 0), (2, 2), (0, 0)), 0):
        gradcheck(lambda x, w=widths: lucid.pad(x, w, mode, 7.0), [x])


@pytest.mark.parametrize("mode", MODES)
def test_zero_padding_is_a_copy(mode):
    x = lucid.ones(2, 2)
    assert not np.shares_memory(lucid.pad(x, 0, mode).numpy(), x.numpy())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lucid.pad(X, [(1, 1)] * 3), r"one for each of 2 axes.* got \[\(1, 1\), \("),
        (lambda: lucid.pad(X, (0, -1)), "none negative"),
        (lambda: lucid.pad(X, 0.5), "one number"),
        (lambda: lucid.pad(X, [[1], [1, 2]]), "one number"),
        (lambda: lucid.pad(X, 1, "replicate"), "'edge', 'wrap', got 'replicate'"),
        (lambda: lucid.pad(X, 1, 7.0), "'constant', .* got 7.0"),
        (lambda: lucid.pad(X[:0], 1, "edge"), r"'edge'.* shape \(0, 3\)"),
    ],
)
def test_invalid_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_empty_axis():
    assert lucid.pad(X[:0], ((0, 0), (1, 1)), "wrap").shape == (0, 5)
    np.testing.assert_array_equal(lucid.pad(X[:0], ((1, 0), (0, 0)), value=2.0), [[2, 2, 2]])


# --- nn.functional.pad --------------------------------------------------------------------------


def test_functional_pad_starts_at_the_last_axis():
    np.testing.assert_array_equal(F.pad(X, (1, 0)).numpy(), np.pad(X, ((0, 0), (1, 0))))
    np.testing.assert_array_equal(
        F.pad(X, (1, 0, 0, 2), value=5).numpy(), np.pad(X, ((0, 2), (1, 0)), constant_values=5)
    )
    for mode, name in (("replicate", "edge"), ("reflect", "reflect"), ("circular", "wrap")):
        np.testing.assert_array_equal(
            F.pad(X, (2, 1, 1, 0), mode).numpy(), np.pad(X, ((1, 0), (2, 1)), name)
        )


def test_functional_pad_with_negative_padding_crops():
    x = lucid.Tensor(X.copy(), requires_grad=True)
    y = F.pad(x, (-1, 2, 0, -1), value=9.0)
    assert y.tolist() == [[1, 2, 9, 9]]
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((1,),), r"at most 2 axes.* got \(1,\)"),
        (((1,) * 6,), "at most 2 axes"),
        (((1, 1), "edge"), "'replicate', 'circular', got 'edge'"),
        (((3, 0), "reflect"), r"2 elements .*axis of 3.* got pad=\(3, 0\)"),
        (((0, 4), "circular"), "3 elements .*axis of 3"),
        (((-1, 0), "replicate"), "none negative"),
        (((1, 0), "replicate", 1.0), "value .*mode='constant'"),
        (((-2, -2),), r"shape \(2, 3\)"),
    ],
)
def test_functional_pad_invalid_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        F.pad(X, *arguments)


def test_functional_pad_requires_integers():
    with pytest.raises(TypeError, match=r"1\.5"):
        F.pad(lucid.ones(1, 3), (1.5, 1))
