"""In-place operations and their gradients."""

import copy
import operator

import numpy as np
import pytest

import lucid
from lucid import nn

OPERATORS = {
    "+=": operator.iadd, "-=": operator.isub, "*=": operator.imul, "/=": operator.itruediv,
    "//=": operator.ifloordiv, "%=": operator.imod, "**=": operator.ipow, "@=": operator.imatmul,
}  # fmt: skip
BITWISE = {"&=": operator.iand, "|=": operator.ior, "^=": operator.ixor}


def square():
    return np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("other", [square()[::-1], lucid.tensor(square()[::-1])])
def test_inplace_writes_to_the_tensors_memory(name, other):
    x = lucid.tensor(square())
    alias, memory, view = x, x.numpy(), x[1]
    x = OPERATORS[name](x, other)
    expected = OPERATORS[name](square(), np.asarray(other))
    assert x is alias
    assert x.numpy() is memory
    np.testing.assert_allclose(x.numpy(), expected)
    np.testing.assert_allclose(view.numpy(), expected[1])


@pytest.mark.parametrize("name", BITWISE)
@pytest.mark.parametrize("values", [([True, False], [True, True]), ([6, 3], [5, 5])])
def test_bitwise_inplace(name, values):
    x = alias = lucid.tensor(values[0])
    x = BITWISE[name](x, lucid.tensor(values[1]))
    assert x is alias
    assert x.tolist() == BITWISE[name](np.array(values[0]), np.array(values[1])).tolist()


@pytest.mark.parametrize("name", [n for n in OPERATORS if n != "//="])
@pytest.mark.parametrize("leaf", ["left", "right", "both"])
def test_inplace_gradient_matches_out_of_place(name, leaf):
    def gradients(in_place):
        x = lucid.tensor(square(), requires_grad=leaf != "right")
        y = lucid.tensor(square()[::-1] * 0.5, requires_grad=leaf != "left")
        z = x * 2 if leaf != "right" else x.clone()
        if in_place:
            before = z
            z = OPERATORS[name](z, y)
            assert z is before
        else:
            z = getattr(operator, OPERATORS[name].__name__[1:])(z, y)
        (z * lucid.tensor([[1.0, 10.0], [100.0, 1000.0]])).sum().backward()
        return [None if t.grad is None else t.grad.numpy() for t in (x, y)]

    for actual, expected in zip(gradients(True), gradients(False), strict=True):
        if expected is None:
            assert actual is None
        else:
            np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_tensor_as_its_own_operand():
    x = lucid.tensor([2.0, 3.0], requires_grad=True)
    y = x * 1
    y *= y
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [4, 6])


def test_leaf_that_requires_grad_raises():
    x = lucid.ones(2, requires_grad=True)
    for change in (
        lambda: operator.iadd(x, 1),
        lambda: x.fill_(2),
        lambda: x.zero_(),
        lambda: x.copy_([2.0, 2.0]),
        lambda: x.__setitem__(0, 2),
    ):
        with pytest.raises(RuntimeError, match="no_grad"):
            change()
        assert x.tolist() == [1, 1]
        with lucid.no_grad():
            change()
        assert x.tolist() != [1, 1]
        with lucid.no_grad():
            x.fill_(1)
    assert x.requires_grad
    assert x.is_leaf


def test_manual_gradient_step():
    layer = nn.Linear(2, 1)
    weight, before = layer.weight, layer.weight.numpy().copy()
    layer(lucid.ones(3, 2)).sum().backward()
    with lucid.no_grad():
        for parameter in layer.parameters():
            parameter -= 0.5 * parameter.grad
    np.testing.assert_allclose(layer.weight.numpy(), before - 1.5)
    with lucid.no_grad():
        layer.weight += 1.5
    assert layer.weight is weight
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    weight.data -= 0.5 * weight.grad
    np.testing.assert_allclose(layer.weight.numpy(), before - 1.5, rtol=1e-6)
    with pytest.raises(RuntimeError, match="no_grad"):
        layer.weight *= 2


@pytest.mark.parametrize(
    ("x", "name", "other", "error", "words"),
    [
        (lucid.tensor([1, 2]), "+=", 0.5, TypeError, "dtype int64, got float32"),
        (lucid.tensor([1, 2]), "/=", 2, TypeError, "dtype int64, got float32"),
        (lucid.tensor([True]), "+=", 1, TypeError, "dtype bool, got int64"),
        (lucid.tensor([1], "uint8"), "+=", lucid.tensor([1]), TypeError, "dtype uint8"),
        (lucid.tensor([1], "uint8"), "+=", 300, OverflowError, "300"),
        (lucid.ones(2), "+=", lucid.ones(3, 2), ValueError, r"\(2,\), got \(3, 2\)"),
        (lucid.ones(2, 3), "@=", lucid.ones(3, 2), ValueError, r"shape \(2, 3\)"),
        (lucid.ones(3).expand(2, 3), "+=", 1, ValueError, "read-only"),
        (lucid.tensor([3, 4]), "//=", 0, ZeroDivisionError, "zero"),
        (lucid.tensor([3, 4]), "%=", lucid.tensor([1, 0]), ZeroDivisionError, r"index \(1,\)"),
    ],
)
def test_results_that_do_not_fit_raise(x, name, other, error, words):
    before = x.tolist()
    with pytest.raises(error, match=words):
        OPERATORS[name](x, other)
    assert x.tolist() == before


