"""The gradient check itself must catch what it is for."""

import numpy as np
import pytest

import lucid
from lucid.autograd import record
from lucid.testing import gradcheck


def leaf():
    return lucid.Tensor(np.array([1.0, 2.0]), requires_grad=True)


def test_a_right_derivative_passes():
    assert gradcheck(lambda x: record(x.data**2, (x, lambda g: 2 * x.data * g)), [leaf()]) is True


def test_a_wrong_derivative_is_caught():
    with pytest.raises(AssertionError, match="gradient of input 0"):
        gradcheck(lambda x: record(x.data**2, (x, lambda g: x.data * g)), [leaf()])


def test_a_missing_derivative_is_caught():
    with pytest.raises(AssertionError, match="gradient of input 0"):
        gradcheck(lambda x: lucid.Tensor(x.data * 2), [leaf()])


def test_writing_into_the_gradient_is_caught():
    def vjp(g):
        g *= 2
        return g

    with pytest.raises(AssertionError, match="wrote into the gradient"):
        gradcheck(lambda x: record(x.data * 2, (x, vjp)), [leaf()])


def test_handing_out_memory_of_the_output_is_caught():
    def double(x):
        value = np.exp(x.data)
        return record(value, (x, lambda g: value))

    with pytest.raises(AssertionError, match="returned memory"):
        gradcheck(double, [leaf()])


def test_needs_float64():
    with pytest.raises(ValueError, match="float64"):
        gradcheck(lucid.exp, [lucid.ones(2, requires_grad=True)])


def test_one_tensor_is_one_input():
    x = lucid.ones(2, 3, dtype="float64", requires_grad=True)
    assert gradcheck(lambda x: (x * x).sum(axis=0), x)
    with pytest.raises(TypeError, match=r"'raise_exception': leave it out"):
        gradcheck(lambda x: x * x, x, raise_exception=False)
