"""Scaled dot-product attention: masks, dropout and wrong arguments."""

import numpy as np
import pytest

import lucid
from lucid.nn import functional as F
from lucid.testing import gradcheck

attention = F.scaled_dot_product_attention


def draw(*shape, dtype="float32", seed=0):
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return lucid.Tensor(x, requires_grad=True)


def test_boolean_mask_marks_the_keys_that_take_part():
    q, k, v = draw(3, 4), draw(5, 4, seed=1), draw(5, 2, seed=2)
    mask = np.random.default_rng(3).random((3, 5)) < 0.6
    mask[1] = False
    added = np.where(mask, np.float32(0), np.float32(-np.inf))
    y, expected = attention(q, k, v, mask), attention(q, k, v, added)
    np.testing.assert_array_equal(y.numpy(), expected.numpy())
    np.testing.assert_array_equal(y.numpy()[1], 0)
    y[0].sum().backward()
    unseen = ~mask[0]
    assert unseen.any()
    np.testing.assert_array_equal(k.grad.numpy()[unseen], 0)
    np.testing.assert_array_equal(v.grad.numpy()[unseen], 0)


def test_causal_is_a_lower_triangular_mask():
    q, k, v = draw(2, 30, 8), draw(2, 40, 8, seed=1), draw(2, 40, 8, seed=2)
    expected = attention(q, k, v, np.tri(30, 40, dtype=bool))
    np.testing.assert_allclose(
        attention(q, k, v, is_causal=True).numpy(), expected.numpy(), atol=1e-6
    )


def test_default_scale_is_one_over_the_root_of_the_width():
    q, k, v = draw(3, 16), draw(5, 16, seed=1), draw(5, 2, seed=2)
    expected = attention(q, k, v, scale=0.25)
    np.testing.assert_array_equal(attention(q, k, v).numpy(), expected.numpy())


def test_mask_broadcasts_and_has_a_gradient():
    q, k, v = (draw(2, 3, n, 4, dtype="float64", seed=n) for n in (5, 6, 6))
    gradcheck(attention, [q, k, v, draw(3, 1, 6, dtype="float64")])


def test_dtypes_are_promoted():
    q, k = draw(3, 4), draw(5, 4, dtype="float64", seed=1)
    y = attention(q, k, draw(5, 2, seed=2))
    assert y.dtype == np.float64
    y.sum().backward()
    assert q.grad.dtype == np.float32


def test_changed_query_is_noticed_in_backward():
    q, k, v = draw(3, 4), draw(5, 4, seed=1), draw(5, 2, seed=2)
    leaf, q = q, q * 1
    y = attention(q, k, v)
    with lucid.no_grad():
        q *= 2
    assert leaf.requires_grad
    with pytest.raises(RuntimeError, match="in place"):
        y.sum().backward()


@pytest.mark.parametrize("masked", [False, True])
def test_dropout_keeps_the_expected_value(masked):
    """The mean over many draws is the result without dropout."""
    q, k, v = draw(3, 4), draw(5, 4, seed=1), draw(5, 2, seed=2)
    mask = np.array([[True] * 5, [False] * 5, [True, False] * 2 + [True]]) if masked else None
    lucid.random.seed(0)
    with lucid.no_grad():
        draws = [attention(q, k, v, mask, 0.25).numpy() for _ in range(3000)]
        expected = attention(q, k, v, mask).numpy()
    assert np.std(draws, axis=0).max() > 0.1
    np.testing.assert_allclose(np.mean(draws, axis=0), expected, atol=0.05)


def test_full_dropout_gives_zeros():
    q, k, v = draw(3, 4), draw(5, 4, seed=1), draw(5, 2, seed=2)
    np.testing.assert_array_equal(attention(q, k, v, dropout_p=1.0).numpy(), 0)


def test_dropout_in_causal_order():
    q = k = draw(4, 4)
    v = lucid.eye(4)
    lucid.random.seed(0)
    weights = attention(q, k, v, dropout_p=0.5, is_causal=True).numpy()
    np.testing.assert_array_equal(np.triu(weights, 1), 0)
    assert (np.tril(weights) > 0).any()


WRONG = {
    "one axis": (((4,), (5, 4), (5, 2)), {}, r"\(\.\.\., L, E\)"),
    "widths": (((3, 4), (5, 3), (5, 2)), {}, r"\(3, 4\), \(5, 3\)"),
    "keys and values": (((3, 4), (5, 4), (6, 2)), {}, r"\(6, 2\)"),
    "leading axes": (((2, 3, 4), (3, 5, 4), (5, 2)), {}, "broadcast"),
    "mask": (((3, 4), (5, 4), (5, 2)), {"attn_mask": np.zeros((3, 4))}, r"\(3, 5\), got \(3, 4\)"),
    "axes of the mask": (
        ((3, 4), (5, 4), (5, 2)),
        {"attn_mask": np.zeros((1, 3, 5))},
        "broadcasts",
    ),
    "two masks": (
        ((3, 4), (5, 4), (5, 2)),
        {"attn_mask": np.ones((3, 5), bool), "is_causal": True},
        "no attn_mask with is_causal",
    ),
    "probability": (((3, 4), (5, 4), (5, 2)), {"dropout_p": 1.5}, r"\[0, 1\], got 1.5"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    shapes, options, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        attention(*(draw(*s) for s in shapes), **options)


def test_integer_mask():
    with pytest.raises(TypeError, match=r"got int64; use attn_mask != 0"):
        attention(draw(3, 4), draw(5, 4), draw(5, 2), np.ones((3, 5), np.int64))
