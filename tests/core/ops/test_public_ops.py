"""Every public operation: dtypes of results and gradients; completeness of the op db."""

from __future__ import annotations

import numpy as np
import pytest
from memory_layouts import native
from op_db import NOT_OPERATIONS, OP_DB, public_names
from op_info import results
from run_op import DTYPES, leaves, run, same, same_values

import lucid
from lucid import nn

ALL = pytest.mark.parametrize("key", OP_DB)


def test_every_public_op_is_in_the_op_db():
    public = set(public_names())
    called = {op.name for op in OP_DB.values()}
    # Functional passes on many functions of lucid itself.
    assert public - called - set(NOT_OPERATIONS) == set(), "add an op call, or say why not"
    assert called - public == set(), "no longer public"
    assert set(NOT_OPERATIONS) - public == set(), "no longer public"
    assert called & set(NOT_OPERATIONS) == set()


def test_every_public_op_has_an_empty_sample():
    """Except operations on single numbers, and those that raise for no elements."""
    never = {
        "nn.BatchNorm2d": "in training needs two values per channel",
    }
    may = {op.name for op in OP_DB.values() if op.may_be_empty}
    assert {op.name for op in OP_DB.values()} - may - set(never) == set()


# --- dtypes -------------------------------------------------------------------------------------


@ALL
def test_float_dtype_is_kept(key):
    op = OP_DB[key]
    for dtype in DTYPES:
        arrays = op.arrays(dtype)
        outputs, _ = run(op, arrays)
        for y in outputs:
            assert y.dtype in (dtype, "bool", "int64")
        with lucid.no_grad():
            same_values(op(*leaves(arrays)), outputs, f"{dtype}, no_grad()")
        if op.plain and dtype == "float32":
            same_values(op(*arrays), outputs, "NumPy arrays")


@ALL
def test_options_may_be_numpy_scalars(key):
    op = OP_DB[key]
    inputs = leaves(op.arrays("float32"))
    expected = results(op(*inputs))
    same_values(op.with_numpy_settings(*inputs), expected, "settings of NumPy's types")


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_have_the_dtype_of_the_input(dtype):
    lucid.random.seed(0)
    layers = [
        (nn.Conv2d(2, 3, 3), (2, 2, 5, 5)),
        (nn.ConvTranspose2d(2, 3, 3), (2, 2, 5, 5)),
        (nn.ConvNormAct(2, 3, 3), (2, 2, 5, 5)),
        (nn.BatchNorm2d(2), (2, 2, 5, 5)),
        (nn.GroupNorm(1, 2), (2, 2, 5, 5)),
        (nn.LayerNorm(5), (2, 5)),
        (nn.Linear(5, 2), (2, 5)),
    ]
    for layer, shape in layers:
        layer.to(dtype)
        layer(lucid.random.randn(*shape, dtype=dtype)).sum().backward()
        for name, parameter in layer.named_parameters():
            assert parameter.dtype == parameter.grad.dtype == dtype, f"{name} of {layer}"


SCALARS = [
    True, 2, 2.5, np.bool_(True), np.uint8(2), np.int32(2), np.int64(2), np.float16(2.5),
    np.float32(2.5), np.float64(2.5), np.array(True), np.array(2), np.array(2.5),
    np.array(2.5, ">f8"), np.array(2, ">i4"),
]  # fmt: skip
OPERANDS = [key for key, op in OP_DB.items() if op.two and op.samples[0].kind == "f"]
BITS = [key for key, op in OP_DB.items() if op.two and op.samples[0].kind == "i"]


@pytest.mark.parametrize("key", OPERANDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [False, True], ids=["array", "number"])
def test_float_dtype_is_kept_next_to_scalars(key, dtype, number):
    """On either side; a 0-d tensor is not a scalar."""
    op = OP_DB[key]
    values = np.random.default_rng(3).uniform(0.2, 4, () if number else (3, 4)).astype(dtype)
    for scalar in SCALARS:
        widened = lucid.Tensor(np.asarray(scalar).astype(dtype))
        for swapped in (False, True):
            x, y = leaves([values, values])
            result = op(*((scalar, x) if swapped else (x, scalar)))
            expected = op(*((widened, y) if swapped else (y, widened)))
            same(result, expected, f"{scalar!r}, swapped: {swapped}")
            assert result.dtype in (dtype, bool)
            if op.gradient:
                result.backward(np.ones(result.shape))
                expected.backward(np.ones(result.shape))
                same(x.grad, y.grad, f"gradient beside {scalar!r}, swapped: {swapped}")


