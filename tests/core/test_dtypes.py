"""Element types and how they mix."""

import numpy as np
import pytest

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


def test_supported():
    assert dtypes.supported(">f4") == np.float32
    with pytest.raises(TypeError, match="complex64"):
        dtypes.supported(np.complex64)
