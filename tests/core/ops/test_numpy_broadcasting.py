"""Binary operations against NumPy: broadcasting, errors and gradients."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy_oracle import (
    DTYPES,
    FLOATS,
    LENGTHS,
    agree,
    arrays,
    examples,
    filled,
    generators,
    numpys,
    summed_to,
)

import lucid

ARITHMETIC = ("add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power",
              "maximum", "minimum")  # fmt: skip
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
LOGIC = ("logical_and", "logical_or", "logical_xor")
BITS = ("bitwise_and", "bitwise_or", "bitwise_xor")
OPERATORS = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
    "divide": operator.truediv, "floor_divide": operator.floordiv, "remainder": operator.mod,
    "power": operator.pow, "equal": operator.eq, "not_equal": operator.ne, "less": operator.lt,
    "less_equal": operator.le, "greater": operator.gt, "greater_equal": operator.ge,
    "bitwise_and": operator.and_, "bitwise_or": operator.or_, "bitwise_xor": operator.xor,
}  # fmt: skip
#: Relative tolerance of powers and quotients.
INEXACT = {"power": 1e-6, "divide": 1e-6}


@st.composite
def shapes_together(draw, number, broken=True):
    """Pairs of shapes that broadcast; with ``broken``, one in eight may not."""
    full = draw(st.lists(st.sampled_from(LENGTHS), max_size=4))
    shapes = []
    for _ in range(number):
        kept = [n if draw(st.integers(0, 3)) else 1 for n in full]
        shapes.append(kept[draw(st.integers(0, len(kept))) if draw(st.booleans()) else 0 :])
    if broken and not draw(st.integers(0, 7)):
        for shape in shapes:
            if shape:
                shape[draw(st.integers(0, len(shape) - 1))] = draw(st.integers(2, 4))
    return [tuple(shape) for shape in shapes]


@st.composite
def operands(draw, number=2, dtypes=DTYPES, special=False, broken=True):
    shapes = draw(shapes_together(number, broken))
    return [draw(arrays(shape, dtypes, special)) for shape in shapes]


def common(x, y):
    """Documented result dtype: NumPy's, except that floats keep their width."""
    kinds = {a.dtype.kind: a.dtype.newbyteorder("=") for a in (x, y)}
    if len(kinds) == 2 and "f" in kinds:
        return kinds["f"]
    return np.result_type(x.dtype, y.dtype)


@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARISONS, *BITS])
@examples(60)
@given(pair=operands(special=True))
def test_values_and_errors(name, pair):
    x, y = pair
    a, b = (v.astype(common(x, y)) for v in pair)
    if name == "divide" and a.dtype.kind != "f":
        a, b = a.astype("float32"), b.astype("float32")  # NumPy promotes to float64
    if name in ("floor_divide", "remainder") and a.dtype.kind != "f" and not b.all():
        with pytest.raises(ZeroDivisionError, match=name):  # NumPy warns and returns 0
            getattr(lucid, name)(lucid.Tensor(x), lucid.Tensor(y))
        return
    agree(
        lambda: getattr(lucid, name)(lucid.Tensor(x), lucid.Tensor(y)),
        lambda: getattr(np, name)(a, b),
        rtol=INEXACT.get(name, 0),
    )


@pytest.mark.parametrize("name", LOGIC)
@examples(30)
@given(pair=operands(special=True))
def test_logic(name, pair):
    x, y = pair
    agree(lambda: getattr(lucid, name)(lucid.Tensor(x), y), lambda: getattr(np, name)(x, y))


@pytest.mark.parametrize("name", OPERATORS)
@examples(30)
@given(pair=operands(dtypes=("float32", "int64", "bool")))
def test_operators_with_a_tensor_on_either_side(name, pair):
    x, y = pair
    function = getattr(lucid, name)
    expected = numpys(lambda: function(x, y).numpy())

    def theirs():
        if isinstance(expected, Exception):
            raise expected
        return expected

    symbol = OPERATORS[name]
    agree(lambda: symbol(lucid.Tensor(x), lucid.Tensor(y)), theirs)
    agree(lambda: symbol(lucid.Tensor(x), y), theirs)
    # Python reflects comparisons of an array with a tensor on its right.
    agree(lambda: symbol(x, lucid.Tensor(y)), theirs)


SCALARS = (2, -1, 0.5, True, np.float64(0.1), np.float32(0.1), np.int64(3), np.array(0.1), 0.1)


@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARISONS])
@examples(30)
@given(
    x=arrays(dtypes=("float32", "float64", "int64")),
    scalar=st.sampled_from(SCALARS),
    left=st.booleans(),
)
def test_scalars_do_not_promote(name, x, scalar, left):
    a = x
    if a.dtype.kind == "i" and (name == "divide" or np.asarray(scalar).dtype.kind == "f"):
        a = a.astype("float32")
    b = np.asarray(scalar).astype(a.dtype)  # full precision next to float64
    if name == "power" and a.dtype.kind == "i":
        a, b = np.abs(a), np.abs(b)
        x, scalar = np.abs(x), type(scalar)(abs(scalar))
    pair, theirs = (
        ((scalar, lucid.Tensor(x)), (b, a)) if left else ((lucid.Tensor(x), scalar), (a, b))
    )
    agree(
        lambda: getattr(lucid, name)(*pair),
        lambda: getattr(np, name)(*theirs),
        rtol=INEXACT.get(name, 0),
    )


