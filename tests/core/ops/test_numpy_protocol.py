"""NumPy functions on tensors."""

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F
from lucid.ops.numpy_protocol import _FUNCTIONS, _UFUNCS

A = np.array([[0.52, 0.27, 0.74], [0.13, 1.61, 0.38]])
B = np.array([[1.1, 2.3, 0.47], [4.2, 0.29, 2.4]])

#: A call of every supported NumPy function.
CALLS = {
    np.sum: lambda x: np.sum(x, axis=0),
    np.mean: lambda x: np.mean(x, keepdims=True),
    np.prod: lambda x: np.prod(x, 1),
    np.max: lambda x: np.max(x, axis=1),
    np.amax: np.amax,
    np.min: lambda x: np.min(x, axis=(0, 1)),
    np.amin: np.amin,
    np.var: lambda x: np.var(x, 0) + np.var(x, axis=0, ddof=1),
    np.std: lambda x: np.std(x, axis=1),
    np.cumsum: lambda x: np.sum(np.cumsum(x)) + np.cumsum(x, axis=1),
    np.clip: lambda x: (
        np.clip(x, 0.3, 1.0) + np.clip(x, a_min=None, a_max=1) + np.clip(x, 0.5, None)
    ),
    np.round: lambda x: np.round(x, 1) + x,
    np.around: lambda x: np.around(x) * x,
    np.linalg.norm: lambda x: np.linalg.norm(x) + np.linalg.norm(x, axis=1),
    np.reshape: lambda x: np.reshape(x, (3, -1)),
    np.ravel: np.ravel,
    np.transpose: lambda x: np.transpose(x) + np.transpose(x, (1, 0)),
    np.swapaxes: lambda x: np.swapaxes(x, 0, 1),
    np.expand_dims: lambda x: np.expand_dims(x, 1),
    np.squeeze: lambda x: np.squeeze(x[:1]),
    np.broadcast_to: lambda x: np.broadcast_to(x, (4, 2, 3)),
    np.flip: lambda x: np.flip(x, 1),
    np.repeat: lambda x: np.sum(np.repeat(x, 2)) + np.repeat(x, 3, axis=1),
    np.tile: lambda x: np.tile(x, (2, 1)),
    np.tril: np.tril,
    np.triu: lambda x: np.triu(x, 1),
    np.moveaxis: lambda x: np.moveaxis(x, 0, -1),
    np.roll: lambda x: np.roll(x, 1, axis=0),
    np.concatenate: lambda x: np.sum(np.concatenate([x, x * 2], axis=None)) + np.concatenate([x]),
    np.stack: lambda x: np.stack([x, x * 3], axis=1),
    np.where: lambda x: np.where(A > 0.3, x, 0.0),
    np.einsum: lambda x: np.einsum("ij,kj->ik", x, x),
    np.dot: lambda x: np.dot(x, B.T) + np.dot(x[0], x[1]),
}


def gradients(call, *values):
    """Value and gradients of a weighted sum of the result, by recording."""
    leaves = [lucid.tensor(v, requires_grad=True) for v in values]
    y = call(*leaves)
    assert isinstance(y, lucid.Tensor)
    weights = np.cos(np.arange(y.size)).reshape(y.shape)
    (y * weights).sum().backward()
    return y.numpy(), [leaf.grad.numpy() for leaf in leaves]


def slopes(call, *values):
    """Value and gradients by NumPy and finite differences."""
    y = call(*values)
    weights = np.cos(np.arange(np.size(y))).reshape(np.shape(y))
    result = []
    for i, value in enumerate(values):
        slope = np.zeros_like(value)
        for place in np.ndindex(value.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [v.copy() for v in values]
                moved[i][place] += step
                ends.append((call(*moved) * weights).sum())
            slope[place] = (ends[0] - ends[1]) / 2e-6
        result.append(slope)
    return y, result


def check(call, *values):
    value, found = gradients(call, *values)
    expected, wanted = slopes(call, *values)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_every_supported_function_is_tested():
    assert set(CALLS) == set(_FUNCTIONS)


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f.__name__)
def test_numpy_functions_are_recorded(function):
    check(CALLS[function], A)


