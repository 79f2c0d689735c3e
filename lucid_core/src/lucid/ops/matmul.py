"""Matrix products, linear layers and Einstein summation."""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record, record_joint, unbroadcast
from lucid.autograd.primitive import needs_grad
from lucid.autograd.variable import Array
from lucid.dtypes import promote
from lucid.ops.operands import operands, save_for_backward

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def matmul(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Matrix product over the last two axes, with broadcasting of the leading axes.

    Parameters
    ----------
    x, y : array-like
        Shapes (..., M, K) and (..., K, N).  A vector (K,) is a row on the left and a column on
        the right, as in NumPy.

    Returns
    -------
    Tensor
        Shape (..., M, N), without M or N for a vector, common dtype (see :func:`lucid.add`).

    Raises
    ------
    ValueError
        If the inner lengths differ, an argument is 0-d, or the leading axes do not broadcast.
    """
    a, b = operands(x, y)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            f"matmul expected at least one axis each, got shapes {a.shape} and {b.shape}"
        )
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(f"matmul expected equal inner lengths, got shapes {a.shape} and {b.shape}")
    # Vectors as matrices, so that two vjps cover every case.
    rows = a[None, :] if a.ndim == 1 else a
    columns = b[:, None] if b.ndim == 1 else b

    # Shapes, so that each vjp keeps only the array that it reads.
    sa, sb, row_shape, column_shape = a.shape, b.shape, rows.shape, columns.shape

    def as_matrix(g: Array) -> Array:
        if len(sb) == 1:
            g = g[..., None]
        return g[..., None, :] if len(sa) == 1 else g

    def by_x(g: Array) -> Array:
        full = kernels.matmul(as_matrix(g), columns.swapaxes(-1, -2))
        return unbroadcast(full, row_shape).reshape(sa)

    def by_y(g: Array) -> Array:
        full = kernels.matmul(rows.swapaxes(-1, -2), as_matrix(g))
        return unbroadcast(full, column_shape).reshape(sb)

    vectors = a.ndim == 1 or b.ndim == 1
    return record(a @ b if vectors else kernels.matmul(a, b), (x, by_x), (y, by_y))


def linear(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None) -> Tensor:
    """Affine map, ``x @ weight.T + bias``.

    Parameters
    ----------
    x : array-like
        Shape (..., in_features).
    weight : array-like
        Shape (out_features, in_features).
    bias : array-like, optional
        Shape (out_features,).

    Returns
    -------
    Tensor
        Shape (..., out_features), common dtype of ``x`` and ``weight``.

    Raises
    ------
    ValueError
        If the shapes do not match.
    """
    a, w = operands(x, weight)
    if w.ndim != 2:
        raise ValueError(
            f"linear expected a weight of shape (out_features, in_features), got {w.shape}"
        )
    if a.ndim == 0 or a.shape[-1] != w.shape[1]:
        raise ValueError(
            f"linear expected an input of shape (..., {w.shape[1]}), got {a.shape} (weight of "
            f"shape {w.shape})"
        )
    if bias is not None and array_of(bias).shape != (w.shape[0],):
        raise ValueError(
            f"linear expected a bias of shape ({w.shape[0]},), got {array_of(bias).shape}"
        )
    rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
    value = kernels.linear(rows, w, None if bias is None else array_of(bias))

    shape, flat_shape = a.shape, (len(rows), w.shape[0])
    # Each vjp reads only the other's array.
    saved_rows = rows if needs_grad(weight) else None
    saved_w = w if needs_grad(x) else None
    wants_bias = needs_grad(bias)

    def vjp(g: Array) -> list[Array | None]:
        flat = g.reshape(flat_shape)
        return [
            None if saved_w is None else kernels.gemm(flat, saved_w).reshape(shape),
            None if saved_rows is None else kernels.gemm(flat.T, saved_rows),
            flat.sum(axis=0) if wants_bias else None,
        ]

    return record_joint(value.reshape(*a.shape[:-1], w.shape[0]), (x, weight, bias), vjp)


def einsum(subscripts: str, *tensors: ArrayLike) -> Tensor:
    """Einstein summation, with NumPy's subscripts.

    Parameters
    ----------
    subscripts : str
        For example ``"bij,bjk->bik"``; an ellipsis for broadcast axes, and a repeated letter in
        one term for a diagonal.
    *tensors : array-like
        One per term.

    Returns
    -------
    Tensor
        One axis per letter after the arrow; without an arrow the broadcast axes, then the
        letters that occur once, in alphabetical order.  Common dtype of all tensors (see
        :func:`lucid.add`).

    Raises
    ------
    ValueError
        If the number of terms is not that of tensors, a term does not match the axes of its
        tensor, or the lengths of a letter differ.
    """
    arrays = [save_for_backward(array_of(t), t, *tensors) for t in tensors]
    if arrays:
        dtype = reduce(promote, (a.dtype for a in arrays))
        arrays = [a.astype(dtype, copy=False) for a in arrays]
    terms, result = _terms(subscripts, [a.ndim for a in arrays])
    value = np.einsum(",".join(terms) + "->" + result, *arrays, optimize=len(arrays) > 2)

    needed = [i for i, t in enumerate(tensors) if needs_grad(t)]
    shapes = [a.shape for a in arrays]
    # The gradient of one array reads all the others.
    saved = [a if set(needed) - {i} else None for i, a in enumerate(arrays)]

    def vjp(g: Array) -> list[Array | None]:
        gradients: list[Array | None] = [None] * len(shapes)
        for i in needed:
            others = [a for j, a in enumerate(saved) if j != i and a is not None]
            gradients[i] = _einsum_gradient(g, i, terms, result, shapes[i], others)
        return gradients

    return record_joint(value, tensors, vjp)


def _einsum_gradient(
    g: Array, i: int, terms: list[str], result: str, shape: tuple[int, ...], arrays: list[Array]
) -> Array:
    """Compute the gradient of operand ``i`` of ``shape`` by einsum of ``g`` and the others."""
    others = [t for j, t in enumerate(terms) if j != i]
    known = set(result).union(*others)
    letters = list(dict.fromkeys(terms[i]))
    reached = [c for c in letters if c in known]
    inputs = ",".join([result, *others])
    operands_ = [g, *arrays]
    partial = np.einsum(inputs + "->" + "".join(reached), *operands_, optimize=len(operands_) > 2)
    # A letter that occurs only in this term was summed: its gradient is constant along it.
    lengths = dict(zip(terms[i], shape, strict=True))
    for axis, c in enumerate(letters):
        if c not in known:
            partial = np.expand_dims(partial, axis)
    # Sum over the axes that were broadcast from length 1.
    partial = unbroadcast(
        partial,
        tuple(1 if lengths[c] == 1 else n for c, n in zip(letters, partial.shape, strict=True)),
    )
    full = np.broadcast_to(partial, [lengths[c] for c in letters])
    if len(letters) == len(terms[i]):
        return full.astype(g.dtype)
    gradient = np.zeros(shape, g.dtype)
    # Writable view of the diagonal.
    np.einsum(terms[i] + "->" + "".join(letters), gradient)[...] = full
    return gradient


def _terms(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """Expand blanks and ellipses; return the terms and the result."""
    compact = subscripts.replace(" ", "")
    left, arrow, result = compact.partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum {subscripts!r} expected {len(terms)} tensors, got {len(ndims)}")
    unused = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBAzyxwvutsrqponmlkjihgfedcba" if c not in compact]
    broadcast_axes = [
        n - len(t.replace("...", "")) if "..." in t else 0
        for t, n in zip(terms, ndims, strict=True)
    ]
    ellipsis_axes = max(broadcast_axes, default=0)
    names = "".join(unused[:ellipsis_axes])
    expanded = [
        t.replace("...", names[ellipsis_axes - h :] if h else "")
        for t, h in zip(terms, broadcast_axes, strict=True)
    ]
    for t, n in zip(expanded, ndims, strict=True):
        if len(t) != n:
            raise ValueError(f"einsum {subscripts!r} expected {len(t)} axes for {t!r}, got {n}")
    if arrow:
        return expanded, result.replace("...", names)
    once = sorted(c for c in set("".join(expanded)) if "".join(expanded).count(c) == 1)
    return expanded, names + "".join(c for c in once if c not in names)