@examples(100)
@given(xs=operands(3, special=True))
def test_where(xs):
    condition, x, y = xs
    a, b = (v.astype(common(x, y)) for v in (x, y))
    agree(
        lambda: lucid.where(lucid.Tensor(condition), lucid.Tensor(x), lucid.Tensor(y)),
        lambda: np.where(condition, a, b),
    )


@examples(60)
@given(xs=operands(3, FLOATS, special=True))
def test_clip_with_array_bounds(xs):
    x, low, high = xs
    # np.clip is maximum and minimum; bounds take the common dtype and broadcast.
    a = x.astype(x.dtype)
    low, high = low.astype(x.dtype), high.astype(x.dtype)
    agree(lambda: lucid.clip(lucid.Tensor(x), low, high), lambda: np.clip(a, low, high))


def where_every_second(x, y):
    shape = np.broadcast_shapes(x.shape, y.shape)
    return lucid.where(np.arange(np.prod(shape)).reshape(shape) % 2 == 0, x, y)


DIFFERENTIABLE = {name: getattr(lucid, name) for name in ARITHMETIC} | {"where": where_every_second}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@examples(40)
@given(pair=operands(dtypes=("float64",), broken=False), rng=generators())
def test_gradients_are_summed_over_broadcast_axes(name, pair, rng):
    function = DIFFERENTIABLE[name]
    # All are smooth on [1, 2], except for ties, which do not affect the sums.
    x, y = (1 + np.abs(v) / 4 for v in pair)
    narrow = [lucid.tensor(v, requires_grad=True) for v in (x, y)]
    shape = np.broadcast_shapes(x.shape, y.shape)
    gradient = filled(rng, shape, "float64")
    function(*narrow).backward(gradient)
    # The same without broadcasting.
    wide = [lucid.tensor(np.broadcast_to(v, shape), requires_grad=True) for v in (x, y)]
    function(*wide).backward(gradient)
    for one, other in zip(narrow, wide, strict=True):
        assert one.grad.shape == one.shape
        np.testing.assert_allclose(
            one.grad.numpy(), summed_to(other.grad.numpy(), one.shape), rtol=1e-12, atol=1e-12
        )


@st.composite
def matrices(draw):
    """Operands of matmul: vectors, matrices and batches; occasionally mismatched."""
    m, k, n = (draw(st.sampled_from(LENGTHS)) for _ in range(3))
    other = k if draw(st.integers(0, 7)) else draw(st.integers(0, 4))
    before, after = draw(shapes_together(2))
    kind = draw(st.sampled_from(["matrices", "matrices", "left", "right", "vectors", "scalar"]))
    x = (k,) if kind in ("left", "vectors") else (*before[:2], m, k)
    y = (other,) if kind in ("right", "vectors") else (*after[:2], other, n)
    return (() if kind == "scalar" else x), y


@examples(150)
@given(shapes=matrices(), data=st.data())
def test_matmul(shapes, data):
    x, y = (data.draw(arrays(shape, ("float32", "float64", "int64"))) for shape in shapes)
    a, b = (v.astype(common(x, y)) for v in (x, y))
    agree(lambda: lucid.matmul(lucid.Tensor(x), lucid.Tensor(y)), lambda: np.matmul(a, b))
    agree(lambda: x @ lucid.Tensor(y), lambda: np.matmul(a, b))


@examples(100)
@given(shapes=matrices(), rng=generators())
def test_gradients_of_matmul(shapes, rng):
    x, y = (filled(rng, shape, "float64") for shape in shapes)
    if isinstance(numpys(lambda: np.matmul(x, y)), Exception):
        return
    one, other = (lucid.tensor(v, requires_grad=True) for v in (x, y))
    z = one @ other
    gradient = filled(rng, z.shape, "float64")
    z.backward(gradient)
    # Definition: z[..., i, j] = sum of x[..., i, k] * y[..., k, j].
    a = x[None, :] if x.ndim == 1 else x
    b = y[:, None] if y.ndim == 1 else y
    g = gradient[..., None] if y.ndim == 1 else gradient
    g = g[..., None, :] if x.ndim == 1 else g
    by_a = (g[..., :, None, :] * b[..., None, :, :]).sum(-1)
    by_b = (a[..., :, :, None] * g[..., :, None, :]).sum(-3)
    np.testing.assert_array_equal(one.grad.numpy(), summed_to(by_a, a.shape).reshape(x.shape))
    np.testing.assert_array_equal(other.grad.numpy(), summed_to(by_b, b.shape).reshape(y.shape))


def test_errors_name_both_shapes():
    for name in (*ARITHMETIC, *COMPARISONS, *LOGIC, "matmul"):
        with pytest.raises(ValueError, match=r"\(3,\).*\(4,\)"):
            getattr(lucid, name)(lucid.ones(3), lucid.ones(4))
    with pytest.raises(ValueError, match=r"\(3,\).*\(4,\)"):
        lucid.where(lucid.ones(3), lucid.ones(4), 0)
