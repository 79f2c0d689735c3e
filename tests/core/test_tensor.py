"""Tensor: creation, conversion, copies and in-place operations."""

import copy
import pickle

import numpy as np
import pytest

import lucid
from lucid import kernels


def test_default_dtypes():
    assert lucid.tensor([1.0]).dtype == np.float32
    assert lucid.tensor([1]).dtype == np.int64
    assert lucid.tensor([True]).dtype == np.bool_
    assert lucid.tensor(2.5).dtype == np.float32
    assert lucid.tensor(np.zeros(2)).dtype == np.float64
    assert lucid.tensor([1.0], dtype="float64").dtype == np.float64
    assert lucid.tensor([lucid.tensor(1.5), lucid.tensor(2.5)]).tolist() == [1.5, 2.5]


def test_tensor_copies_and_as_tensor_does_not():
    array = np.zeros(3, np.float32)
    assert not np.shares_memory(lucid.tensor(array).numpy(), array)
    assert lucid.as_tensor(array).numpy() is array
    assert lucid.from_numpy(array).numpy() is array
    x = lucid.zeros(2)
    assert lucid.as_tensor(x) is x
    assert lucid.as_tensor(x, "float64").dtype == np.float64


@pytest.mark.parametrize("bad", [["a"], [1j], [None], np.array(["2020"], dtype="datetime64")])
def test_non_numeric_data_raises(bad):
    with pytest.raises(TypeError, match="expected booleans, integers or floats"):
        lucid.tensor(bad)


def test_creation():
    assert lucid.zeros(2, 3).shape == lucid.zeros((2, 3)).shape == (2, 3)
    assert lucid.ones(2).tolist() == [1, 1]
    assert lucid.full((2,), 7).dtype == np.int64
    assert lucid.full((2,), 7.5).dtype == np.float32
    assert lucid.full((2,), np.float64(7.5)).dtype == np.float32
    assert lucid.arange(3).tolist() == [0, 1, 2]
    assert lucid.arange(1, 2, 0.5).dtype == np.float32
    assert lucid.arange(3, dtype="float64").dtype == np.float64
    assert lucid.linspace(0, 1, 3).tolist() == [0, 0.5, 1]
    assert lucid.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert lucid.empty(2, 0).shape == (2, 0)
    with pytest.raises(ValueError, match="step, got 0"):
        lucid.arange(0, 1, 0)


def test_creation_like_keeps_shape_dtype_and_layout():
    x = lucid.Tensor(kernels.channels_last(np.zeros((2, 3, 4, 5), np.float32)))
    for make in (lucid.zeros_like, lucid.ones_like, lucid.empty_like):
        y = make(x)
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        assert kernels.is_channels_last(y.numpy())
    assert lucid.full_like(x, 3, dtype="int64").dtype == np.int64


def test_elementwise_results_stay_channels_last():
    x = lucid.Tensor(kernels.channels_last(np.ones((2, 3, 4, 5), np.float32)))
    for y in (x + 1, x * x, lucid.exp(x), x / lucid.ones(3, 1, 1)):
        assert kernels.is_channels_last(y.numpy())


def test_to_numpy_with_and_without_gradients():
    x = lucid.ones(2, requires_grad=True)
    assert x.numpy() is x.data
    assert np.shares_memory(np.asarray(x), x.data)
    assert np.asarray(x.detach()) is x.data
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x, copy=True), x.data)
    with pytest.raises(ValueError, match="copy=False"):
        np.asarray(x, dtype=np.float64, copy=False)
    assert np.exp(x.detach()).dtype == np.float32
    assert np.from_dlpack(lucid.ones(3)).tolist() == [1, 1, 1]
    assert lucid.from_dlpack(np.ones(3)).tolist() == [1, 1, 1]


def test_operators_with_arrays_give_tensors():
    x = lucid.ones(3, requires_grad=True)
    array = np.arange(3, dtype=np.float32)
    for y in (array + x, array - x, array * x, array / x, array @ x, np.float64(2) * x):
        assert isinstance(y, lucid.Tensor)
        assert y.requires_grad
        assert y.dtype == np.float32
    assert isinstance(array < x, lucid.Tensor)


def test_numpy_functions_accept_tensors():
    """Also those that call a method of the same name."""
    x = lucid.tensor([[1.0, 2.0], [3.0, 6.0]])
    for function, expected in (
        (np.sum, 12), (np.mean, 3), (np.prod, 36), (np.max, 6), (np.min, 1), (np.var, 3.5),
        (np.argmax, 3), (np.ndim, 2), (np.size, 4), (np.linalg.det, 0),
    ):  # fmt: skip
        np.testing.assert_allclose(function(x), expected, atol=1e-6)
    for result, expected in (
        (np.sum(x, axis=0, keepdims=True), [[4, 8]]),
        (np.concatenate([x, (x, x)[0]], axis=1), [[1, 2, 1, 2], [3, 6, 3, 6]]),
        (np.where(x > 2, x, 0), [[0, 0], [3, 6]]),
        (np.squeeze(x[:1]), [1, 2]),
        (np.transpose(x), [[1, 3], [2, 6]]),
        (np.reshape(x, (4, 1)), [[1], [2], [3], [6]]),
        (np.clip(x, 2, a_max=lucid.tensor(3.0)), [[2, 2], [3, 3]]),
    ):
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, expected)


