"""Indexing and assignment against NumPy, over generated indices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy_oracle import agree, arrays, attempt, examples, filled, generators, numpys, same_family

import lucid

SLICES = st.builds(
    slice,
    st.none() | st.integers(-5, 5),
    st.none() | st.integers(-5, 5),
    st.sampled_from([None, None, 1, 2, 3, -1, -2, -3]),
)


@st.composite
def broadcastable(draw, shape):
    """Shapes that broadcast to the given one."""
    kept = [n if draw(st.integers(0, 3)) else 1 for n in shape]
    return tuple(kept[draw(st.integers(0, len(kept))) if draw(st.booleans()) else 0 :])


@st.composite
def pieces(draw, length, common):
    """Index of one axis: slice, integer, or array that broadcasts to ``common``."""
    kind = draw(st.sampled_from(["slice", "slice", "integer", "array", "array", "array"]))
    if kind == "slice":
        return draw(SLICES)
    # One in sixteen may be out of range.
    low, high = (-length, length - 1) if length and draw(st.integers(0, 15)) else (-length - 1, 3)
    if kind == "integer":
        return draw(st.integers(low, high) | st.integers(low, high).map(np.int32))
    shape = draw(broadcastable(common)) if draw(st.integers(0, 15)) else draw(broadcastable((2, 3)))
    rng = draw(generators())
    return rng.integers(low, high + 1, shape).astype(draw(st.sampled_from(["int64", "int32"])))


@st.composite
def masks(draw, shape, count):
    """Boolean mask with ``count`` true elements; one in sixteen has a wrong shape."""
    if not draw(st.integers(0, 15)):
        return filled(draw(generators()), [n + 1 for n in shape], "bool")
    mask = np.zeros(shape, bool)
    mask.flat[draw(generators()).permutation(mask.size)[:count]] = True
    return mask


@st.composite
def indices(draw, shape):
    """Mixed indices for ``shape``; occasionally invalid."""
    common = draw(st.sampled_from([(), (1,), (2,), (3,), (2, 3), (2,), (3,), (2, 3), (4,), (2, 0)]))
    count = common[0] if len(common) == 1 else 1
    parts, axis = [], 0
    while axis < len(shape) and draw(st.integers(0, 5)):
        if draw(st.integers(0, 4)):
            parts.append(draw(pieces(shape[axis], common)))
            axis += 1
        else:
            axes = draw(st.integers(1, min(2, len(shape) - axis)))
            parts.append(draw(masks(shape[axis : axis + axes], count)))
            axis += axes
    for extra in draw(st.lists(st.sampled_from([None, None, True, False, 0]), max_size=2)):
        parts.insert(draw(st.integers(0, len(parts))), extra)
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), Ellipsis)
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


def spelled(index, how):
    """Convert an index to arrays, lists or tensors."""
    if isinstance(index, tuple):
        return tuple(spelled(part, how) for part in index)
    if isinstance(index, np.ndarray) and how != "array":
        return index.tolist() if how == "list" else lucid.Tensor(index)
    return index


SPELLINGS = st.sampled_from(["array", "list", "tensor"])


@examples(300)
@given(x=arrays(), how=SPELLINGS, data=st.data())
def test_getitem(x, how, data):
    index = data.draw(indices(x.shape))
    if how == "list":  # NumPy infers the dtype from the elements
        agree(lambda: lucid.Tensor(x)[spelled(index, how)], lambda: x[spelled(index, how)])
    else:
        agree(lambda: lucid.Tensor(x)[spelled(index, how)], lambda: x[index])


@examples(200)
@given(x=arrays(), how=SPELLINGS, rng=generators(), data=st.data())
def test_setitem(x, how, rng, data):
    index = data.draw(indices(x.shape))
    region = numpys(lambda: x[index])
    shape = data.draw(broadcastable(region.shape if isinstance(region, np.ndarray) else ()))
    if not data.draw(st.integers(0, 7)):
        shape = (*shape, 2)
    value = filled(rng, shape, data.draw(st.sampled_from(["float32", "float64", "int64", "bool"])))
    given_as = data.draw(st.sampled_from([lucid.Tensor, np.array]))(value)
    theirs, leaf = np.array(x), lucid.tensor(x)

    def assign(target, index, value):
        target[index] = value
        return target

    agree(
        lambda: assign(leaf, spelled(index, how), given_as),
        lambda: assign(theirs, spelled(index, "list") if how == "list" else index, value),
    )
    # Also after an error.
    np.testing.assert_array_equal(leaf.numpy(), theirs)


@examples(200)
@given(x=arrays(dtypes=("float64", "float32")), how=SPELLINGS, rng=generators(), data=st.data())
def test_gradients_of_repeated_indices_add_up(x, how, rng, data):
    index = data.draw(indices(x.shape))
    leaf = lucid.Tensor(x, requires_grad=True)
    y = attempt(lambda: leaf[spelled(index, how)])
    if isinstance(y, Exception):
        return  # as in test_getitem
    gradient = filled(rng, y.shape, str(x.dtype))
    y.backward(gradient)
    expected = np.zeros(x.shape, x.dtype.newbyteorder("="))
    np.add.at(expected, spelled(index, "list") if how == "list" else index, gradient)
    np.testing.assert_array_equal(leaf.grad.numpy(), expected)
    assert leaf.grad.dtype == leaf.dtype


@examples(60)
@given(x=arrays(dtypes=("float32",)), data=st.data())
def test_setitem_on_leaf_that_requires_grad_raises(x, data):
    index = data.draw(indices(x.shape))
    leaf = lucid.tensor(x, requires_grad=True)
    with pytest.raises(RuntimeError, match="no_grad"):
        leaf[index] = 0
    np.testing.assert_array_equal(leaf.numpy(), x)
    with lucid.no_grad():
        result = attempt(lambda: leaf.__setitem__(index, 0))
    expected = np.array(x)
    error = numpys(lambda: expected.__setitem__(index, 0))
    if error is not None:
        same_family(result, error)
    np.testing.assert_array_equal(leaf.numpy(), expected)


@pytest.mark.parametrize(
    "index",
    [0.5, "0", np.array([0.5]), [0.5], [], [[], []], [True, False, True], [[0, 1], [2, -3]],
     slice(None, None, 0), slice(0.5), (0, 0, 0), (Ellipsis, Ellipsis), np.array(True), np.array(1),
     True, False, (True, True), np.bool_(False), [0, 3], [True, False], int, {0: 1}, 3, -4,
     (slice(None), 2), (np.zeros(0), 0), ([], []), ([0, 1], [0, 1, 0]), ([], [0, 1]), ([True], 0),
     ((0, 1), (1, 0)), np.array(["0"]), np.uint8([0, 2]), (None, [0, 2], None, [1, 0]),
     np.ones((3, 2), bool), np.ones((2, 3), bool), np.ones((3, 2, 1), bool), range(2)],
    ids=repr,
)  # fmt: skip
def test_unusual_indices(index):
    x = np.arange(6.0).reshape(3, 2)
    agree(lambda: lucid.Tensor(x)[index], lambda: x[index])
    theirs, ours = x.copy(), lucid.tensor(x)
    expected = numpys(lambda: theirs.__setitem__(index, 7))
    result = attempt(lambda: ours.__setitem__(index, 7))
    if isinstance(expected, Exception):
        same_family(result, expected)
    np.testing.assert_array_equal(ours.numpy(), theirs)


def test_lists_of_tensors_as_indices():
    x = np.arange(6.0).reshape(3, 2)
    where = [lucid.tensor(2), lucid.tensor(0)]
    agree(lambda: lucid.Tensor(x)[where], lambda: x[[2, 0]])
    agree(lambda: lucid.Tensor(x)[where, [lucid.tensor(1), 0]], lambda: x[[2, 0], [1, 0]])
    agree(lambda: lucid.Tensor(x)[lucid.tensor(1) : lucid.tensor(3)], lambda: x[1:3])


def test_overlapping_assignment():
    theirs = np.arange(6.0)
    ours = lucid.tensor(theirs)
    theirs[1:], ours[1:] = theirs[:-1], ours[:-1]
    np.testing.assert_array_equal(ours.numpy(), theirs)
    theirs[::-1], ours[::-1] = theirs, ours
    np.testing.assert_array_equal(ours.numpy(), theirs)


def test_last_assignment_to_a_repeated_index_wins():
    x = lucid.zeros(3)
    x[[0, 1, 0]] = [1.0, 2.0, 3.0]
    assert x.tolist() == [3, 2, 0]


def test_setitem_on_read_only_memory_raises():
    x = np.zeros(3)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        lucid.Tensor(x)[0] = 1


@pytest.mark.parametrize(
    "index",
    [
        ([0, -4, 3, -1],), ((0, 0),), (slice(None), (0, 0)), (slice(None), [0, -3]), (None, [0, 0]),
        (..., [1, 1]), ([[0, 1], [1, 0]],), ([[0], [0]], [1, 1]), (0, [2, 2]), ([0, 0], [1, 1]),
    ],
    ids=repr,
)  # fmt: skip
def test_repeated_indices_in_a_tuple_add_up(index):
    x = lucid.tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    y = x[index]
    weights = np.cos(np.arange(y.size)).reshape(y.shape)
    (y * weights).sum().backward()
    expected = np.zeros(12)
    np.add.at(expected, np.arange(12).reshape(4, 3)[index].ravel(), weights.ravel())
    np.testing.assert_allclose(x.grad.numpy().ravel(), expected)


@pytest.mark.parametrize("index", [(0, 1), (0, -2, ...), (np.int64(0), 1)])
def test_single_element_is_a_view(index):
    x = lucid.tensor([[1.0, 2.0, 3.0]])
    element = x[index]
    element += 5
    assert x.tolist() == [[1.0, 7.0, 3.0]]
    assert element.shape == ()


def test_iteration_gives_views():
    x = lucid.tensor([1.0, 2.0])
    first, _ = x
    first.fill_(9)
    assert x.tolist() == [9.0, 2.0]


def test_inplace_on_a_recorded_view_raises():
    x = lucid.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    total = y[0]
    with pytest.raises(RuntimeError, match="shared"):
        total += x[1]
    assert y.tolist() == [2.0, 4.0]
