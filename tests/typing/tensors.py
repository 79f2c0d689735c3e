"""Tensors, operators, methods, functions and gradients."""

from typing import assert_type

import numpy as np

import lucid
from lucid.nn import functional as F

x = lucid.zeros(2, 3)
y = (x @ x.T).sum()
assert_type(x, lucid.Tensor)
assert_type(y, lucid.Tensor)
assert_type(lucid.random.randn(1, 3, 8, 8), lucid.Tensor)
assert_type(lucid.zeros((2, 3), dtype=lucid.float64), lucid.Tensor)
assert_type(lucid.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), lucid.Tensor)
assert_type(lucid.full((2,), 1.5), lucid.Tensor)
assert_type(lucid.arange(3), lucid.Tensor)

# Scalars and arrays as left and right operands.
array = np.ones((2, 3), np.float32)
for z in (x + 1, 2.5 * x, x / np.float64(2), x - array, -x, abs(x), x**2, 2**x, x // 2, x % 3):
    assert_type(z, lucid.Tensor)
assert_type(x > 0, lucid.Tensor)
assert_type(x == x, lucid.Tensor)
assert_type((x > 0) & ~(x < 1), lucid.Tensor)
assert_type(x[0], lucid.Tensor)
assert_type(x[:, ::2, None], lucid.Tensor)
assert_type(x[x > 0], lucid.Tensor)
assert_type([row for row in x], list[lucid.Tensor])  # noqa: C416 - what iterating gives

assert_type(x.reshape(3, 2).permute(1, 0).flatten(), lucid.Tensor)
assert_type(x.mean(axis=(0, 1), keepdims=True), lucid.Tensor)
assert_type(lucid.clip(x, 0, 1), lucid.Tensor)
assert_type(lucid.where(x > 0, x, 0), lucid.Tensor)
assert_type(lucid.concatenate([x, x], axis=1), lucid.Tensor)
assert_type(lucid.split(x, 1), list[lucid.Tensor])
assert_type(lucid.topk(x, 2), tuple[lucid.Tensor, lucid.Tensor])
assert_type(lucid.nonzero(x), tuple[lucid.Tensor, ...])
assert_type(lucid.unique(x), lucid.Tensor)
assert_type(lucid.einsum("ij,kj->ik", x, x), lucid.Tensor)
assert_type(F.softmax(x, axis=1), lucid.Tensor)
assert_type(F.cross_entropy(x, np.array([0, 2])), lucid.Tensor)
assert_type(F.max_pool2d(lucid.zeros(1, 1, 4, 4), 2), lucid.Tensor)

assert_type(x.shape, tuple[int, ...])
assert_type(x.requires_grad, bool)
assert_type(float(y), float)
assert_type(len(x), int)

w = lucid.ones(3, requires_grad=True)
loss = ((x + 1) @ w).pow(2).mean()
loss.backward()
assert w.grad is not None
assert_type(w.grad, lucid.Tensor)
with lucid.no_grad():
    w.copy_(w - 0.1 * w.grad)


@lucid.no_grad()
def predict(images: lucid.Tensor) -> lucid.Tensor:
    return images @ w


assert_type(predict(x), lucid.Tensor)