def test_narrow_floats_accept_wide_ones():
    x = lucid.ones(2)
    x += lucid.tensor([1.0, 2.0], "float64")
    assert x.dtype == np.float32
    assert x.tolist() == [2, 3]


def test_assignment_to_elements_and_views():
    x = lucid.zeros(3, 2)
    x[1] += 1
    x[[0, 2]] -= 1
    x[:, 0] *= 5
    row = x[0]
    row += 10
    assert x.tolist() == [[5, 9], [5, 1], [-5, -1]]
    detached = x.detach()
    detached /= 2
    assert x[0].tolist() == [2.5, 4.5]


def test_assignment_is_recorded():
    value = lucid.tensor([1.0, 2.0], requires_grad=True)
    scale = lucid.tensor(3.0, requires_grad=True)
    out = lucid.zeros(4, 2)
    for i in range(4):
        out[i] = value * i
    out[3, :] = scale
    assert out.requires_grad
    out.sum().backward()
    np.testing.assert_array_equal(value.grad, [3, 3])
    np.testing.assert_array_equal(scale.grad, 2)


@pytest.mark.parametrize(
    ("index", "expected"),
    [([0, 1, 0], [0, 10, 100]), ([0, -3, 2], [0, 10, 100]), ([0, 1, 2], [1, 10, 100])],
)
def test_repeated_index_gives_gradient_to_the_last_value(index, expected):
    value = lucid.ones(3, requires_grad=True)
    out = lucid.zeros(3)
    out[index] = value * lucid.tensor([1.0, 10.0, 100.0])
    out.sum().backward()
    np.testing.assert_array_equal(value.grad, expected)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (1, 2), (3, 2), (1, 3, 2)])
def test_assigned_value_is_broadcast(shape):
    value = lucid.ones(*shape, requires_grad=True)
    out = lucid.zeros(3, 2)
    out[...] = value
    out.sum().backward()
    np.testing.assert_array_equal(value.grad, np.full(shape, 6 / value.size))


@pytest.mark.parametrize(
    "write", [lambda t, v: t.copy_(v), lambda t, v: t.fill_(v[0]), lambda t, v: t.__iadd__(v)]
)
def test_assigning_a_recorded_value_to_a_constant(write):
    value = lucid.ones(2, requires_grad=True)
    target = lucid.zeros(2)
    write(target, value)
    assert target.requires_grad
    assert not target.is_leaf
    target.sum().backward()
    assert value.grad.sum().item() == 2


def test_shared_memory_raises():
    w = lucid.ones(2, 3, requires_grad=True)
    base = lucid.zeros(2, 3)
    rows = [base[0]]
    for change in (
        lambda: operator.iadd(rows[0], w[0]),  # the base would miss the gradient
        lambda: operator.iadd(base, w),  # the row would miss it
        lambda: operator.imul(w[0], 2),  # a view of a leaf
        lambda: operator.iadd(w.view(-1), 1),
    ):
        with pytest.raises(RuntimeError, match="shared"):
            change()
    assert base.tolist() == [[0, 0, 0], [0, 0, 0]]
    y = w.exp()
    with pytest.raises(RuntimeError, match="shared"):
        y += 1  # saved by exp()
    rows.clear()
    base += w
    assert base.requires_grad


@pytest.mark.parametrize("size", [8, 80])  # NumPy and thread pool allocation
def test_residual_block_with_inplace_add(size):
    """Only the sum refers to the output of the last layer."""
    conv, norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
    x = lucid.random.rand(2, 3, size, size)

    def gradient(in_place):
        conv.zero_grad()
        y = norm(conv(x))
        if in_place:
            y += x
        else:
            y = y + x
        (y * y).sum().backward()
        return conv.weight.grad.numpy().copy()

    np.testing.assert_allclose(gradient(True), gradient(False), rtol=1e-3, atol=1e-3 * size)


def test_integer_overflow_raises():
    x = lucid.zeros(2, dtype="uint8")
    for write in (lambda: x.fill_(300), lambda: x.__setitem__(0, -1)):
        with pytest.raises(OverflowError):
            write()
    with pytest.raises(ValueError, match="NaN"):
        x[0] = float("nan")
    x[0] = 255
    assert x.tolist() == [255, 0]


def test_clone_has_its_own_memory():
    x = lucid.ones(2)
    for other in (copy.copy(x.clone()), copy.deepcopy(x), lucid.tensor(x)):
        other += 1
        assert x.tolist() == [1, 1]