@pytest.mark.parametrize("name", [n for n in _UFUNCS if not n.startswith(("bitwise", "invert"))])
def test_ufuncs_are_recorded(name):
    ufunc = getattr(np, name)
    if name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
        y = ufunc(lucid.tensor(A, requires_grad=True), B)
        assert not getattr(y, "requires_grad", False)
        np.testing.assert_array_equal(y, ufunc(A, B))
    elif name == "matmul":
        check(lambda x, y: np.matmul(x, np.transpose(y)), A, B)
    elif ufunc.nin == 2:
        check(ufunc, A, B)
        check(lambda x: ufunc(B, x), A)
    else:
        check(ufunc, A)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.arctan2(x, 1.0),
        np.exp2,
        np.add.reduce,
        lambda x: np.multiply.outer(x, x),
        lambda x: np.exp(x, dtype=np.float64),
        lambda x: np.linalg.inv(x[:, :2]),
        lambda x: np.linalg.norm(x, 1),
        lambda x: np.sort(x),
        lambda x: np.sum(x, where=A > 1),
        lambda x: np.interp(x, [0, 1], [0, 2]),
        lambda x: np.add(x, 1, out=np.zeros_like(A)),
        lambda x: np.copyto(np.zeros_like(A), x),
        lambda x: np.add.at(np.zeros(3), [0, 1, 1], x[0]),
        lambda x: np.fft.fft(x),
        lambda x: np.zeros_like(A).__iadd__(x),
        lambda x: np.concatenate([x, x], out=np.zeros((4, 3))),
        lambda x: np.asarray(x) * x,
        lambda x: x + np.asarray(x),
        lambda x: np.array(x) * x,
        lambda x: np.asarray(x, np.float32) * x,
        lambda x: lucid.matmul(np.asarray(x), B.T),
        lambda x: x[0] + [x[0, 0], x[0, 1], x[0, 2]],
        lambda x: lucid.full((2, 2), x[0, 0]),
    ],
)
def test_unsupported_functions_raise(call):
    x = lucid.tensor(A, requires_grad=True)
    with pytest.raises(TypeError, match=r"gradient"):
        call(x)
    with lucid.no_grad():
        call(x)
    call(x.detach())


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (np.argmax, 4),
        (np.shape, (2, 3)),
        (np.ndim, 2),
        (np.isnan, np.zeros((2, 3), bool)),
        (lambda x: np.allclose(x, A), True),
        (np.argsort, np.argsort(A)),
        (np.zeros_like, np.zeros((2, 3))),
        (lambda x: np.count_nonzero(x > 0.3), 4),
    ],
)
def test_functions_without_gradient_are_computed(call, expected):
    np.testing.assert_array_equal(call(lucid.tensor(A, requires_grad=True)), expected)


def test_inplace_ufunc_on_an_array():
    a = b = np.zeros(3, np.float32)
    a += lucid.ones(3)
    a *= lucid.tensor(3.0)
    a[1:] -= lucid.ones(2)
    assert a is b
    assert b.tolist() == [3, 2, 2]
    counts = np.zeros(2, np.int64)
    with pytest.raises(TypeError, match="same_kind"):
        counts += lucid.ones(2)


def test_numpy_writes_to_a_tensor():
    x, w = lucid.zeros(3), lucid.ones(3, requires_grad=True)
    y = (w * x).sum()
    assert np.add(x, 1, out=x) is x
    assert np.sum(np.ones((2, 3)), axis=0, out=x) is x
    np.add.at(x, [0, 0], 1)
    np.copyto(x[1:], 7)
    assert x.tolist() == [4, 7, 7]
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    with pytest.raises(ValueError, match="read-only"):
        np.copyto(x.expand(2, 3), 0)


def test_arrays_on_the_left_follow_the_rules_of_lucid():
    x = lucid.tensor([1, 2])
    assert (np.array([1.5, 2.5]) * x).dtype == np.float64
    assert (np.float64(0.5) * x).dtype == np.float32
    with pytest.raises(ZeroDivisionError):
        np.array([1, 2]) // lucid.tensor([1, 0])


def test_tensors_from_tensors():
    x = lucid.tensor([1.0, 2.0], requires_grad=True)
    y = lucid.tensor([[x[0] * 2, 5], (x[1], 1.0)])
    assert y.tolist() == [[2, 5], [2, 1]]
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 1])
    assert lucid.tensor([x[0], x[1]], dtype="float64").requires_grad
    assert lucid.as_tensor([x[0], x[1]]).requires_grad
    assert lucid.as_tensor(x, "float64").requires_grad
    assert not lucid.tensor(x).requires_grad
    assert not lucid.tensor([x[0].detach(), 1.0]).requires_grad
    with lucid.no_grad():
        assert not lucid.tensor([x[0], x[1]]).requires_grad
    assert float(x[0]) == 1.0
    assert nn.Parameter(np.asarray(x)).tolist() == [1, 2]


@pytest.mark.parametrize(
    "call",
    [
        lambda w: F.cross_entropy(lucid.zeros(2, 3), [0, 1], weight=w),
        lambda w: F.nll_loss(lucid.zeros(2, 3), [0, 1], weight=w),
        lambda w: F.binary_cross_entropy_with_logits(lucid.zeros(3), lucid.ones(3), weight=w),
        lambda w: F.binary_cross_entropy_with_logits(lucid.zeros(3), lucid.ones(3), pos_weight=w),
        lambda w: F.batch_norm(lucid.zeros(1, 3, 2, 2), w, lucid.ones(3)),
        lambda w: lucid.pad(lucid.zeros(2), 1, value=w[0]),
    ],
)
def test_arguments_without_derivative_raise(call):
    w = lucid.ones(3, requires_grad=True)
    with pytest.raises(TypeError, match=r"pass \w+\.detach\(\)"):
        call(w)
    call(w.detach())
