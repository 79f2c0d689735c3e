"""Adapters of operators for shapes, indexing and creation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper
from onnx_registry import integers, node

import lucid
from lucid import Tensor


@node("Reshape")
def reshape(x: Tensor, shape: Tensor, allowzero: int = 0) -> Tensor:
    """A length of 0 keeps the current one, unless ``allowzero`` is set."""
    wanted = integers(shape) or []
    if not allowzero:
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return lucid.reshape(x, wanted)


@node("Flatten")
def flatten(x: Tensor, axis: int = 1) -> Tensor:
    """Flatten to two axes: those before ``axis``, and the others."""
    place = axis + x.ndim if axis < 0 else axis
    return lucid.reshape(x, int(np.prod(x.shape[:place])), -1)


@node("Transpose")
def transpose(x: Tensor, perm: Any = None) -> Tensor:
    return lucid.permute(x, perm) if perm else lucid.transpose(x)


@node("Squeeze")
def squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return lucid.squeeze(x, integers(axes))


@node("Unsqueeze")
def unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    """Axes refer to the result."""
    chosen = integers(axes) or []
    for axis in sorted(a % (x.ndim + len(chosen)) for a in chosen):
        x = lucid.unsqueeze(x, axis)
    return x


@node("Concat")
def concat(*tensors: Tensor, axis: int) -> Tensor:
    return lucid.concatenate(tensors, axis)


@node("Split")
def split(
    x: Tensor,
    sizes: Tensor | None = None,
    axis: int = 0,
    num_outputs: int | None = None,
    outputs: int = 1,
) -> list[Tensor]:
    chosen = integers(sizes)
    return (
        lucid.chunk(x, num_outputs or outputs, axis)
        if chosen is None
        else lucid.split(x, chosen, axis)
    )


@node("Slice")
def cut(
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    first, last = integers(starts) or [], integers(ends) or []
    chosen = integers(axes) or list(range(len(first)))
    index = [slice(None)] * x.ndim
    for axis, start, stop, step in zip(
        chosen, first, last, integers(steps) or [1] * len(first), strict=True
    ):
        # Going back, an end before the beginning means that the beginning is included.
        beyond = step < 0 and stop < -x.shape[axis]
        index[axis] = slice(start, None if beyond else stop, step)
    return x[tuple(index)]


@node("Tile")
def tile(x: Tensor, repeats: Tensor) -> Tensor:
    return lucid.tile(x, integers(repeats) or [])


@node("Expand")
def expand(x: Tensor, shape: Tensor) -> Tensor:
    """A target length of 1 keeps a longer axis."""
    return lucid.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(integers(shape) or [])))


@node("Pad")
def pad(
    x: Tensor,
    pads: Tensor,
    value: Tensor | None = None,
    axes: Tensor | None = None,
    mode: str = "constant",
) -> Tensor:
    ends = integers(pads) or []
    chosen = integers(axes) or list(range(x.ndim))
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(chosen):
        widths[axis] = (ends[i], ends[i + len(chosen)])
    return lucid.pad(x, widths, mode, 0 if value is None else value.item())


@node("DepthToSpace")
def depth_to_space(x: Tensor, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    b, rest = blocksize, c // blocksize**2
    if mode == "DCR":
        blocks = lucid.permute(x.reshape(n, b, b, rest, h, w), 0, 3, 4, 1, 5, 2)
    else:
        blocks = lucid.permute(x.reshape(n, rest, b, b, h, w), 0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, rest, h * b, w * b)


@node("SpaceToDepth")
def space_to_depth(x: Tensor, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    b = blocksize
    blocks = x.reshape(n, c, h // b, b, w // b, b)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return lucid.permute(blocks, order).reshape(n, c * b * b, h // b, w // b)


@node("CenterCropPad")
def center_crop_pad(x: Tensor, shape: Tensor, axes: Any = None) -> Tensor:
    index, widths = [slice(None)] * x.ndim, [(0, 0)] * x.ndim
    for axis, wanted in zip(axes or range(x.ndim), integers(shape) or [], strict=True):
        spare = x.shape[axis] - wanted
        if spare > 0:
            index[axis] = slice(spare // 2, spare // 2 + wanted)
        else:
            widths[axis] = (-spare // 2, -spare - -spare // 2)
    return lucid.pad(x[tuple(index)], widths)


@node("Trilu")
def triangle(x: Tensor, diagonal: Tensor | None = None, upper: int = 1) -> Tensor:
    k = 0 if diagonal is None else int(diagonal.item())
    return lucid.triu(x, k) if upper else lucid.tril(x, k)


@node("ReverseSequence")
def reverse_sequence(x: Tensor, lengths: Tensor, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    """Reverse the start of every sequence."""
    lined = lucid.moveaxis(x, batch_axis, 0) if batch_axis else x
    turned = [
        lucid.concatenate([lucid.flip(row[:n], 0), row[n:]])
        for row, n in zip(lined, integers(lengths) or [], strict=True)
    ]
    return lucid.stack(turned, batch_axis)


# --- choosing -----------------------------------------------------------------------------------


@node("Gather")
def take(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    return x[(slice(None),) * axis + (indices,)]


@node("GatherElements")
def gather(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    return lucid.gather(x, axis, indices)


@node("GatherND")
def gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0) -> Tensor:
    if batch_dims:
        rows = zip(x, indices, strict=True)
        return lucid.stack([gather_nd(part, chosen, batch_dims - 1) for part, chosen in rows])
    return x[tuple(indices[..., i] for i in range(indices.shape[-1]))]


@node("Scatter", "ScatterElements")
def scatter(
    x: Tensor, indices: Tensor, updates: Tensor, axis: int = 0, reduction: str = "none"
) -> Tensor:
    """Apply updates elementwise; only sums have a function."""
    if reduction == "add":
        return lucid.scatter_add(x, axis, indices, updates)
    places = np.indices(indices.shape)
    places[axis] = indices.numpy()
    return put(x, tuple(places), updates, reduction)


@node("ScatterND")
def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, reduction: str = "none") -> Tensor:
    return put(x, tuple(np.moveaxis(indices.numpy(), -1, 0)), updates, reduction)


#: Combination of an element with its update.
MEETINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": lambda old, new: new,
    "add": lucid.add,
    "mul": lucid.multiply,
    "max": lucid.maximum,
    "min": lucid.minimum,
}


def put(x: Tensor, places: tuple[np.ndarray, ...], updates: Tensor, reduction: str) -> Tensor:
    """Update positions of a copy in order, since they may repeat."""
    result = lucid.clone(x)
    for i in np.ndindex(places[0].shape):
        place = tuple(int(along[i]) for along in places)
        result[place] = MEETINGS[reduction](result[place], updates[i])
    return result


@node("Compress")
def compress(x: Tensor, condition: Tensor, axis: int | None = None) -> Tensor:
    """The condition may be shorter or longer than the axis."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    chosen = lucid.nonzero(condition)[0]
    return x[(slice(None),) * (axis % x.ndim) + (chosen,)]


