"""Gradients of every operation and layer against finite differences, in float64."""

import numpy as np
import pytest
from op_db import OP_DB
from op_info import results
from run_op import leaves, run, same, seeds

import lucid
from lucid.testing import gradcheck

DIFFERENTIABLE = [key for key, op in OP_DB.items() if op.gradient]

#: Operations with floating results and no gradient, with the reason.
CONSTANT = {
    **dict.fromkeys(
        ("lucid.empty_like", "lucid.full_like", "lucid.ones_like", "lucid.zeros_like",
         "Tensor.fill_", "Tensor.zero_"),
        "the numbers do not depend on the argument's",
    ),
    **dict.fromkeys(
        ("lucid.from_dlpack", "lucid.from_numpy", "lucid.tensor"), "makes a leaf"
    ),
    "Tensor.detach": "cuts the graph",
    **dict.fromkeys(
        ("lucid.unique", "Tensor.unique"), "which elements are equal changes with every step"
    ),
}  # fmt: skip


@pytest.mark.parametrize("key", DIFFERENTIABLE)
def test_gradient(key):
    op = OP_DB[key]
    gradcheck(op, leaves(op.arrays("float64")))


def test_non_differentiable_ops_require_no_gradient():
    differentiated = {OP_DB[key].name for key in DIFFERENTIABLE}
    others = [e for e in OP_DB.values() if e.name not in differentiated]
    of_floats = {
        op.name
        for op in others
        if any(y.dtype.kind == "f" for y in results(op(*leaves(op.arrays("float64")))))
    }
    assert of_floats == set(CONSTANT)


@pytest.mark.parametrize("key", DIFFERENTIABLE)
def test_retain_graph(key):
    """A second pass adds the same gradients again."""
    op = OP_DB[key]
    arrays = op.arrays("float32")
    _, once = run(op, arrays)
    inputs = leaves(arrays)
    recorded = [y for y in results(op(*inputs)) if y.requires_grad]
    for last in (False, True):
        for y, seed in zip(recorded, seeds(recorded), strict=True):
            y.backward(seed, retain_graph=not (last and y is recorded[-1]))
    for x, g in zip((x for x in inputs if x.requires_grad), once, strict=True):
        same(x.grad, g * 2, "gradient after two passes")
    if not recorded[-1].is_leaf:
        with pytest.raises(RuntimeError, match="freed"):
            recorded[-1].backward(seeds(recorded)[-1])


@pytest.mark.parametrize(
    "key", [k for k, e in OP_DB.items() if e.two and e.gradient] + ["lucid.stack"]
)
def test_same_leaf_as_both_operands(key):
    op = OP_DB[key]
    values = np.random.default_rng(2).uniform(0.5, 2, (3, 4))
    apart, one = leaves([values, values.copy()]), lucid.tensor(values, requires_grad=True)
    y = op(*apart)
    y.backward(np.ones(y.shape))
    op(one, one).backward(np.ones(y.shape))
    np.testing.assert_allclose(one.grad, apart[0].grad.data + apart[1].grad.data, rtol=1e-12)


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


def test_norm_of_zeros_has_zero_gradient():
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
