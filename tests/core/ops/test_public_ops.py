"""A walk over everything public that computes: the types of its results and gradients.

What is walked over is the table in ``examples.py``, which a test here holds to be whole.
"""

from __future__ import annotations

import numpy as np
import pytest
from example import results
from examples import EXAMPLES, NOT_OPERATIONS, public_names
from memory_layouts import native
from walk import DTYPES, leaves, run, same, same_values

import lucid
from lucid import nn

ALL = pytest.mark.parametrize("key", EXAMPLES)


def test_every_public_name_is_in_the_table():
    public = set(public_names())
    called = {example.name for example in EXAMPLES.values()}
    # Functional passes on many functions of lucid itself.
    assert public - called - set(NOT_OPERATIONS) == set(), "add an example call, or say why not"
    assert called - public == set(), "no longer public"
    assert set(NOT_OPERATIONS) - public == set(), "no longer public"
    assert called & set(NOT_OPERATIONS) == set()


def test_every_public_name_can_be_empty():
    """But for what takes one number, or raises a stated error of nothing."""
    never = {
        "nn.BatchNorm2d": "in training needs two values per channel",
    }
    may = {example.name for example in EXAMPLES.values() if example.may_be_empty}
    assert {example.name for example in EXAMPLES.values()} - may - set(never) == set()


# --- element types ------------------------------------------------------------------------------


@ALL
def test_floats_keep_their_type(key):
    example = EXAMPLES[key]
    for dtype in DTYPES:
        arrays = example.arrays(dtype)
        outputs, _ = run(example, arrays)
        for y in outputs:
            assert y.dtype in (dtype, "bool", "int64")
        with lucid.no_grad():
            same_values(example(*leaves(arrays)), outputs, f"{dtype}, no_grad()")
        if example.plain and dtype == "float32":
            same_values(example(*arrays), outputs, "NumPy arrays")


@ALL
def test_settings_may_be_numpys_numbers(key):
    example = EXAMPLES[key]
    inputs = leaves(example.arrays("float32"))
    expected = results(example(*inputs))
    same_values(example.with_numpy_settings(*inputs), expected, "settings of NumPy's types")


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_have_gradients_of_their_own_type(dtype):
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
OPERANDS = [
    key for key, example in EXAMPLES.items() if example.two and example.drawn[0].kind == "f"
]
BITS = [key for key, example in EXAMPLES.items() if example.two and example.drawn[0].kind == "i"]


@pytest.mark.parametrize("key", OPERANDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [False, True], ids=["array", "number"])
def test_a_float_keeps_its_type_beside_scalars(key, dtype, number):
    """On either side; a tensor of no axes is a tensor, too, and not a scalar."""
    example = EXAMPLES[key]
    values = np.random.default_rng(3).uniform(0.2, 4, () if number else (3, 4)).astype(dtype)
    for scalar in SCALARS:
        widened = lucid.Tensor(np.asarray(scalar).astype(dtype))
        for swapped in (False, True):
            x, y = leaves([values, values])
            result = example(*((scalar, x) if swapped else (x, scalar)))
            expected = example(*((widened, y) if swapped else (y, widened)))
            same(result, expected, f"{scalar!r}, swapped: {swapped}")
            assert result.dtype in (dtype, bool)
            if example.gradient:
                result.backward(np.ones(result.shape))
                expected.backward(np.ones(result.shape))
                same(x.grad, y.grad, f"gradient beside {scalar!r}, swapped: {swapped}")


@pytest.mark.parametrize("key", OPERANDS)
def test_whole_numbers_beside_scalars(key):
    """Beside a whole number they stay what they are; beside a float they become float32."""
    example = EXAMPLES[key]
    for dtype in ("uint8", "int32", "int64"):
        x = lucid.Tensor(np.arange(1, 13, dtype=dtype).reshape(3, 4))
        for scalar in SCALARS:
            for arguments in ((x, scalar), (scalar, x)):
                result = example(*arguments)
                if result.dtype == bool:
                    continue
                exact = np.asarray(scalar).dtype.kind != "f" and key != "lucid.divide"
                assert result.dtype == (dtype if exact else "float32"), repr(scalar)


@pytest.mark.parametrize("key", BITS)
def test_bits_beside_scalars(key):
    example = EXAMPLES[key]
    for dtype in ("bool", "uint8", "int32"):
        x = lucid.Tensor(np.arange(4).astype(dtype))
        for scalar in (s for s in SCALARS if np.asarray(s).dtype.kind == "b" or dtype != "bool"):
            if np.asarray(scalar).dtype.kind != "f":
                assert example(x, scalar).dtype == example(scalar, x).dtype == dtype


MIXED = [
    key
    for key, example in EXAMPLES.items()
    if example.name.startswith(("lucid.", "functional."))
    and [drawn.kind for drawn in example.drawn].count("f") > 1
    # Whole numbers there are labels, or no probabilities.
    and key != "functional.cross_entropy of probabilities"
    and not key.startswith("functional.sigmoid_focal_loss")
]


@pytest.mark.parametrize("key", MIXED)
def test_a_float_keeps_its_type_beside_arrays_of_whole_numbers(key):
    """Whichever of the operands they are."""
    example = EXAMPLES[key]
    arrays = example.arrays("float32")
    for i, a in enumerate(arrays):
        if a.dtype.kind != "f":
            continue
        whole = [np.rint(b * 3 + 3).astype("int64") if j == i else b for j, b in enumerate(arrays)]
        widened = [b.astype("float32") if j == i else b for j, b in enumerate(whole)]
        same_values(example(*whole), results(example(*widened)), f"input {i}")


def test_whole_numbers_are_compared_as_they_are():
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
def test_operators_beside_arrays_and_scalars_give_tensors(symbol):
    """On either side, in float32, with gradients where there are any."""
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
