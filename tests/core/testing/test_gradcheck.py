"""The gradient check must detect wrong gradients."""

import numpy as np
import pytest

import lucid
from lucid.autograd import record
from lucid.testing import gradcheck


def leaf():
    return lucid.Tensor(np.array([1.0, 2.0]), requires_grad=True)


def test_correct_gradient_passes():
    assert gradcheck(lambda x: record(x.data**2, (x, lambda g: 2 * x.data * g)), [leaf()]) is True


def test_wrong_gradient_fails():
    with pytest.raises(AssertionError, match="gradient of input 0"):
        gradcheck(lambda x: record(x.data**2, (x, lambda g: x.data * g)), [leaf()])


def test_missing_gradient_fails():
    with pytest.raises(AssertionError, match="gradient of input 0"):
        gradcheck(lambda x: lucid.Tensor(x.data * 2), [leaf()])


def test_vjp_that_modifies_gradient_fails():
    def vjp(g):
        g *= 2
        return g

    with pytest.raises(AssertionError, match="modified the gradient"):
        gradcheck(lambda x: record(x.data * 2, (x, vjp)), [leaf()])


def test_vjp_that_returns_memory_of_output_fails():
    def double(x):
        value = np.exp(x.data)
        return record(value, (x, lambda g: value))

    with pytest.raises(AssertionError, match="returned memory"):
        gradcheck(double, [leaf()])


def test_float32_input_is_rejected():
    with pytest.raises(ValueError, match="float64"):
        gradcheck(lucid.exp, [lucid.ones(2, requires_grad=True)])


def test_single_tensor_is_one_input():
    x = lucid.ones(2, 3, dtype="float64", requires_grad=True)
    assert gradcheck(lambda x: (x * x).sum(axis=0), x)
    with pytest.raises(TypeError, match=r"'raise_exception': leave it out"):
        gradcheck(lambda x: x * x, x, raise_exception=False)