@node("NonZero")
def nonzero(x: Tensor) -> Tensor:
    return lucid.stack(lucid.nonzero(x))


@node("OneHot")
def one_hot(indices: Tensor, depth: Tensor, values: Tensor, axis: int = -1) -> Tensor:
    """A class out of range gives all off values."""
    n = int(depth.item())
    valid = (indices >= -n) & (indices < n)
    chosen = lucid.one_hot(lucid.where(valid, indices, 0).astype(lucid.int64) % n, n)
    places = lucid.moveaxis(chosen.astype(lucid.bool_) & lucid.unsqueeze(valid, -1), -1, axis)
    return lucid.where(places, values[1], values[0])


@node("Unique")
def unique(x: Tensor, axis: int | None = None, sorted: int = 1) -> tuple[Tensor, ...]:
    """Unsorted elements are in order of first occurrence."""
    values, first, inverse, counts = lucid.unique(
        x, axis=axis, return_index=True, return_inverse=True, return_counts=True
    )
    if not sorted:
        assert axis is None
        order = lucid.argsort(first)
        values, first, counts = values[order], first[order], counts[order]
        inverse = lucid.argsort(order)[inverse]
    return values, first, inverse.reshape(-1), counts


@node("TopK")
def topk(
    x: Tensor, k: Tensor, axis: int = -1, largest: int = 1, **sorted_anyway: int
) -> tuple[Tensor, Tensor]:
    return lucid.topk(x, int(k.item()), axis, bool(largest))


# --- shapes and new tensors ---------------------------------------------------------------------


@node("Shape")
def shape_of(x: Tensor, start: int = 0, end: int | None = None) -> Tensor:
    return lucid.tensor(np.array(x.shape[start:end], np.int64))


@node("Size")
def size_of(x: Tensor) -> Tensor:
    return lucid.tensor(x.size, dtype=lucid.int64)


@node("Constant")
def constant(
    value: np.ndarray | None = None,
    value_int: int | None = None,
    value_ints: Any = None,
    value_float: float | None = None,
    value_floats: Any = None,
) -> Tensor:
    """Return an array, or numbers with ONNX's default dtypes."""
    if value is not None:
        return lucid.tensor(value)
    whole = value_int if value_ints is None else value_ints
    if whole is not None:
        return lucid.tensor(whole, dtype=lucid.int64)
    broken = value_float if value_floats is None else value_floats
    assert broken is not None
    return lucid.tensor(broken, dtype=lucid.float32)


@node("ConstantOfShape")
def full(shape: Tensor, value: np.ndarray | None = None) -> Tensor:
    if value is None:
        return lucid.zeros(integers(shape) or [])
    return lucid.full(integers(shape) or [], value.item(), dtype=value.dtype)


@node("EyeLike")
def eye_like(x: Tensor, dtype: int | None = None, k: int = 0) -> Tensor:
    wanted = x.dtype if dtype is None else helper.tensor_dtype_to_np_dtype(dtype)
    ones = lucid.ones(x.shape, dtype=wanted)
    return lucid.tril(lucid.triu(ones, k), k)
