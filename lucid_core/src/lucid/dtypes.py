"""Element types: NumPy's own, and the rules by which operations choose among them.

float32 is the default.  A float32 tensor stays float32 next to integers, booleans
and scalars of any kind, Python's or NumPy's; only a float64 *array* widens it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from lucid.hints import explain_dtype

DType: TypeAlias = np.dtype[Any]
#: What functions accept as a ``dtype`` argument.
DTypeLike: TypeAlias = np.dtype[Any] | type | str

float16 = np.dtype(np.float16)
float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
int8 = np.dtype(np.int8)
int16 = np.dtype(np.int16)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
uint8 = np.dtype(np.uint8)
bool_ = np.dtype(np.bool_)

__all__ = [
    "DType",
    "DTypeLike",
    "bool_",
    "dtype_of",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "promote",
    "supported",
    "uint8",
]


def dtype_of(dtype: DTypeLike) -> DType:
    """The NumPy dtype that is meant.

    Raises
    ------
    TypeError
        If it is none, as a device or a type of PyTorch; says what to use instead.
    """
    if dtype is None:  # NumPy would take it for float64
        raise TypeError(explain_dtype(dtype))
    try:
        return np.dtype(dtype)
    except TypeError:
        raise TypeError(explain_dtype(dtype)) from None


def supported(dtype: DTypeLike) -> DType:
    """The NumPy dtype, in native byte order, if tensors can have it.

    Raises
    ------
    TypeError
        If it is not a boolean, integer or floating type.
    """
    result = dtype_of(dtype)
    if result.kind not in "biuf":
        raise TypeError(f"tensors hold booleans, integers and floats, not {result}")
    return result.newbyteorder("=")


def promote(a: DType, b: DType) -> DType:
    """The dtype of an operation between arrays of two dtypes.

    As NumPy's, except that a float next to an integer or boolean keeps its
    width (NumPy widens float32 next to int64 to float64).
    """
    if a.kind == "f" and b.kind != "f":
        return a
    if b.kind == "f" and a.kind != "f":
        return b
    return np.promote_types(a, b)