def test_python_protocols():
    x = lucid.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert 3 in x
    assert 5 not in x
    assert float(lucid.tensor(2.5)) == 2.5
    assert int(lucid.tensor([3])) == 3
    assert [10, 20, 30][lucid.tensor(1)] == 20
    assert f"{lucid.tensor(0.12345):.2f}" == "0.12"
    assert bool(lucid.tensor([0.0])) is False
    assert len({x, x}) == 1
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    with pytest.raises(TypeError, match="0-d"):
        list(lucid.tensor(1.0))
    with pytest.raises(ValueError, match=r"one element.*\(2, 2\)"):
        x.item()


def test_repr():
    assert repr(lucid.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(lucid.zeros(1, dtype="float64")) == "tensor([0.], dtype=float64)"
    assert repr(lucid.ones(1, requires_grad=True)) == "tensor([1.], requires_grad=True)"


def test_operators():
    x = lucid.tensor([4.0, 9.0])
    np.testing.assert_array_equal(1 + x - 1, [4, 9])
    np.testing.assert_array_equal(2 * x / 2, [4, 9])
    np.testing.assert_array_equal(36 / x, [9, 4])
    np.testing.assert_array_equal(x // 2, [2, 4])
    np.testing.assert_array_equal(19 // x, [4, 2])
    np.testing.assert_array_equal(x % 5, [4, 4])
    np.testing.assert_array_equal(13 % x, [1, 4])
    np.testing.assert_array_equal(x**0.5, [2, 3])
    np.testing.assert_array_equal(2**x, [16, 512])
    np.testing.assert_array_equal(abs(-x), [4, 9])
    np.testing.assert_array_equal(+x, [4, 9])
    assert (x @ x).item() == 97
    mask = (x > 5) & (x < 10) | (x == 4) ^ (x != 4)
    np.testing.assert_array_equal(mask, [True, True])
    np.testing.assert_array_equal(~(x >= 9), [True, False])
    np.testing.assert_array_equal(x <= 4, [True, False])


def test_inplace_on_a_leaf_requires_no_grad():
    x = lucid.ones(3, requires_grad=True)
    for write in (lambda: x.zero_(), lambda: x.copy_([1, 2, 3]), lambda: x.__setitem__(0, 5)):
        with pytest.raises(RuntimeError, match="no_grad"):
            write()
    with lucid.no_grad():
        x.copy_([1, 2, 3])
        x[0] = 5
        x[lucid.tensor([1])] = 7
    assert x.tolist() == [5, 7, 3]


def test_requires_grad_is_for_floating_leaves():
    with pytest.raises(TypeError, match="int64"):
        lucid.tensor([1], requires_grad=True)
    y = lucid.ones(1, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        y.requires_grad = False
    assert not y.detach().requires_grad
    assert y.detach().numpy() is y.numpy()
    assert (y.is_leaf, y.detach().is_leaf) == (False, True)


def test_grad_must_match_the_tensor():
    x = lucid.ones(2)
    with pytest.raises(ValueError, match=r"\(2,\), got \(3,\)"):
        x.grad = lucid.ones(3)


def test_copy_and_pickle_keep_values_flags_and_layout():
    x = lucid.Tensor(kernels.channels_last(np.random.default_rng(0).random((2, 3, 4, 5))), True)
    (x * x).sum().backward()
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        np.testing.assert_array_equal(y.numpy(), x.numpy())
        assert not np.shares_memory(y.numpy(), x.numpy())
        assert y.requires_grad
        assert kernels.is_channels_last(y.numpy())
    assert not np.shares_memory(copy.deepcopy(x).grad.numpy(), x.grad.numpy())
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(x * 2)


def test_byte_order_and_strange_strides():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    for variant in (values.astype(">f4"), values[::-1].copy()[::-1], np.asfortranarray(values)):
        x = lucid.Tensor(variant)
        assert x.dtype.isnative
        assert (x * 2).tolist() == (values * 2).tolist()


@pytest.mark.parametrize("other", [None, "1", 1j, {1}, np.array([1j, 2]), [None, 1.0]])
def test_operations_reject_non_numeric_operands(other):
    x = lucid.tensor([1.0, 2.0])
    for operation in (lambda: x + other, lambda: other * x, lambda: x.__iadd__(other)):
        with pytest.raises(TypeError):
            operation()
    assert x.tolist() == [1.0, 2.0]


def test_equality_with_non_numeric_objects():
    x = lucid.tensor([1.0, 2.0])
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert (x == "a") is False
    assert None not in [x]
    assert (x == [1, 3]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("data", "dtype", "error"),
    [
        ([300], "uint8", OverflowError),
        (300, "uint8", OverflowError),
        ([-1], "uint8", OverflowError),
        ([1.5, float("nan")], "int64", ValueError),
        ([float("inf")], "int64", OverflowError),
    ],
)
def test_python_number_overflow_raises(data, dtype, error):
    with pytest.raises(error):
        lucid.tensor(data, dtype=dtype)


def test_assigned_python_number_overflow_raises():
    x = lucid.zeros(2, dtype="uint8")
    with pytest.raises(OverflowError):
        x[:] = [300, 1]
    assert x.tolist() == [0, 0]
    assert lucid.tensor([1.7, -2.5], dtype="int64").tolist() == [1, -2]


def test_gradients_are_tensors_of_the_same_dtype():
    x = lucid.tensor([1.0, 2.0], requires_grad=True)
    for gradient in (3, np.zeros(2, np.float32), lucid.tensor([1, 2])):
        with pytest.raises(TypeError):
            x.grad = gradient
    assert x.grad is None
    x.grad = lucid.tensor([1.0, 2.0])
    assert x.grad.tolist() == [1.0, 2.0]


def test_data_of_a_tensor_that_requires_grad_must_be_floating():
    x = lucid.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="int64"):
        x.data = lucid.tensor([1, 2])
    assert x.dtype == np.float32
