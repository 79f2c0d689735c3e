"""Reductions against NumPy: axes, empty arrays, NaN and errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy_oracle import DTYPES, FLOATS, agree, arrays, examples, shapes

import lucid


@st.composite
def axes(draw, ndim):
    """None, one axis or several; occasionally out of range or repeated."""
    number = (
        st.integers(-ndim, ndim - 1) if ndim and draw(st.integers(0, 9)) else st.integers(-5, 4)
    )
    kind = draw(st.sampled_from(["none", "one", "one", "several", "several"]))
    if kind == "none":
        return None
    if kind == "one":
        return draw(number)
    several = draw(st.lists(number, max_size=max(ndim, 1)))
    if draw(st.integers(0, 9)):
        several = list({n % ndim if ndim else n: n for n in several}.values())
    return tuple(several)


@st.composite
def reductions(draw, dtypes=DTYPES, special=False):
    """Array, axes and keepdims."""
    x = draw(arrays(shapes(), dtypes, special))
    return x, draw(axes(x.ndim)), draw(st.booleans())


def of_a_scalar(x, axis):
    """Axis for NumPy; not all its reductions accept axis 0 and -1 for scalars."""
    return None if x.ndim == 0 and isinstance(axis, int) and axis in (0, -1) else axis


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all"])
@examples(120)
@given(case=reductions(special=True))
def test_values_and_errors(name, case):
    x, axis, keepdims = case
    rtol = 1e-5 if name == "prod" and x.dtype.kind == "f" else 0  # another order of multiplication
    for call in (getattr(lucid, name), lambda t, *args: getattr(t, name)(*args)):
        agree(
            lambda call=call: call(lucid.Tensor(x), axis, keepdims),
            lambda: getattr(np, name)(x, axis=axis, keepdims=keepdims),
            rtol,
        )


@examples(120)
@given(case=reductions(special=True))
def test_mean(case):
    """Convert integers and booleans to float32; NumPy computes in float64."""
    x, axis, keepdims = case
    a = x if x.dtype.kind == "f" else x.astype("float32")
    agree(
        lambda: lucid.mean(lucid.Tensor(x), axis, keepdims),
        lambda: a.mean(axis=of_a_scalar(x, axis), keepdims=keepdims),
        rtol=1e-6,
    )


@pytest.mark.parametrize("name", ["var", "std"])
@examples(120)
@given(case=reductions(special=True), correction=st.sampled_from([0, 1, 1, 2, 5, 0.5]))
def test_variance_and_deviation(name, case, correction):
    x, axis, keepdims = case
    a = x if x.dtype.kind == "f" else x.astype("float32")
    agree(
        lambda: getattr(lucid, name)(lucid.Tensor(x), axis, correction, keepdims),
        lambda: getattr(np, name)(a, axis=of_a_scalar(x, axis), ddof=correction, keepdims=keepdims),
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@examples(120)
@given(case=reductions(special=True))
def test_places_of_extrema(name, case):
    x, axis, keepdims = case
    agree(
        lambda: getattr(lucid, name)(lucid.Tensor(x), axis, keepdims),
        lambda: getattr(np, name)(x, axis=axis, keepdims=keepdims),
    )


@examples(120)
@given(case=reductions(special=True))
def test_logsumexp(case):
    x, axis, keepdims = case
    a = x if x.dtype.kind == "f" else x.astype("float32")
    agree(
        lambda: lucid.logsumexp(lucid.Tensor(x), axis, keepdims),
        lambda: np.log(np.exp(a).sum(axis=of_a_scalar(x, axis), keepdims=keepdims)),
        rtol=1e-5,
    )


@examples(120)
@given(case=reductions(special=True))
def test_cumsum(case):
    x, axis, _ = case
    if axis is None or x.ndim == 0:
        return  # PyTorch and Lucid require an axis
    agree(lambda: lucid.cumsum(lucid.Tensor(x), axis), lambda: np.cumsum(x, axis=axis))


@examples(60)
@given(
    x=arrays(shapes(least=1), FLOATS),
    order=st.sampled_from([None, 2, 1, 3, 0, -1, np.inf, -np.inf]),
    data=st.data(),
)
def test_norm_of_one_axis_is_numpys(x, order, data):
    axis = data.draw(st.integers(-x.ndim - 1, x.ndim - 1))
    if np.inf == order and 0 in x.shape:
        return  # NumPy raised another error first
    agree(
        lambda: lucid.norm(lucid.Tensor(x), 2 if order is None else order, axis),
        lambda: np.linalg.norm(x, order, axis=axis),
        rtol=1e-5,
    )


def test_cumsum_requires_an_axis():
    with pytest.raises(TypeError, match="axis, got None"):
        lucid.cumsum(lucid.ones(3), None)
    with pytest.raises(np.exceptions.AxisError, match="axis 0 is out of bounds"):
        lucid.cumsum(lucid.tensor(1.0), 0)


@examples(200)
@given(
    case=reductions(special=True),
    order=st.sampled_from([2, 2, 1, 3, 0.5, 0, -1, np.inf, -np.inf]),
)
def test_norm(case, order):
    """Vector norm over all axes; NumPy computes a matrix norm for two axes."""
    x, axis, keepdims = case
    a = x if x.dtype.kind == "f" else x.astype("float32")

    def theirs():
        options = {"axis": of_a_scalar(x, axis), "keepdims": keepdims}
        size = np.abs(a)
        if np.isinf(order):
            return size.max(initial=0, **options) if order > 0 else size.min(**options)
        if order == 0:
            return (a != 0).sum(**options).astype(a.dtype)
        return (size**order).sum(**options) ** (1 / order)

    agree(lambda: lucid.norm(lucid.Tensor(x), order, axis, keepdims), theirs, rtol=1e-5)


@pytest.mark.parametrize("axis", [1.0, "0", [0.5], (0, None), True], ids=repr)
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "var", "any", "logsumexp", "norm"])
def test_axis_must_be_an_integer(name, axis):
    with pytest.raises(TypeError, match="integer axis"):
        getattr(lucid, name)(lucid.ones(2, 3), axis=axis)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "std", "logsumexp", "norm"])
@pytest.mark.parametrize("axis", [0, -1, None, ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_scalar_reduced_along_an_axis(name, axis, keepdims):
    options = {"correction": 0} if name == "std" else {}
    x = lucid.tensor(2.5, requires_grad=True)
    y = getattr(lucid, name)(x, axis=axis, keepdims=keepdims, **options)
    assert (y.shape, y.item()) == ((), 0 if name == "std" else 2.5)
    if name != "std":  # not differentiable there
        y.backward()
        assert (x.grad.shape, x.grad.item()) == ((), 1)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "var", "logsumexp", "norm"])
@examples(40)
@given(case=reductions(dtypes=FLOATS))
def test_gradient_over_several_axes(name, case):
    """A reduction over several axes equals one over their flattened axis."""
    x, axis, keepdims = case
    if name in ("max", "min") and not x.size:
        return
    function = getattr(lucid, name)
    chosen = axis if isinstance(axis, tuple) else tuple(range(x.ndim)) if axis is None else (axis,)
    if any(not -x.ndim <= i < x.ndim for i in chosen) or len(
        {i % x.ndim for i in chosen if x.ndim}
    ) < len(chosen):
        return
    leaf = lucid.tensor(x, requires_grad=True)
    y = function(leaf, axis=axis, keepdims=keepdims)
    gradient = np.arange(1.0, y.size + 1).reshape(y.shape)
    y.backward(gradient)
    inner = [i % x.ndim for i in chosen]
    outer = [i for i in range(x.ndim) if i not in inner]
    turned = x.transpose(outer + inner)
    rows = lucid.tensor(
        turned.reshape(y.size, int(np.prod([x.shape[i] for i in inner]))), requires_grad=True
    )
    function(rows, axis=1).backward(gradient.reshape(-1))
    back = rows.grad.numpy().reshape(turned.shape).transpose(np.argsort(outer + inner))
    np.testing.assert_allclose(leaf.grad.numpy(), back, rtol=1e-5, atol=1e-6)


def test_sum_of_narrow_integers_is_int64():
    """NumPy sums unsigned integers as unsigned."""
    x = lucid.tensor([200, 100], dtype="uint8")
    for y in (x.sum(), x.prod(), x.cumsum(0), lucid.tensor([True]).prod()):
        assert y.dtype == np.int64
    assert (x.sum().item(), x.prod().item(), x.cumsum(0).tolist()) == (300, 20000, [200, 300])


def test_mean_of_float16_does_not_overflow():
    x = np.full(70000, 2, np.float16)
    assert lucid.mean(x).dtype == np.float16
    assert lucid.mean(x).item() == 2
    x[::2] = -2
    assert lucid.var(x).dtype == np.float16
    assert lucid.var(x).item() == 4


def test_nan_propagates_in_max_and_min():
    x = lucid.tensor([[1.0, np.nan, np.nan], [1.0, 3.0, 3.0]], requires_grad=True)
    x.max(1).sum().backward()
    np.testing.assert_array_equal(x.grad, [[0, 0.5, 0.5], [0, 0.5, 0.5]])
    x.grad = None
    x.min().backward()
    np.testing.assert_array_equal(x.grad, [[0, 0.5, 0.5], [0, 0, 0]])


def test_max_of_no_elements_raises():
    for name in ("max", "min", "argmax", "argmin"):
        with pytest.raises(ValueError, match=r"zero-size|empty"):
            getattr(lucid, name)(lucid.zeros(2, 0), axis=1)
