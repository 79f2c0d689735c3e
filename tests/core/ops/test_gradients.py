"""Every differentiable operation against differences, in float64."""

import numpy as np
import pytest

import lucid
from lucid.testing import gradcheck

rng = np.random.default_rng(1)


def t(*shape, low=None, high=None):
    data = rng.standard_normal(shape) if low is None else rng.uniform(low, high, shape)
    return lucid.Tensor(data, requires_grad=True)


CASES = {
    "abs": (lucid.abs, [t(3, 4)]),
    "add": (lucid.add, [t(3, 1, 2), t(4, 1)]),
    "astype": (lambda x: lucid.astype(x, "float64"), [t(3)]),
    "broadcast_to": (lambda x: lucid.broadcast_to(x, (2, 3, 4)), [t(3, 1)]),
    "ceil": (lucid.ceil, [t(3, 4)]),
    "chunk": (lambda x: lucid.chunk(x, 3, 1), [t(2, 5)]),
    "clip": (lambda x: lucid.clip(x, -0.5, 0.6), [t(3, 4)]),
    "clone": (lucid.clone, [t(3)]),
    "concatenate": (lambda x, y: lucid.concatenate([x, y], 1), [t(2, 3), t(2, 1)]),
    "contiguous": (lambda x: lucid.contiguous(x.T), [t(2, 3)]),
    "conv2d": (
        lambda x, w, b: lucid.conv2d(x, w, b, stride=2, padding=1),
        [t(2, 3, 5, 4), t(4, 3, 3, 2), t(4)],
    ),
    "conv2d groups": (
        lambda x, w: lucid.conv2d(x, w, padding=1, groups=3),
        [t(1, 3, 4, 4), t(6, 1, 3, 3)],
    ),
    "conv2d dilation": (
        lambda x, w: lucid.conv2d(x, w, padding=((0, 2), (1, 0)), dilation=2),
        [t(1, 2, 6, 7), t(3, 2, 2, 3)],
    ),
    "conv2d more padding than kernel": (
        lambda x, w: lucid.conv2d(x, w, padding=3),
        [t(1, 2, 3, 3), t(2, 2, 2, 2)],
    ),
    "conv2d pointwise": (lucid.conv2d, [t(2, 3, 4, 4), t(5, 3, 1, 1), t(5)]),
    "cos": (lucid.cos, [t(3, 4)]),
    "cumsum": (lambda x: lucid.cumsum(x, 1), [t(2, 4)]),
    "divide": (lucid.divide, [t(3, 2), t(2, low=1, high=2)]),
    "einsum": (lambda x, y: lucid.einsum("bij,bjk->bik", x, y), [t(2, 3, 2), t(2, 2, 4)]),
    "einsum three": (
        lambda x, y, z: lucid.einsum("ij,jk,k->i", x, y, z),
        [t(2, 3), t(3, 4), t(4)],
    ),
    "einsum diagonal": (lambda x: lucid.einsum("ii->i", x), [t(3, 3)]),
    "einsum summed away": (lambda x, y: lucid.einsum("ij,k->k", x, y), [t(2, 3), t(2)]),
    "einsum ellipsis": (lambda x, y: lucid.einsum("...i,...i", x, y), [t(2, 1, 3), t(4, 3)]),
    "erf": (lucid.erf, [t(3, 4)]),
    "exp": (lucid.exp, [t(3, 4)]),
    "expand": (lambda x: lucid.expand(x, 4, -1, 3), [t(2, 1)]),
    "flatten": (lambda x: lucid.flatten(x, 1, 2), [t(2, 3, 2, 2)]),
    "flip": (lambda x: lucid.flip(x, (0, 2)), [t(2, 3, 2)]),
    "floor": (lucid.floor, [t(3, 4)]),
    "floor_divide": (lucid.floor_divide, [t(3, 4), t(4, low=1, high=2)]),
    "gather": (lambda x: lucid.gather(x, 1, [[0, 0, 2], [1, 1, 1]]), [t(3, 3)]),
    "linear": (lucid.linear, [t(2, 3, 4), t(5, 4), t(5)]),
    "log": (lucid.log, [t(3, 4, low=0.5, high=2)]),
    "logsumexp": (lambda x: lucid.logsumexp(x, (0, 2), keepdims=True), [t(2, 3, 2)]),
    "matmul": (lucid.matmul, [t(2, 1, 3, 2), t(4, 2, 3)]),
    "matmul vectors": (lucid.matmul, [t(3), t(3)]),
    "matmul vector left": (lucid.matmul, [t(3), t(2, 3, 2)]),
    "matmul vector right": (lucid.matmul, [t(2, 4, 3), t(3)]),
    "max": (lambda x: lucid.max(x, (0, 1)), [t(2, 3, 2)]),
    "max all": (lucid.max, [t(2, 3)]),
    "maximum": (lucid.maximum, [t(3, 4), t(4)]),
    "mean": (lambda x: lucid.mean(x, -1), [t(2, 3)]),
    "min": (lambda x: lucid.min(x, 1, keepdims=True), [t(2, 3)]),
    "minimum": (lucid.minimum, [t(3, 4), t(3, 1)]),
    "moveaxis": (lambda x: lucid.moveaxis(x, 0, 2), [t(2, 3, 4)]),
    "multiply": (lucid.multiply, [t(3, 1), t(2, 1, 4)]),
    "negative": (lucid.negative, [t(3)]),
    "norm": (lambda x: lucid.norm(x, 3, 1), [t(3, 4)]),
    "norm 1": (lambda x: lucid.norm(x, 1), [t(3, 4)]),
    "norm inf": (lambda x: lucid.norm(x, np.inf, 0), [t(3, 4)]),
    "pad": (lambda x: lucid.pad(x, [(1, 0), (2, 3)], "constant", 7.0), [t(2, 3)]),
    "permute": (lambda x: lucid.permute(x, 2, 0, 1), [t(2, 3, 4)]),
    "positive": (lucid.positive, [t(3)]),
    "pow": (lucid.pow, [t(3, 4, low=0.5, high=2), t(4)]),
    "pow of negative": (lambda x: lucid.power(x, 3), [t(3, 4)]),
    "power": (lambda x: 2.0**x, [t(3)]),
    "prod": (lambda x: lucid.prod(x, (0, 2)), [t(2, 3, 2)]),
    "reciprocal": (lucid.reciprocal, [t(3, low=1, high=2)]),
    "remainder": (lucid.remainder, [t(3, 4), t(4, low=1, high=2)]),
    "repeat_interleave": (lambda x: lucid.repeat_interleave(x, 3, 1), [t(2, 3)]),
    "reshape": (lambda x: lucid.reshape(x, 3, -1), [t(2, 3, 2)]),
    "roll": (lambda x: lucid.roll(x, (1, 2), (0, 1)), [t(3, 4)]),
    "round": (lucid.round, [t(3, 4)]),
    "scatter_add": (
        lambda x, s: lucid.scatter_add(x, 0, [[0, 1], [0, 1], [2, 1]], s),
        [t(3, 2), t(3, 2)],
    ),
    "sigmoid": (lucid.sigmoid, [t(3, 4)]),
    "sign": (lucid.sign, [t(3, 4)]),
    "sin": (lucid.sin, [t(3, 4)]),
    "sort": (lambda x: lucid.sort(x, 0, descending=True)[0], [t(4, 2)]),
    "split": (lambda x: lucid.split(x, [1, 3], 1), [t(2, 4)]),
    "sqrt": (lucid.sqrt, [t(3, low=0.5, high=2)]),
    "square": (lucid.square, [t(3)]),
    "squeeze": (lambda x: lucid.squeeze(x, 1), [t(2, 1, 3)]),
    "stack": (lambda x, y: lucid.stack([x, y], -1), [t(2, 3), t(2, 3)]),
    "std": (lambda x: lucid.std(x, 1), [t(2, 4)]),
    "subtract": (lucid.subtract, [t(3, 4), t(4)]),
    "sum": (lambda x: lucid.sum(x, (0, -1)), [t(2, 3, 2)]),
    "tan": (lucid.tan, [t(3, low=-1, high=1)]),
    "tanh": (lucid.tanh, [t(3)]),
    "tile": (lambda x: lucid.tile(x, (2, 1, 3)), [t(2, 2)]),
    "topk": (lambda x: lucid.topk(x, 2, 1)[0], [t(3, 4)]),
    "transpose": (lambda x: lucid.transpose(x, 0, 2), [t(2, 3, 4)]),
    "tril": (lambda x: lucid.tril(x, -1), [t(3, 4)]),
    "triu": (lambda x: lucid.triu(x, 1), [t(2, 3, 4)]),
    "unsqueeze": (lambda x: lucid.unsqueeze(x, 1), [t(2, 3)]),
    "var": (lambda x: lucid.var(x, (0, 1), correction=0, keepdims=True), [t(2, 3, 2)]),
    "where": (lambda x, y: lucid.where([True, False, True], x, y), [t(2, 3), t(3)]),
    "index": (lambda x: x[1:, ::-1, None], [t(3, 4)]),
    "index repeated": (lambda x: x[[0, 2, 0, 0]], [t(3, 2)]),
    "index mask": (lambda x: x[np.array([True, False, True])], [t(3, 2)]),
    "index mixed": (lambda x: x[..., [1, 1], 0], [t(2, 3, 2)]),
    "shared": (lambda x: x * lucid.exp(x) + x @ x, [t(3, 3)]),
}

