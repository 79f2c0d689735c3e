"""Values of operations against NumPy, dtypes and errors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lucid

finite = st.floats(-10, 10, width=32)
arrays = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=4, max_side=4, min_side=0), elements=finite
)


@pytest.mark.parametrize(
    "name",
    ["abs", "ceil", "cos", "exp", "floor", "isfinite", "isinf", "isnan", "logical_not", "negative",
     "positive", "round", "sign", "sin", "square", "tan", "tanh"],
)  # fmt: skip
@settings(max_examples=20, deadline=None)
@given(x=arrays)
def test_unary(name, x):
    result = getattr(lucid, name)(lucid.Tensor(x)).numpy()
    expected = getattr(np, name)(x)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    "name",
    ["add", "subtract", "multiply", "maximum", "minimum", "equal", "not_equal", "less",
     "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_xor"],
)  # fmt: skip
@settings(max_examples=20, deadline=None)
@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), data=st.data()
)
def test_binary_broadcasts(name, shapes, data):
    x, y = (data.draw(hnp.arrays(np.float32, s, elements=finite)) for s in shapes.input_shapes)
    result = getattr(lucid, name)(lucid.Tensor(x), lucid.Tensor(y)).numpy()
    np.testing.assert_array_equal(result, getattr(np, name)(x, y))


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "any", "all"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (2, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name, axis, keepdims):
    x = np.random.default_rng(0).standard_normal((3, 4, 2)).astype(np.float32)
    result = getattr(lucid, name)(lucid.Tensor(x), axis=axis, keepdims=keepdims).numpy()
    expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_indexing_matches_numpy(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    x = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    index = data.draw(
        st.one_of(
            hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True),
            hnp.integer_array_indices(shape),
            hnp.arrays(bool, shape),
        )
    )
    leaf = lucid.tensor(x, requires_grad=True)
    y = leaf[index]
    np.testing.assert_array_equal(y.numpy(), x[index])
    y.sum().backward()
    counts = np.zeros(shape)
    np.add.at(counts, index, 1)
    np.testing.assert_array_equal(leaf.grad.numpy(), counts)


def test_sigmoid_does_not_overflow():
    y = lucid.sigmoid(lucid.tensor([-1000.0, 0.0, 1000.0]))
    np.testing.assert_array_equal(y, [0, 0.5, 1])


def test_erf_matches_math_erf():
    x = np.linspace(-4, 4, 101)
    expected = [math.erf(v) for v in x]
    np.testing.assert_allclose(lucid.erf(lucid.Tensor(x)), expected, rtol=1e-14)


def test_logsumexp_is_stable():
    x = lucid.tensor([[1000.0, 1000.0], [-np.inf, -np.inf]])
    np.testing.assert_allclose(x.logsumexp(1), [1000 + math.log(2), -np.inf])


def test_logsumexp_of_no_elements():
    x = lucid.zeros(2, 0, 3, requires_grad=True)
    y = x.logsumexp(1)
    np.testing.assert_array_equal(y, np.full((2, 3), -np.inf, np.float32))
    y.sum().backward()
    assert x.grad.shape == (2, 0, 3)


def test_gradients_of_empty_mean_and_prod():
    x = lucid.zeros(2, 0, requires_grad=True)
    assert np.isnan(x.mean(1).numpy()).all()
    x.mean(1).sum().backward()
    assert x.grad.shape == (2, 0)
    y = lucid.ones(3, 0, 2, requires_grad=True)
    np.testing.assert_array_equal(y.prod(2), np.empty((3, 0)))
    y.prod(2).sum().backward()
    assert y.grad.shape == (3, 0, 2)


def test_variance_is_unbiased_by_default():
    x = lucid.tensor([1.0, 2.0, 4.0])
    assert x.var().item() == pytest.approx(7 / 3)
    assert x.var(correction=0).item() == pytest.approx(14 / 9)
    assert x.std().item() == pytest.approx(math.sqrt(7 / 3))


def test_sort_is_stable():
    x = lucid.tensor([2, 1, 2, 1])
    assert x.argsort().tolist() == [1, 3, 0, 2]
    assert x.argsort(descending=True).tolist() == [0, 2, 1, 3]
    values, where = lucid.topk(x, 3)
    assert (values.tolist(), where.tolist()) == ([2, 2, 1], [0, 2, 1])
    assert lucid.topk(x, 2, largest=False)[1].tolist() == [1, 3]


def test_einsum_without_arrow_matches_numpy():
    x, y = np.ones((2, 3)), np.ones((3, 4))
    np.testing.assert_array_equal(lucid.einsum("ij,jk", x, y), np.einsum("ij,jk", x, y))
    np.testing.assert_array_equal(lucid.einsum("ba", x), np.einsum("ba", x))


@given(
    hnp.arrays(
        np.int64, st.tuples(st.integers(0, 4), st.integers(1, 4)), elements=st.integers(0, 2)
    )
)
def test_unique_indices(x):
    values, index, inverse, counts = lucid.unique(
        x, return_index=True, return_inverse=True, return_counts=True
    )
    np.testing.assert_array_equal(values, np.unique(x))
    np.testing.assert_array_equal(x.reshape(-1)[index.numpy()], values)
    np.testing.assert_array_equal(values.numpy()[inverse.numpy()], x)
    np.testing.assert_array_equal(counts, np.bincount(x.reshape(-1), minlength=3)[values.numpy()])
    rows, index, inverse = lucid.unique(x, axis=0, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(rows, np.unique(x, axis=0))
    np.testing.assert_array_equal(x[index.numpy()], rows)
    np.testing.assert_array_equal(rows.numpy()[inverse.numpy()], x)
    assert inverse.shape == (len(x),)


def test_where_with_condition_only():
    rows, columns = lucid.where(lucid.tensor([[0.0, 2.0], [3.0, 0.0]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])
    with pytest.raises(TypeError, match="x and y"):
        lucid.where([True], 1.0)


def test_norm_of_negative_order_with_a_zero():
    x = lucid.tensor([[0.0, 3.0], [2.0, 2.0]])
    assert lucid.norm(x, -1, 1).tolist() == [0, 1]


def test_one_hot_and_unique_and_nonzero():
    assert lucid.one_hot([2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert lucid.unique(lucid.tensor([3, 1, 3])).tolist() == [1, 3]
    assert lucid.one_hot([2, 0]).tolist() == [[0, 0, 1], [1, 0, 0]]
    rows, columns = lucid.nonzero(lucid.tensor([[0, 1], [1, 0]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


def test_transpose_swaps_or_permutes():
    x = lucid.zeros(2, 3, 4)
    assert x.transpose(0, 1).shape == (3, 2, 4)
    assert x.transpose(2, 0, 1).shape == (4, 2, 3)
    assert x.T.shape == (4, 3, 2)
    assert x.mT.shape == (2, 4, 3)


@pytest.mark.parametrize("scalar", [2, 2.5, True, np.float64(2.5), np.int64(2), np.array(2.5)])
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum"])
def test_float32_stays_float32_next_to_scalars(name, scalar):
    function = getattr(lucid, name)
    x = lucid.ones(3)
    assert function(x, scalar).dtype == np.float32
    assert function(scalar, x).dtype == np.float32


def test_type_promotion():
    ints, floats = lucid.arange(3), lucid.ones(3)
    assert (ints * floats).dtype == np.float32
    assert (ints + 1).dtype == np.int64
    assert (ints + 0.5).dtype == np.float32
    assert (ints / 2).dtype == np.float32
    assert (floats * lucid.ones(3, dtype="float64")).dtype == np.float64
    assert ((ints > 0) + 1).dtype == np.int64
    assert ints.sum().dtype == np.int64
    assert ints.mean().dtype == np.float32
    assert lucid.exp(ints).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: lucid.matmul(x, lucid.ones(2, 2)), ValueError, r"\(2, 3\) and \(2, 2\)"),
        (lambda x: lucid.linear(x, lucid.ones(4, 2)), ValueError, r"\(\.\.\., 2\), got \(2, 3\)"),
        (lambda x: lucid.sum(x, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda x: lucid.sum(x, (0, -2)), ValueError, r"axis=\(0, -2\)"),
        (lambda x: lucid.permute(x, 0), ValueError, "all 2 axes"),
        (lambda x: lucid.split(x, [1, 1], 1), ValueError, r"3, got \[1, 1\]"),
        (lambda x: lucid.split(x, 0), ValueError, "positive"),
        (lambda x: lucid.chunk(x, 0), ValueError, "chunks >= 1, got 0"),
        (lambda x: lucid.concatenate([]), ValueError, "at least one"),
        (lambda x: lucid.expand(x, 3), ValueError, r"\(2, 3\)"),
        (lambda x: lucid.expand(x, -1, 2, 3), ValueError, "-1"),
        (lambda x: lucid.topk(x, 4), ValueError, r"\[0, 3\], got 4"),
        (lambda x: lucid.one_hot([3], 3), ValueError, r"\[0, 2\], got 3"),
        (lambda x: lucid.one_hot(x, 3), TypeError, "integers"),
        (lambda x: lucid.one_hot(lucid.zeros(0, dtype=int)), ValueError, "num_classes"),
        (lambda x: lucid.gather(x, 0, [0]), ValueError, "2 axes, got 1"),
        (lambda x: lucid.gather(x, 0, [[0.5]]), TypeError, "index, got float32"),
        (lambda x: lucid.flatten(x, 1, 0), ValueError, "got 1 and 0"),
        (lambda x: lucid.einsum("ij", x, x), ValueError, "1 tensors, got 2"),
        (lambda x: lucid.einsum("ijk", x), ValueError, "3 axes for 'ijk', got 2"),
        (lambda x: lucid.conv2d(x, x), ValueError, r"\(N, C, H, W\)"),
        (
            lambda x: lucid.conv2d(lucid.ones(1, 2, 4, 4), lucid.ones(1, 3, 3, 3)),
            ValueError,
            r"3 input channels, got 2 \(input of shape \(1, 2, 4, 4\)",
        ),
        (
            lambda x: lucid.conv2d(lucid.ones(1, 2, 2, 4), lucid.ones(1, 2, 3, 3)),
            ValueError,
            "height.*3, got 2",
        ),
        (
            lambda x: lucid.conv2d(lucid.ones(1, 3, 4, 4), lucid.ones(2, 1, 3, 3), groups=2),
            ValueError,
            "groups=2",
        ),
        (
            lambda x: lucid.conv2d(lucid.ones(1, 1, 4, 4), lucid.ones(1, 1, 3, 3), stride=0),
            ValueError,
            "stride >= 1, got 0",
        ),
        (
            lambda x: lucid.conv2d(lucid.ones(1, 1, 4, 4), lucid.ones(1, 1, 3, 3), padding="x"),
            ValueError,
            "'valid', 'same'",
        ),
        (
            lambda x: lucid.conv2d(
                lucid.ones(1, 1, 4, 4), lucid.ones(1, 1, 3, 3), stride=(1, 2), padding="same"
            ),
            ValueError,
            r"padding='same'.*stride 1, got \(1, 2\)",
        ),
        (
            lambda x: lucid.conv2d(
                lucid.ones(1, 1, 4, 4), lucid.ones(1, 1, 3, 3), padding=((1, 1), (1, 1), (1, 1))
            ),
            ValueError,
            r"\(\(top, bottom\), \(left, right\)\), got \(\(1, 1\), \(1, 1\), \(1, 1\)\)",
        ),
        (
            lambda x: lucid.conv2d(lucid.ones(1, 1, 4, 4), lucid.ones(5, 1, 3, 3), lucid.ones(4)),
            ValueError,
            r"bias of shape \(5,\), got \(4,\)",
        ),
        (
            lambda x: lucid.matmul(x, 2.0),
            ValueError,
            r"one axis each, got shapes \(2, 3\) and \(\)",
        ),
        (
            lambda x: lucid.scatter_add(x, 0, [[0, 1, 0]], lucid.ones(1, 2)),
            ValueError,
            r"\(1, 3\), got \(1, 2\)",
        ),
        (lambda x: lucid.from_numpy([1, 2]), TypeError, r"numpy\.ndarray, got list"),
    ],
)
def test_invalid_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(lucid.ones(2, 3))
