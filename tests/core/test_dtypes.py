"""Dtypes and type promotion."""

import numpy as np
import pytest

import lucid
from lucid import dtypes


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        ("float32", "int64", "float32"),
        ("bool", "float32", "float32"),
        ("float32", "float64", "float64"),
        ("float16", "int32", "float16"),
        ("int32", "int64", "int64"),
        ("bool", "uint8", "uint8"),
    ],
)
def test_promote(a, b, result):
    assert dtypes.promote(np.dtype(a), np.dtype(b)) == np.dtype(result)
    assert dtypes.promote(np.dtype(b), np.dtype(a)) == np.dtype(result)


def test_supported_dtype():
    assert dtypes.supported_dtype(">f4") == np.float32
    with pytest.raises(TypeError, match="complex64"):
        dtypes.supported_dtype(np.complex64)


def test_python_floats_to_float64_keep_precision():
    """They are not rounded to float32 first."""
    x = lucid.ones(1, dtype="float64")
    assert (x * 0.1).item() == 0.1
    assert (0.1 + x - 1).item() == 0.1 + 1 - 1
    assert lucid.add(x, [0.1]).tolist() == [1.1]
    assert lucid.where([True], 0.1, x).tolist() == [0.1]
    assert x.clip(max=0.1).tolist() == [0.1]
    assert lucid.tensor([0.1], dtype="float64").tolist() == [0.1]
    assert lucid.tensor([lucid.tensor(2), 0.1], dtype="float64").tolist() == [2.0, 0.1]
    assert lucid.as_tensor(0.1, dtype="float64").item() == 0.1
    x[0] = 0.1
    assert 0.1 in x
    assert x.copy_([0.2]).tolist() == [0.2]
    x.requires_grad_()
    (x + 0).backward([0.1])
    assert x.grad.tolist() == [0.1]


def test_lists_of_tensors_and_numbers():
    assert lucid.tensor([lucid.tensor(2), 0.1]).dtype == np.float32
    assert lucid.tensor([[lucid.tensor(2)], [True]]).tolist() == [[2], [1]]
