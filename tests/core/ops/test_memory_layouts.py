"""A walk over everything public that computes: arrays in any layout of memory, and empty ones."""

from __future__ import annotations

import pytest
from example import LENGTH, results
from examples import EXAMPLES
from memory_layouts import LAYOUTS, memory_of, native, repeated
from walk import DTYPES, all_same, leaves, run, same_values

ALL = pytest.mark.parametrize("key", EXAMPLES)


@ALL
def test_any_layout_of_memory_gives_the_same(key):
    """Values and gradients, and nobody's array is written into."""
    example = EXAMPLES[key]
    for dtype in DTYPES:
        arrays = example.arrays(dtype)
        expected = run(example, [native(a) for a in arrays])
        for name, layout in LAYOUTS.items():
            what = f"{dtype}, {name}"
            strange = [layout(a) for a in arrays]
            before = [memory_of(a) for a in strange]
            all_same(run(example, strange, layout), expected, what)
            if example.plain:
                same_values(example(*strange), expected[0], what)
            assert [memory_of(a) for a in strange] == before, f"{what}: wrote into its argument"


@ALL
def test_one_place_in_memory_may_be_many_elements(key):
    example = EXAMPLES[key]
    strange = [repeated(a) for a in example.arrays("float32")]
    before = [memory_of(a) for a in strange]
    expected = run(example, [native(a) for a in strange])
    all_same(run(example, strange), expected, "repeated")
    assert [memory_of(a) for a in strange] == before


EMPTY = [key for key, example in EXAMPLES.items() if example.may_be_empty]


@pytest.mark.parametrize("key", EMPTY)
def test_nothing_has_the_shape_it_should(key):
    """Lengths of results grow evenly with the length that is now zero."""
    example = EXAMPLES[key]
    for dtype in DTYPES:
        arrays = example.arrays(dtype, 0)
        outputs, gradients = run(example, arrays)
        for y in outputs:
            assert y.dtype in (dtype, "bool", "int64")
        if example.sized:
            some, more = (
                [y.shape for y in results(example(*leaves(example.arrays(dtype, n))))]
                for n in (LENGTH, LENGTH + 1)
            )
            for y, a, b in zip(outputs, some, more, strict=True):
                wanted = tuple(p - LENGTH * (q - p) for p, q in zip(a, b, strict=True))
                assert y.shape == wanted, dtype
        for name, layout in LAYOUTS.items():
            strange = [layout(a) for a in arrays]
            before = [memory_of(a) for a in strange]
            all_same(run(example, strange, layout), (outputs, gradients), f"{dtype}, {name}")
            assert [memory_of(a) for a in strange] == before
