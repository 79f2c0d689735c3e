"""Gather, scatter, sort, unique and one-hot against NumPy, with errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy_oracle import LENGTHS, agree, arrays, examples, filled, generators, shapes

import lucid

T = lucid.Tensor


@st.composite
def gathers(draw, dtypes=("float32", "float64", "int64")):
    """Array, axis and index for gather; occasionally invalid."""
    x = draw(arrays(shapes(least=1), dtypes))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    place = axis % x.ndim
    lengths = [draw(st.integers(0, n)) for n in x.shape]
    lengths[place] = draw(st.sampled_from(LENGTHS))
    if not draw(st.integers(0, 15)):
        lengths[draw(st.integers(0, x.ndim - 1))] += 2
    n = x.shape[place]
    low, high = (-n, n - 1) if n and draw(st.integers(0, 9)) else (-n - 1, n + 1)
    index = draw(generators()).integers(low, high + 1, lengths)
    return x, axis, index


def one_by_one(x, axis, index):
    """Full index of each element, by definition."""
    axis %= x.ndim
    for place in np.ndindex(index.shape):
        yield place, (*place[:axis], index[place], *place[axis + 1 :])


@examples(150)
@given(case=gathers())
def test_gather(case):
    """As in PyTorch, the index may be shorter than x; negative indices as in NumPy."""
    x, axis, index = case

    def theirs():
        out = np.empty(index.shape, x.dtype)
        for place, source in one_by_one(x, axis, index):
            out[place] = x[source]
        return out

    agree(lambda: lucid.gather(T(x), axis, T(index)), theirs)


@examples(60)
@given(x=arrays(shapes(least=1)), rng=generators(), data=st.data())
def test_gather_matches_take_along_axis(x, rng, data):
    axis = data.draw(st.integers(-x.ndim - 1, x.ndim))
    n = x.shape[axis] if -x.ndim <= axis < x.ndim else 2
    index = rng.integers(-n - 1, n, x.shape) if n else np.zeros(x.shape, int)
    agree(
        lambda: lucid.gather(T(x), axis, index),
        lambda: np.take_along_axis(x, index, axis),
    )


@examples(150)
@given(case=gathers(), rng=generators())
def test_scatter_add(case, rng):
    x, axis, index = case
    source = filled(rng, index.shape, x.dtype.name)

    def theirs():
        out = x.copy()
        for place, target in one_by_one(x, axis, index):
            out[target] += source[place]
        return out

    agree(lambda: lucid.scatter_add(T(x), axis, index, T(source)), theirs)


@examples(100)
@given(case=gathers(dtypes=("float64",)), rng=generators())
def test_gradients_of_gather_and_scatter_add(case, rng):
    """The gradient of gather is scatter_add, and vice versa."""
    x, axis, index = case
    leaf = lucid.tensor(x, requires_grad=True)
    try:
        y = lucid.gather(leaf, axis, index)
    except IndexError:
        return
    gradient = filled(rng, y.shape, "float64")
    y.backward(gradient)
    expected = lucid.scatter_add(np.zeros(x.shape), axis, index, gradient)
    np.testing.assert_array_equal(leaf.grad, expected)
    source = lucid.tensor(gradient, requires_grad=True)
    leaf.grad = None
    arriving = filled(rng, x.shape, "float64")
    lucid.scatter_add(leaf, axis, index, source).backward(arriving)
    np.testing.assert_array_equal(leaf.grad, arriving)
    np.testing.assert_array_equal(source.grad, lucid.gather(arriving, axis, index))


def descending(x, axis):
    """Stable descending order, NaN first; NumPy has none."""
    lined = np.moveaxis(x, axis, -1)
    out = np.empty(lined.shape, np.int64)
    for place in np.ndindex(lined.shape[:-1]):
        row = lined[place].tolist()
        out[place] = sorted(range(len(row)), key=lambda i: (row[i] == row[i], -row[i], i))
    return np.moveaxis(out, -1, axis)


@examples(150)
@given(x=arrays(shapes(least=1), special=True), data=st.data())
def test_sort(x, data):
    """The sort is stable, and NaN is the largest."""
    axis = data.draw(st.integers(-x.ndim - 1, x.ndim))
    agree(lambda: lucid.sort(T(x), axis)[0], lambda: np.sort(x, axis))
    agree(lambda: lucid.sort(T(x), axis)[1], lambda: np.argsort(x, axis, kind="stable"))
    agree(lambda: lucid.argsort(T(x), axis), lambda: np.argsort(x, axis, kind="stable"))
    axis = axis % x.ndim
    down = descending(x, axis)
    agree(lambda: lucid.argsort(T(x), axis, descending=True), lambda: down)
    agree(
        lambda: lucid.sort(T(x), axis, descending=True)[0],
        lambda: np.take_along_axis(x, down, axis),
    )


@examples(100)
@given(x=arrays(shapes(least=1), special=True), largest=st.booleans(), data=st.data())
def test_topk(x, largest, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    k = data.draw(st.integers(0, x.shape[axis]))
    order = descending(x, axis) if largest else np.argsort(x, axis, kind="stable")
    chosen = np.take(order, range(k), axis)
    agree(
        lambda: lucid.topk(T(x), k, axis, largest),
        lambda: (np.take_along_axis(x, chosen, axis), chosen),
    )
    for wrong in (-1, x.shape[axis] + 1):
        with pytest.raises(ValueError, match=rf"\[0, {x.shape[axis]}\], got {wrong}"):
            lucid.topk(T(x), wrong, axis)


@pytest.mark.parametrize("function", [lucid.sort, lucid.argsort, lambda x: lucid.topk(x, 1)])
def test_sort_of_a_scalar_raises(function):
    agree(lambda: function(T(1.5)), lambda: np.sort(np.array(1.5)))


@examples(100)
@given(x=arrays(special=True), data=st.data())
def test_unique(x, data):
    """All NaN count as one, as in NumPy."""
    agree(lambda: lucid.unique(T(x)), lambda: np.unique(x))
    agree(
        lambda: lucid.unique(T(x), return_index=True, return_counts=True),
        lambda: np.unique(x, return_index=True, return_counts=True),
    )
    axis = data.draw(st.integers(-x.ndim - 1, x.ndim))
    finite = np.nan_to_num(x) if x.dtype.kind == "f" else x
    agree(lambda: lucid.unique(T(finite), axis=axis), lambda: np.unique(finite, axis=axis))


@examples(60)
@given(x=arrays(special=True))
def test_nonzero(x):
    agree(lambda: lucid.nonzero(T(x)), lambda: np.nonzero(x))
    agree(lambda: T(x).nonzero(), lambda: x.nonzero())


@examples(60)
@given(x=arrays(dtypes=("int64",)), classes=st.integers(10, 14))
def test_one_hot(x, classes):
    labels = np.abs(x)
    if labels.size and labels.max() >= classes:
        with pytest.raises(ValueError, match=rf"\[0, {classes - 1}\], got"):
            lucid.one_hot(T(labels), classes)
    else:
        agree(lambda: lucid.one_hot(T(labels), classes), lambda: np.eye(classes, dtype=int)[labels])
    if x.size and x.min() < 0:
        with pytest.raises(ValueError, match=rf"got {x.min()} to"):
            lucid.one_hot(T(x), 14)


def test_one_hot_with_negative_num_classes_raises():
    with pytest.raises(ValueError, match="-2"):
        lucid.one_hot(lucid.zeros(0, dtype=int), -2)


def test_topk_requires_an_integer():
    with pytest.raises(TypeError, match=r"1\.5"):
        lucid.ones(3).topk(1.5)