@pytest.mark.parametrize("key", OPERANDS)
def test_integers_next_to_scalars(key):
    """Integers keep their dtype next to integers, and become float32 next to floats."""
    op = OP_DB[key]
    for dtype in ("uint8", "int32", "int64"):
        x = lucid.Tensor(np.arange(1, 13, dtype=dtype).reshape(3, 4))
        for scalar in SCALARS:
            for arguments in ((x, scalar), (scalar, x)):
                result = op(*arguments)
                if result.dtype == bool:
                    continue
                exact = np.asarray(scalar).dtype.kind != "f" and key != "lucid.divide"
                assert result.dtype == (dtype if exact else "float32"), repr(scalar)


@pytest.mark.parametrize("key", BITS)
def test_booleans_next_to_scalars(key):
    op = OP_DB[key]
    for dtype in ("bool", "uint8", "int32"):
        x = lucid.Tensor(np.arange(4).astype(dtype))
        for scalar in (s for s in SCALARS if np.asarray(s).dtype.kind == "b" or dtype != "bool"):
            if np.asarray(scalar).dtype.kind != "f":
                assert op(x, scalar).dtype == op(scalar, x).dtype == dtype


MIXED = [
    key
    for key, op in OP_DB.items()
    if op.name.startswith(("lucid.", "functional."))
    and [samples.kind for samples in op.samples].count("f") > 1
    # Integers are labels there, or not valid probabilities or masks.
    and key != "functional.cross_entropy of probabilities"
    and key != "functional.scaled_dot_product_attention with a mask"
    and not key.startswith("functional.sigmoid_focal_loss")
]


@pytest.mark.parametrize("key", MIXED)
def test_float_dtype_is_kept_next_to_integer_arrays(key):
    """On either side."""
    op = OP_DB[key]
    arrays = op.arrays("float32")
    for i, a in enumerate(arrays):
        if a.dtype.kind != "f":
            continue
        whole = [np.rint(b * 3 + 3).astype("int64") if j == i else b for j, b in enumerate(arrays)]
        widened = [b.astype("float32") if j == i else b for j, b in enumerate(whole)]
        same_values(op(*whole), results(op(*widened)), f"input {i}")


def test_integers_are_compared_exactly():
    x = lucid.tensor([0, 255], dtype="uint8")
    assert (x > -1).tolist() == [True, True]
    assert (x == 300).tolist() == [False, False]
    assert (x < np.int64(256)).tolist() == [True, True]
    big = lucid.tensor([2**60 + 1])
    assert (big == 2**60).tolist() == [False]
    assert (big > lucid.tensor([3], dtype="int8")).tolist() == [True]


OPERATORS = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "//": lambda x, y: x // y,
    "%": lambda x, y: x % y,
    "**": lambda x, y: x**y,
    "@": lambda x, y: x @ y,
    "==": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
    "&": lambda x, y: (x > 1) & (y > 1),
    "|": lambda x, y: (x > 1) | (y > 1),
    "^": lambda x, y: (x > 1) ^ (y > 1),
}


@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators_with_arrays_and_scalars_give_tensors(symbol):
    """On either side, in float32, with gradients."""
    apply = OPERATORS[symbol]
    array = np.array([[1.5, 2.0], [0.5, 3.0]], np.float32)
    others = [array, array[::-1], array.astype(">f4"), np.ones((2, 2), bool)]
    others += [] if symbol == "@" else [array[0], *SCALARS]
    for other in others:
        x = lucid.Tensor(array.copy(), requires_grad=True)
        y = lucid.Tensor(native(np.asarray(other)).astype(np.float32))
        if symbol in "&|^":
            other = np.asarray(other)
        for mine, expected in ((apply(x, other), apply(x, y)), (apply(other, x), apply(y, x))):
            assert isinstance(mine, lucid.Tensor), repr(other)
            assert mine.dtype in (np.float32, np.bool_), repr(other)
            assert mine.requires_grad == expected.requires_grad
            same(mine, expected, repr(other))