#: Operations whose results are integers or booleans, or that differentiate nothing.
NOT_DIFFERENTIABLE = {
    "all", "any", "argmax", "argmin", "argsort", "bitwise_and", "bitwise_or", "bitwise_xor",
    "equal", "greater", "greater_equal", "invert", "isfinite", "isinf", "isnan", "less",
    "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "nonzero",
    "not_equal", "one_hot", "unique",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradient(name):
    function, inputs = CASES[name]
    gradcheck(function, inputs)


def test_every_operation_is_here_or_beside():
    """Operations of layers have gradient tests in the files named after their modules."""
    from lucid import ops

    beside = {
        name
        for name in ops.__all__
        if getattr(ops, name).__module__.rpartition(".")[2]
        in ("activation", "conv_transpose", "image", "loss", "norm", "pool", "resize")
    }
    tested = {name.split()[0] for name in CASES}
    assert set(ops.__all__) - tested - NOT_DIFFERENTIABLE - beside == set()


def test_prod_with_zeros():
    x = lucid.tensor([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0]], requires_grad=True)
    x.prod(1).sum().backward()
    np.testing.assert_array_equal(x.grad, [[6, 0, 0], [0, 0, 0]])


def test_ties_share_the_gradient():
    x = lucid.tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    np.testing.assert_array_equal(x.grad, [0, 0.5, 0.5])
    a = lucid.tensor([1.0], requires_grad=True)
    b = lucid.tensor([1.0], requires_grad=True)
    lucid.maximum(a, b).backward()
    assert (a.grad.item(), b.grad.item()) == (0.5, 0.5)


def test_norm_of_zeros_has_no_slope():
    x = lucid.zeros(3, requires_grad=True)
    x.norm().backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 0])


def test_power_at_zero():
    x = lucid.tensor([0.0, 2.0], requires_grad=True)
    (x**0).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0])
    x.grad = None
    y = lucid.tensor([2.0, 3.0], requires_grad=True)
    (x**y).sum().backward()
    np.testing.assert_allclose(x.grad, [0, 12])
    np.testing.assert_allclose(y.grad, [0, 8 * np.log(2)], rtol=1e-6)
