"""Tensor creation against NumPy, with float32 as default."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy_oracle import DTYPES, agree, arrays, equal, examples, shapes

import lucid

QUARTERS = st.integers(-20, 20).map(lambda n: n / 4)
WHOLE = st.integers(-6, 6)
ANY_DTYPE = st.sampled_from(
    [None, *DTYPES, "uint8", "float16", np.float64, int, float, bool, ">f4"]
)


def default(dtype):
    """Dtype of Lucid for a NumPy dtype."""
    return np.dtype("float32") if np.dtype(dtype) == np.float64 else np.dtype(dtype)


@examples(200)
@given(
    start=WHOLE | QUARTERS,
    stop=st.none() | WHOLE | QUARTERS,
    step=st.sampled_from([None, 1, 2, -1, -3, 0.5, -0.25, 1.75, np.int64(2), np.float32(0.5)]),
)
def test_arange(start, stop, step):
    arguments = (start, stop) if step is None else (start, stop, step)
    theirs = np.arange(*(arguments if stop is not None else (0, start, *arguments[2:])))
    equal(lucid.arange(*arguments), theirs, dtype=default(theirs.dtype))
    for dtype in ("float64", "float32", "int64"):  # rounded toward zero, as in PyTorch
        equal(lucid.arange(*arguments, dtype=dtype), theirs.astype(dtype))


@pytest.mark.parametrize(
    "arguments",
    [(math.nan,), (0, math.nan), (0, 1, math.nan), (0, math.inf), ("a",), (None,), ([1, 2],),
     (0, 5, "1"), (0, 3, None)],
    ids=repr,
)  # fmt: skip
def test_arange_argument_forms(arguments):
    agree(lambda: lucid.arange(*arguments), lambda: np.arange(*arguments))


def test_arange_rejects_complex_numbers():
    with pytest.raises(TypeError, match="complex128"):
        lucid.arange(1j)


def test_arange_rejects_step_0():
    """NumPy raises ZeroDivisionError."""
    with pytest.raises(ValueError, match="step, got 0"):
        lucid.arange(0, 5, 0)


def test_arange_rounds_after_counting():
    agree(lambda: lucid.arange(0, 1, 0.1), lambda: np.arange(0, 1, 0.1).astype("float32"))
    agree(lambda: lucid.arange(0, 1, 0.1, dtype="float64"), lambda: np.arange(0, 1, 0.1))


@examples(200)
@given(
    start=WHOLE | QUARTERS, stop=WHOLE | QUARTERS | st.just(math.inf), num=st.integers(-2, 7),
    dtype=st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_linspace(start, stop, num, dtype):
    agree(
        lambda: lucid.linspace(start, stop, num, dtype=dtype),
        lambda: np.linspace(start, stop, num, dtype=dtype),
    )


def test_linspace_of_integers_rounds_toward_zero():
    """As in PyTorch; NumPy rounds down."""
    assert lucid.linspace(-1, 1, 4, dtype="int64").tolist() == [-1, 0, 0, 1]


@pytest.mark.parametrize("num", [2.5, "3", None], ids=repr)
def test_linspace_num(num):
    agree(lambda: lucid.linspace(0, 1, num), lambda: np.linspace(0, 1, num))


@examples(100)
@given(n=st.integers(-2, 5), m=st.none() | st.integers(-2, 5), dtype=ANY_DTYPE)
def test_eye(n, m, dtype):
    wanted = "float32" if dtype is None else dtype
    options = {} if dtype is None else {"dtype": dtype}
    agree(lambda: lucid.eye(n, m, **options), lambda: np.eye(n, m, dtype=wanted))


@pytest.mark.parametrize("arguments", [(2.0,), ("2",), (2, 2.5), (None,)], ids=repr)
def test_eye_argument_forms(arguments):
    agree(lambda: lucid.eye(*arguments), lambda: np.eye(*arguments))


@examples(100)
@given(shape=st.lists(st.integers(-1, 4), max_size=4) | st.integers(-1, 4), dtype=ANY_DTYPE)
def test_filled_shapes(shape, dtype):
    wanted = "float32" if dtype is None else dtype
    options = {} if dtype is None else {"dtype": dtype}
    for name in ("zeros", "ones"):
        function, theirs = getattr(lucid, name), getattr(np, name)
        agree(lambda f=function: f(shape, **options), lambda f=theirs: f(shape, dtype=wanted))
        if isinstance(shape, list):
            agree(lambda f=function: f(*shape, **options), lambda f=theirs: f(shape, dtype=wanted))


@examples(150)
@given(
    shape=st.lists(st.integers(0, 3), max_size=3).map(tuple) | st.integers(0, 3),
    value=st.sampled_from([0, 2, -3, 0.1, True, math.nan, math.inf, np.float64(0.1),
                           np.float16(0.5), np.uint8(7), np.array(0.1), 2**40]),
    dtype=st.sampled_from([None, "float32", "float64", "int64", "bool"]),
)  # fmt: skip
def test_full(shape, value, dtype):
    theirs = default(np.asarray(value).dtype) if dtype is None else dtype
    agree(lambda: lucid.full(shape, value, dtype=dtype), lambda: np.full(shape, value, theirs))
    agree(
        lambda: lucid.full(shape, lucid.as_tensor(value, "float64"), dtype="float64"),
        lambda: np.full(shape, value, "float64"),
    )


@examples(100)
@given(x=arrays(shapes()), dtype=ANY_DTYPE)
def test_creation_like(x, dtype):
    tensor = lucid.Tensor(x)
    agree(lambda: lucid.zeros_like(tensor, dtype), lambda: np.zeros_like(x, dtype))
    agree(lambda: lucid.ones_like(tensor, dtype), lambda: np.ones_like(x, dtype))
    agree(lambda: lucid.full_like(tensor, 1.5, dtype), lambda: np.full_like(x, 1.5, dtype))
    assert lucid.empty_like(tensor, dtype).shape == x.shape


@pytest.mark.parametrize("dtype", ["float99", "complex64", object, "U3", "datetime64[s]", 3])
def test_unsupported_dtypes_raise(dtype):
    makers = {
        "zeros": lambda: lucid.zeros(2, dtype=dtype),
        "full": lambda: lucid.full(2, 1, dtype=dtype),
        "arange": lambda: lucid.arange(2, dtype=dtype),
        "linspace": lambda: lucid.linspace(0, 1, 2, dtype=dtype),
        "eye": lambda: lucid.eye(2, dtype=dtype),
        "tensor": lambda: lucid.tensor([1], dtype=dtype),
        "as_tensor": lambda: lucid.as_tensor([1], dtype=dtype),
        "zeros_like": lambda: lucid.zeros_like([1], dtype=dtype),
        "astype": lambda: lucid.ones(1).astype(dtype),
    }
    for make in makers.values():
        with pytest.raises(TypeError, match=r"expected a .*dtype.*, got "):
            make()


@examples(100)
@given(x=arrays(special=True), dtype=st.sampled_from([None, "float32", "float64"]))
def test_tensor_from_arrays_and_nested_lists(x, dtype):
    # Lists have no width: floats become float32, also empty lists.
    listed = np.array(x.tolist())
    listed = listed.astype(default(listed.dtype) if dtype is None else dtype)
    for make in (lucid.tensor, lucid.as_tensor):
        agree(lambda make=make: make(x, dtype=dtype), lambda: np.array(x, dtype=dtype))
        agree(lambda make=make: make(x.tolist(), dtype=dtype), lambda: listed)


@pytest.mark.parametrize(
    "data", [[[1, 2], [3]], [1, [2]], [[], [1]], [lucid.ones(2), lucid.ones(3)]], ids=repr
)
def test_ragged_data_raises(data):
    with pytest.raises(ValueError, match=r"inhomogeneous|shape"):
        lucid.tensor(data)


@pytest.mark.parametrize("data", ["1", [None], 1j, [int], {1}, {"a": 1}, b"1"], ids=repr)
def test_non_numeric_data_raises(data):
    with pytest.raises(TypeError, match="expected booleans, integers or floats"):
        lucid.tensor(data)


def test_sequence_of_different_shapes_raises():
    batch = (lucid.zeros(2, 3), lucid.zeros(2))
    for use in (lucid.relu, lucid.nn.Linear(3, 1), lucid.Tensor):
        with pytest.raises(ValueError, match="got a tuple of 2 entries of different shapes"):
            use(batch)
    with pytest.raises(ValueError, match="got a list of 3 entries of different shapes"):
        lucid.exp([1.0, [2.0], 3.0])
