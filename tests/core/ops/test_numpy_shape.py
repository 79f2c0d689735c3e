"""Shape operations against NumPy, with errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy_oracle import LENGTHS, agree, arrays, examples, filled, generators, shapes

import lucid

T = lucid.Tensor


def axis_of(ndim):
    """Axis from either end; occasionally out of range."""
    near = st.integers(-ndim, ndim - 1) if ndim else st.integers(-1, 0)
    return st.integers(0, 9).flatmap(lambda n: near if n else st.integers(-ndim - 2, ndim + 1))


def axes_of(ndim):
    """Several axes; occasionally repeated or out of range."""
    return st.lists(axis_of(ndim), max_size=max(ndim, 1)).map(tuple)


@examples(150)
@given(x=arrays(), data=st.data())
def test_reshape(x, data):
    lengths = data.draw(st.permutations(x.shape))
    joined = [int(np.prod(lengths[:2])), *lengths[2:]]
    wanted = data.draw(st.sampled_from([list(lengths), joined, [*lengths, 1], [x.size]]))
    for _ in range(data.draw(st.sampled_from([0, 1, 1, 2]))):
        if wanted:
            place = data.draw(st.integers(0, len(wanted) - 1))
            wanted[place] = data.draw(st.sampled_from([-1, -1, -1, -2, 5]))
    wanted = tuple(wanted)
    agree(lambda: lucid.reshape(T(x), wanted), lambda: x.reshape(wanted))
    agree(lambda: T(x).reshape(*wanted), lambda: x.reshape(wanted))
    agree(lambda: T(x.copy()).view(wanted), lambda: x.reshape(wanted))


@pytest.mark.parametrize("shape", [2.0, (2.0, 3), "6", None, [[6]], (None, 6)], ids=repr)
def test_shape_must_be_integers(shape):
    x = np.zeros(6)
    if shape != [[6]] and shape is not None:  # NumPy 2.0 accepts None
        agree(lambda: lucid.reshape(x, shape), lambda: x.reshape(shape))
    for function in (lucid.reshape, lucid.expand, lucid.broadcast_to):
        with pytest.raises(TypeError, match=r"shape.*got"):
            function(x, shape)
    for function in (lucid.zeros, lucid.ones, lucid.empty, lucid.random.randn):
        with pytest.raises(TypeError, match=r"shape.*got"):
            function(shape)


def test_shape_of_numpy_integers_or_tensors():
    assert lucid.zeros(np.int64(2), lucid.tensor(3)).shape == (2, 3)
    assert lucid.zeros(np.array([2, 3])).shape == (2, 3)
    assert lucid.zeros(lucid.tensor(3)).shape == (3,)
    assert lucid.zeros([2, 3]).shape == (2, 3)
    assert lucid.zeros(()).shape == lucid.zeros().shape == ()


@examples(100)
@given(x=arrays(), data=st.data())
def test_transpose_and_permute(x, data):
    order = data.draw(st.permutations(range(x.ndim)) | axes_of(x.ndim))
    agree(lambda: lucid.permute(T(x), tuple(order)), lambda: x.transpose(tuple(order)))
    agree(lambda: T(x).T, lambda: x.T)
    one, other = data.draw(axis_of(x.ndim)), data.draw(axis_of(x.ndim))
    # Two axes are swapped as in PyTorch, np.swapaxes.
    agree(lambda: T(x).transpose(one, other), lambda: x.swapaxes(one, other))
    agree(lambda: lucid.moveaxis(T(x), one, other), lambda: np.moveaxis(x, one, other))
    some, places = data.draw(axes_of(x.ndim)), data.draw(axes_of(x.ndim))
    agree(lambda: lucid.moveaxis(T(x), some, places), lambda: np.moveaxis(x, some, places))


@examples(150)
@given(x=arrays(), data=st.data())
def test_squeeze_and_unsqueeze(x, data):
    """As in PyTorch, squeeze ignores longer axes; NumPy raises."""
    axis = data.draw(axis_of(x.ndim))
    agree(lambda: lucid.unsqueeze(T(x), axis), lambda: np.expand_dims(x, axis))
    agree(lambda: lucid.squeeze(T(x)), lambda: np.squeeze(x))
    if x.ndim and -x.ndim <= axis < x.ndim and x.shape[axis] != 1:
        assert lucid.squeeze(T(x), axis).shape == x.shape
    else:
        agree(lambda: lucid.squeeze(T(x), axis), lambda: np.squeeze(x, axis))


@examples(100)
@given(x=arrays(), data=st.data())
def test_expand(x, data):
    stretched = [data.draw(st.integers(0, 4)) if n == 1 else n for n in x.shape]
    if stretched and not data.draw(st.integers(0, 5)):
        stretched[data.draw(st.integers(0, len(stretched) - 1))] = data.draw(
            st.sampled_from([5, -2])
        )
    wanted = tuple(data.draw(st.lists(st.sampled_from(LENGTHS), max_size=2)) + stretched)
    agree(lambda: lucid.expand(T(x), wanted), lambda: np.broadcast_to(x, wanted))
    agree(lambda: lucid.broadcast_to(T(x), wanted), lambda: np.broadcast_to(x, wanted))
    kept = tuple(-1 if i >= len(wanted) - x.ndim else n for i, n in enumerate(wanted))
    whole = wanted[: len(wanted) - x.ndim] + x.shape
    agree(lambda: T(x).expand(*kept), lambda: np.broadcast_to(x, whole))


@st.composite
def several(draw):
    """Arrays of equal shape except along one axis; one in eight mismatched."""
    shape = draw(shapes())
    place = draw(st.integers(0, len(shape) - 1)) if shape and draw(st.booleans()) else None
    members = []
    for _ in range(draw(st.integers(1, 3))):
        lengths = list(shape)
        if place is not None:
            lengths[place] = draw(st.sampled_from(LENGTHS))
        if not draw(st.integers(0, 15)):
            lengths.append(2)
        members.append(draw(arrays(lengths, ("float32", "float32", "int64", "bool"))))
    return members, place


@examples(150)
@given(case=several(), data=st.data())
def test_concatenate_and_stack(case, data):
    xs, place = case
    floats = any(x.dtype.kind == "f" for x in xs)
    # NumPy promotes float32 and int64 to float64.
    dtype = np.dtype("float32") if floats else np.result_type(*xs)
    axis = data.draw(axis_of(xs[0].ndim) if place is None else st.just(place))
    agree(
        lambda: lucid.concatenate([T(x) for x in xs], axis),
        lambda: np.concatenate(xs, axis),
        dtype=dtype,
    )
    agree(lambda: lucid.stack([T(x) for x in xs], axis), lambda: np.stack(xs, axis), dtype=dtype)


def test_concatenate_of_nothing_raises():
    agree(lambda: lucid.concatenate([]), lambda: np.concatenate([]))
    agree(lambda: lucid.stack([]), lambda: np.stack([]))


@examples(150)
@given(x=arrays(shapes(least=1)), data=st.data())
def test_split_and_chunk(x, data):
    """``split`` takes lengths, as in PyTorch; ``np.split`` takes indices."""
    axis = data.draw(axis_of(x.ndim))
    size, number = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    total = x.shape[axis] if -x.ndim <= axis < x.ndim else 1
    agree(
        lambda: lucid.split(T(x), size, axis),
        lambda: np.split(x, range(size, total, size), axis),
    )
    chunk = max(1, -(-total // number))
    agree(
        lambda: lucid.chunk(T(x), number, axis),
        lambda: np.split(x, range(chunk, total, chunk), axis),
    )
    ends = sorted(data.draw(st.lists(st.integers(0, total), max_size=3)))
    lengths = np.diff([0, *ends, total]).tolist()
    agree(lambda: lucid.split(T(x), lengths, axis), lambda: np.split(x, ends, axis))


@pytest.mark.parametrize("lengths", [[4, -1], [1, 1], [], [5], -1, 0], ids=repr)
def test_split_sizes_must_sum_to_the_axis(lengths):
    with pytest.raises(ValueError, match="split expected"):
        lucid.split(lucid.zeros(3), lengths)


def test_split_of_a_scalar_raises():
    for function in (lucid.split, lucid.chunk):
        with pytest.raises(np.exceptions.AxisError, match="axis 0 is out of bounds"):
            function(lucid.tensor(1.0), 1)


@examples(150)
@given(x=arrays(), data=st.data())
def test_tile_and_repeat_interleave(x, data):
    repeats = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 2, -1]), max_size=5).map(tuple))
    number, axis = data.draw(st.integers(0, 3)), data.draw(axis_of(x.ndim))
    agree(lambda: lucid.tile(T(x), repeats), lambda: np.tile(x, repeats))
    agree(lambda: lucid.tile(T(x), number), lambda: np.tile(x, number))
    if x.ndim:  # np.repeat treats a scalar as 1-d
        agree(
            lambda: lucid.repeat_interleave(T(x), number, axis), lambda: np.repeat(x, number, axis)
        )


@examples(150)
@given(x=arrays(), data=st.data())
def test_flip_and_roll(x, data):
    axis, axes = data.draw(axis_of(x.ndim)), data.draw(axes_of(x.ndim))
    shift = data.draw(st.integers(-5, 5) | st.integers(-5, 5).map(np.int64))
    agree(lambda: lucid.flip(T(x)), lambda: np.flip(x))
    agree(lambda: lucid.flip(T(x), axis), lambda: np.flip(x, axis))
    agree(lambda: lucid.flip(T(x), axes), lambda: np.flip(x, axes))
    agree(lambda: lucid.roll(T(x), shift), lambda: np.roll(x, shift))
    agree(lambda: lucid.roll(T(x), shift, axis), lambda: np.roll(x, shift, axis))
    agree(lambda: lucid.roll(T(x), shift, axes), lambda: np.roll(x, shift, axes))
    shifts = tuple(range(1, len(axes) + 1))
    agree(lambda: lucid.roll(T(x), shifts, axes), lambda: np.roll(x, shifts, axes))
    agree(lambda: lucid.roll(T(x), list(shifts), axis), lambda: np.roll(x, shifts, axis))


MODES = ("constant", "reflect", "edge", "wrap")


@pytest.mark.parametrize("mode", MODES)
@examples(60)
@given(x=arrays(), data=st.data())
def test_pad(mode, x, data):
    width = st.integers(0, 4) if data.draw(st.integers(0, 9)) else st.integers(-1, 2)
    widths = data.draw(st.lists(st.tuples(width, width), min_size=x.ndim, max_size=x.ndim))
    if mode != "constant" and not all(
        n or pair == (0, 0) for n, pair in zip(x.shape, widths, strict=True)
    ):
        widths = [(0, 0) if not n else pair for n, pair in zip(x.shape, widths, strict=True)]
    value = data.draw(st.sampled_from([0, 1, -2]))
    options = {"constant_values": value} if mode == "constant" else {}
    agree(
        lambda: lucid.pad(T(x), widths, mode=mode, value=value),
        lambda: np.pad(x, widths or 0, mode, **options),
    )
    one = data.draw(width)
    if x.ndim and (mode == "constant" or x.size):
        agree(lambda: lucid.pad(T(x), one, mode=mode), lambda: np.pad(x, one, mode))
        agree(lambda: lucid.pad(T(x), (one, 1), mode=mode), lambda: np.pad(x, (one, 1), mode))


@examples(100)
@given(x=arrays(shapes(least=2)), diagonal=st.integers(-5, 5))
def test_tril_and_triu(x, diagonal):
    agree(lambda: lucid.tril(T(x), diagonal), lambda: np.tril(x, diagonal))
    agree(lambda: lucid.triu(T(x), diagonal), lambda: np.triu(x, diagonal))


@pytest.mark.parametrize("function", [lucid.tril, lucid.triu])
def test_tril_of_a_vector_raises(function):
    """As in PyTorch; NumPy broadcasts a vector to a matrix."""
    for x in (lucid.ones(3), lucid.tensor(1.0)):
        with pytest.raises(ValueError, match=r"at least two axes, got shape \("):
            function(x)


@examples(60)
@given(x=arrays(shapes(least=1)), data=st.data())
def test_flatten(x, data):
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, x.ndim - 1)] * 2)))
    wanted = (*x.shape[:start], int(np.prod(x.shape[start : end + 1])), *x.shape[end + 1 :])
    agree(lambda: lucid.flatten(T(x), start, end), lambda: x.reshape(wanted))
    agree(lambda: lucid.flatten(T(x), start - x.ndim, end - x.ndim), lambda: x.reshape(wanted))
    agree(lambda: T(x).flatten(), lambda: x.flatten())


REARRANGING = {
    "reshape": lambda x: lucid.reshape(x, x.size), "transpose": lambda x: x.T,
    "flip": lucid.flip, "roll": lambda x: lucid.roll(x, 2),
    "squeeze": lucid.squeeze, "expand": lambda x: lucid.expand(x, 2, *x.shape),
    "tile": lambda x: lucid.tile(x, (2, 1, 3)), "stack": lambda x: lucid.stack([x, x], -1),
    "concatenate": lambda x: lucid.concatenate([x.flatten(), x.flatten()]),
    "pad": lambda x: lucid.pad(x, 1), "index": lambda x: x[..., None],
}  # fmt: skip


@pytest.mark.parametrize("name", REARRANGING)
@examples(20)
@given(x=arrays(dtypes=("float64",)), rng=generators())
def test_gradients(name, x, rng):
    """The gradient of an element is the sum over its positions in the result."""
    function = REARRANGING[name]
    numbers = function(T(np.arange(1, x.size + 1).reshape(x.shape))).numpy()
    leaf = lucid.tensor(x, requires_grad=True)
    y = function(leaf)
    gradient = filled(rng, y.shape, "float64")
    y.backward(gradient)
    expected = np.zeros(x.size + 1)  # index 0 for padding
    np.add.at(expected, numbers.reshape(-1), gradient.reshape(-1))
    np.testing.assert_array_equal(leaf.grad.numpy(), expected[1:].reshape(x.shape))


def test_view_shares_memory_or_raises():
    x = T(np.arange(24.0).reshape(2, 3, 4))
    for shape in ((6, 4), (-1,), (2, 1, 12), 24):
        view = x.view(shape)
        assert np.shares_memory(view.numpy(), x.numpy())
        view += 1
    assert x.sum().item() == 276 + 4 * 24
    turned = x.transpose(0, 2)
    assert turned.view(4, 3, 2, 1).shape == (4, 3, 2, 1)
    with pytest.raises(ValueError, match=r"reshape\(\)"):
        turned.view(-1)
    assert not np.shares_memory(turned.reshape(-1).numpy(), x.numpy())
    assert T(np.zeros((0, 3))).view(3, 0).shape == (3, 0)


def test_documented_views_share_memory():
    x = lucid.zeros(2, 1, 3)
    views = [
        x[1], x[:, :, ::2], x[..., None], x.transpose(0, 2), x.permute(1, 2, 0), x.T, x.squeeze(),
        x.unsqueeze(0), x.flip(0), x.detach(), lucid.moveaxis(x, 0, 2), *x.split(1), *x.chunk(2),
    ]  # fmt: skip
    for view in views:
        view += 1
    for copied in (x[[0]], x.clone(), x.roll(1), x.tile(2), x[x > -1], x.astype("float32")):
        copied += 100
    assert x[0].tolist() == [[12.0, 11.0, 12.0]]


def test_view_of_any_layout():
    """Chains of views with any strides."""
    x = np.arange(24.0).reshape(2, 3, 4)
    steps = {
        "permute": (lambda t: lucid.permute(t, 2, 0, 1), lambda a: a.transpose(2, 0, 1)),
        "flip": (lambda t: lucid.flip(t, 0), lambda a: np.flip(a, 0)),
        "every second": (lambda t: t[:, ::2], lambda a: a[:, ::2]),
        "roll": (lambda t: lucid.roll(t, 1, -1), lambda a: np.roll(a, 1, -1)),
    }
    for chain in itertools.permutations(steps.values()):
        ours, theirs = T(x), x
        for step, numpy_step in chain:
            ours, theirs = step(ours), numpy_step(theirs)
        np.testing.assert_array_equal(ours.numpy(), theirs)
        np.testing.assert_array_equal(ours.reshape(-1).numpy(), theirs.reshape(-1))
