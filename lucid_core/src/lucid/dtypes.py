"""Element types (NumPy dtypes) and type promotion.

The default is float32.  A float32 tensor combined with integers, booleans or Python and NumPy
scalars stays float32; only a float64 *array* promotes it to float64.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from lucid.hints import dtype_message

DType: TypeAlias = np.dtype[Any]
#: Accepted as a ``dtype`` argument.
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
    "supported_dtype",
    "uint8",
]


def dtype_of(dtype: DTypeLike) -> DType:
    """Convert to a NumPy dtype; TypeError with a hint for devices and PyTorch dtypes."""
    if dtype is None:  # NumPy would take it for float64
        raise TypeError(dtype_message(dtype))
    try:
        return np.dtype(dtype)
    except TypeError:
        raise TypeError(dtype_message(dtype)) from None


def supported_dtype(dtype: DTypeLike) -> DType:
    """Convert to a NumPy dtype in native byte order; TypeError if tensors cannot have it."""
    result = dtype_of(dtype)
    if result.kind not in "biuf":
        raise TypeError(f"expected a boolean, integer or floating dtype, got {result}")
    return result.newbyteorder("=")


def promote(a: DType, b: DType) -> DType:
    """Return the result dtype of an operation between arrays of two dtypes.

    As ``numpy.promote_types``, except that a float keeps its width next to integers and
    booleans (NumPy promotes float32 and int64 to float64).
    """
    if a.kind == "f" and b.kind != "f":
        return a
    if b.kind == "f" and a.kind != "f":
        return b
    return np.promote_types(a, b)
