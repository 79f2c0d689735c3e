"""Rearranging, choosing and sorting elements beside PyTorch, over random configurations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch_compare import (
    CONFIGURATIONS,
    TOLERANCE,
    broadcasting,
    compare,
    full_shape,
    random_shape,
    some_axes,
)

import lucid
import lucid.nn.functional as F

Rng = np.random.Generator
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE)


def generators() -> Iterator[Rng]:
    for seed in range(CONFIGURATIONS):
        yield np.random.default_rng(100 + seed)


def normal(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.standard_normal(shape))


def one_axis(rng: Rng, ndim: int) -> int:
    return int(rng.integers(-ndim, ndim))


@DTYPES
def test_reshape_and_flatten(dtype: str) -> None:
    for rng in generators():
        shape = full_shape(rng, 1)
        start, end = sorted(int(i) for i in rng.integers(0, len(shape), 2))
        wanted = [*rng.permutation(shape).tolist()]
        wanted[int(rng.integers(len(wanted)))] = -1
        compare(
            lambda x, w=wanted, s=start, e=end: (x.reshape(w), x.flatten(s, e), x.reshape(-1)),
            lambda x, w=wanted, s=start, e=end: (x.reshape(w), x.flatten(s, e), x.reshape(-1)),
            [normal(rng, shape)],
            dtype=dtype,
        )


@DTYPES
def test_permutations(dtype: str) -> None:
    for rng in generators():
        shape = random_shape(rng, 1)
        order = [int(i) for i in rng.permutation(len(shape))]
        a, b = one_axis(rng, len(shape)), one_axis(rng, len(shape))
        compare(
            lambda x, o=order, a=a, b=b: (
                lucid.permute(x, o),
                lucid.transpose(x, a, b) if len(o) != 2 or a != b else x,
                lucid.moveaxis(x, a, b),
            ),
            lambda x, o=order, a=a, b=b: (
                torch.permute(x, o),
                torch.transpose(x, a, b),
                torch.moveaxis(x, a, b),
            ),
            [normal(rng, shape)],
            dtype=dtype,
        )


@DTYPES
def test_axes_of_length_one(dtype: str) -> None:
    for rng in generators():
        shape = random_shape(rng, 1)
        shape = tuple(1 if rng.random() < 0.4 else n for n in shape)
        axis, new = one_axis(rng, len(shape)), int(rng.integers(-len(shape) - 1, len(shape) + 1))
        compare(
            lambda x, a=axis, n=new: (x.squeeze(), x.squeeze(a), x.unsqueeze(n)),
            lambda x, a=axis, n=new: (x.squeeze(), x.squeeze(a), x.unsqueeze(n)),
            [normal(rng, shape)],
            dtype=dtype,
        )


@DTYPES
def test_expand_and_tile(dtype: str) -> None:
    for rng in generators():
        shape = random_shape(rng)
        counts = [int(n) for n in rng.integers(1, 4, int(rng.integers(len(shape) + 2)))]
        narrow = broadcasting(rng, shape)
        added = len(shape) - len(narrow)
        # -1 keeps an axis that is there.
        wanted = [
            -1 if i >= added and narrow[i - added] == n and rng.random() < 0.5 else n
            for i, n in enumerate(shape)
        ]
        compare(
            lambda x, s=shape, c=counts, w=wanted: (
                lucid.broadcast_to(x, s), lucid.tile(x, c), lucid.expand(x, *w)
            ),
            lambda x, s=shape, c=counts, w=wanted: (
                torch.broadcast_to(x, s), torch.tile(x, c), x.expand(w)
            ),
            [normal(rng, narrow)],
            dtype=dtype,
        )  # fmt: skip


@DTYPES
def test_repeat_flip_and_roll(dtype: str) -> None:
    for rng in generators():
        shape = random_shape(rng, 1)
        axis, repeats = one_axis(rng, len(shape)), int(rng.integers(1, 4))
        axes = some_axes(rng, len(shape)) or tuple(range(len(shape)))
        shifts = [int(n) for n in rng.integers(-5, 6, len(axes))]
        compare(
            lambda x, a=axis, r=repeats, axes=axes, s=shifts: (
                lucid.repeat_interleave(x, r, a),
                lucid.flip(x, axes),
                lucid.roll(x, s, axes),
                lucid.roll(x, s[0]),
            ),
            lambda x, a=axis, r=repeats, axes=axes, s=shifts: (
                torch.repeat_interleave(x, r, a),
                torch.flip(x, axes),
                torch.roll(x, s, axes),
                torch.roll(x, s[0]),
            ),
            [normal(rng, shape)],
            dtype=dtype,
        )


@DTYPES
def test_concatenate_and_stack(dtype: str) -> None:
    for rng in generators():
        shape = random_shape(rng, 1)
        axis = one_axis(rng, len(shape))
        shapes = [list(shape) for _ in range(int(rng.integers(1, 4)))]
        for s in shapes:
            s[axis] = int(rng.integers(0, 4))
        new = int(rng.integers(-len(shape) - 1, len(shape) + 1))
        compare(
            lambda *t, a=axis, n=new: (lucid.concatenate(t, a), lucid.stack([t[0], t[0]], n)),
            lambda *t, a=axis, n=new: (torch.cat(t, a), torch.stack([t[0], t[0]], n)),
            [normal(rng, tuple(s)) for s in shapes],
            dtype=dtype,
        )


@DTYPES
def test_split_and_chunk(dtype: str) -> None:
    for rng in generators():
        shape = tuple(n + 2 for n in full_shape(rng, 1))
        axis = one_axis(rng, len(shape))
        cut = int(rng.integers(0, shape[axis] + 1))
        sizes, size = [cut, shape[axis] - cut], int(rng.integers(1, shape[axis] + 2))
        chunks = int(rng.integers(1, 6))
        compare(
            lambda x, a=axis, s=sizes, n=size, c=chunks: [
                *lucid.split(x, s, a), *lucid.split(x, n, a), *lucid.chunk(x, c, a)
            ],
            lambda x, a=axis, s=sizes, n=size, c=chunks: [
                *torch.split(x, s, a), *torch.split(x, n, a), *torch.chunk(x, c, a)
            ],
            [normal(rng, shape)],
            dtype=dtype,
        )  # fmt: skip


@DTYPES
def test_pad(dtype: str) -> None:
    for rng in generators():
        shape = random_shape(rng, 1)
        widths = rng.integers(0, 3, (len(shape), 2)).tolist()
        backwards = [n for width in widths[::-1] for n in width]
        value = float(rng.standard_normal())
        compare(
            lambda x, w=widths, v=value: lucid.pad(x, w, value=v),
            lambda x, w=backwards, v=value: torch.nn.functional.pad(x, w, value=v),
            [normal(rng, shape)],
            dtype=dtype,
        )


@DTYPES
@pytest.mark.parametrize(
    ("mode", "name"), [("reflect", "reflect"), ("edge", "replicate"), ("wrap", "circular")]
)
def test_pad_modes(mode: str, name: str, dtype: str) -> None:
    """PyTorch extends one to three of the last axes, behind one or two others."""
    for rng in generators():
        padded = int(rng.integers(1, 4))
        shape = tuple(int(n) for n in rng.integers(2, 5, int(rng.integers(1, 3)) + padded))
        most = [shape[-1 - i // 2] - (name == "reflect") for i in range(2 * padded)]
        widths = [int(rng.integers(0, n + 1)) for n in most]
        pairs = [(0, 0)] * (len(shape) - padded)
        pairs += [(widths[i], widths[i + 1]) for i in range(2 * padded - 2, -1, -2)]
        compare(
            lambda x, p=pairs, w=widths: (lucid.pad(x, p, mode), F.pad(x, w, name)),
            lambda x, w=widths: (torch.nn.functional.pad(x, w, name),) * 2,
            [normal(rng, shape)],
            dtype=dtype,
        )


@DTYPES
def test_negative_pad(dtype: str) -> None:
    for rng in generators():
        shape = tuple(n + 4 for n in full_shape(rng, 1))
        widths = rng.integers(-2, 3, 2 * int(rng.integers(1, len(shape) + 1))).tolist()
        value = float(rng.standard_normal())
        compare(
            lambda x, w=widths, v=value: F.pad(x, w, value=v),
            lambda x, w=widths, v=value: torch.nn.functional.pad(x, w, value=v),
            [normal(rng, shape)],
            dtype=dtype,
        )


@DTYPES
def test_triangles(dtype: str) -> None:
    for rng in generators():
        shape, k = random_shape(rng, 2), int(rng.integers(-4, 5))
        compare(
            lambda x, k=k: (lucid.tril(x, k), lucid.triu(x, k)),
            lambda x, k=k: (torch.tril(x, k), torch.triu(x, k)),
            [normal(rng, shape)],
            dtype=dtype,
        )


# --- choosing -----------------------------------------------------------------------------------


@DTYPES
def test_gather_and_scatter_add(dtype: str) -> None:
    for rng in generators():
        shape = full_shape(rng, 1)
        axis = one_axis(rng, len(shape))
        chosen = [int(rng.integers(1, n + 1)) for n in shape]
        chosen[axis] = int(rng.integers(0, 6))
        index = rng.integers(0, shape[axis], chosen)
        compare(
            lambda x, s, i, a=axis: (lucid.gather(x, a, i), lucid.scatter_add(x, a, i, s)),
            lambda x, s, i, a=axis: (torch.gather(x, a, i), torch.scatter_add(x, a, i, s)),
            [normal(rng, shape), normal(rng, tuple(chosen))],
            [index],
            dtype,
        )


@DTYPES
def test_indexing(dtype: str) -> None:
    """By numbers, slices, new axes, an ellipsis, repeated integers and masks."""
    for rng in generators():
        shape = tuple(n + 1 for n in full_shape(rng, 3, 3))
        rows = rng.integers(-shape[0], shape[0], (2, 3))
        columns = rng.integers(0, shape[1], 3)
        mask = rng.random(shape) < 0.5
        start, step = int(rng.integers(0, 2)), int(rng.integers(1, 3))
        compare(
            lambda x, i, j, m, s=start, d=step: (
                x[i], x[i, j], x[:, j], x[m], x[m[:, 0, 0]], x[..., s], x[s:, None, ::d], x[-1]
            ),
            lambda x, i, j, m, s=start, d=step: (
                x[i], x[i, j], x[:, j], x[m], x[m[:, 0, 0]], x[..., s], x[s:, None, ::d], x[-1]
            ),
            [normal(rng, shape)],
            [rows, columns, mask],
            dtype,
        )  # fmt: skip


# --- sorting ------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("ties", [False, True])
def test_sort(ties: bool, dtype: str) -> None:
    """Equal elements keep their order, as with ``stable=True`` in PyTorch."""
    for rng in generators():
        shape = random_shape(rng, 1)
        axis, descending = one_axis(rng, len(shape)), bool(rng.integers(2))
        x = rng.integers(-2, 3, shape).astype(float) if ties else normal(rng, shape)
        compare(
            lambda x, a=axis, d=descending: (*lucid.sort(x, a, d), lucid.argsort(x, a, d)),
            lambda x, a=axis, d=descending: (
                *torch.sort(x, stable=True, dim=a, descending=d),
                torch.argsort(x, stable=True, dim=a, descending=d),
            ),
            [x],
            dtype=dtype,
        )


@DTYPES
def test_topk(dtype: str) -> None:
    for rng in generators():
        shape = full_shape(rng, 1)
        axis, largest = one_axis(rng, len(shape)), bool(rng.integers(2))
        k = int(rng.integers(0, shape[axis] + 1))
        compare(
            lambda x, k=k, a=axis, w=largest: lucid.topk(x, k, a, w),
            lambda x, k=k, a=axis, w=largest: tuple(torch.topk(x, k, a, w)),
            [normal(rng, shape)],
            dtype=dtype,
        )


def test_unique_nonzero_and_one_hot() -> None:
    for rng in generators():
        x = rng.integers(0, 4, random_shape(rng, 1))
        compare(
            lambda x: (
                *lucid.unique(x, return_inverse=True, return_counts=True),
                *lucid.nonzero(x),
                lucid.one_hot(x, 5),
            ),
            lambda x: (
                *torch.unique(x, return_inverse=True, return_counts=True),
                *torch.nonzero(x, as_tuple=True),
                torch.nn.functional.one_hot(x, 5),
            ),
            [],
            [x],
            gradients=False,
        )


def test_unique_slices_and_inferred_one_hot() -> None:
    for rng in generators():
        shape = full_shape(rng, 1, 3)
        axis = one_axis(rng, len(shape))
        compare(
            lambda x, a=axis: (
                *lucid.unique(x, axis=a, return_inverse=True, return_counts=True),
                lucid.one_hot(x),
            ),
            lambda x, a=axis: (
                *torch.unique(x, dim=a, return_inverse=True, return_counts=True),
                torch.nn.functional.one_hot(x),
            ),
            [],
            [rng.integers(0, 2, shape)],
            gradients=False,
        )


# --- creation -----------------------------------------------------------------------------------


def test_creation() -> None:
    for rng in generators():
        start, stop = int(rng.integers(-5, 5)), int(rng.integers(5, 15))
        step, n = int(rng.integers(1, 4)), int(rng.integers(0, 6))
        pairs = [
            (lucid.arange(start, stop, step), torch.arange(start, stop, step)),
            (lucid.arange(start, stop, 0.5), torch.arange(start, stop, 0.5)),
            (lucid.arange(n), torch.arange(n)),
            (lucid.linspace(start, stop, n), torch.linspace(start, stop, n)),
            (lucid.eye(n), torch.eye(n)),
            (lucid.eye(n, step), torch.eye(n, step)),
            (lucid.full((n, 2), 1.5), torch.full((n, 2), 1.5)),
            (lucid.full((n, 2), step), torch.full((n, 2), step)),
            (lucid.zeros(n, 2), torch.zeros(n, 2)),
            (lucid.ones(n, dtype=lucid.int32), torch.ones(n, dtype=torch.int32)),
        ]
        for mine, expected in pairs:
            assert mine.dtype == expected.numpy().dtype
            np.testing.assert_allclose(mine.numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)
