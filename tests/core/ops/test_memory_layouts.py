"""Every public operation with arrays of any memory layout, and with empty arrays."""

from __future__ import annotations

import pytest
from memory_layouts import LAYOUTS, memory_of, native, repeated
from op_db import OP_DB
from op_info import LENGTH, results
from run_op import DTYPES, all_same, leaves, run, same_values

ALL = pytest.mark.parametrize("key", OP_DB)


@ALL
def test_results_do_not_depend_on_memory_layout(key):
    """Values and gradients are equal, and inputs are not written to."""
    op = OP_DB[key]
    for dtype in DTYPES:
        arrays = op.arrays(dtype)
        expected = run(op, [native(a) for a in arrays])
        for name, layout in LAYOUTS.items():
            label = f"{dtype}, {name}"
            strange = [layout(a) for a in arrays]
            before = [memory_of(a) for a in strange]
            all_same(run(op, strange, layout), expected, label)
            if op.plain:
                same_values(op(*strange), expected[0], label)
            assert [memory_of(a) for a in strange] == before, f"{label}: wrote into its argument"


@ALL
def test_overlapping_memory(key):
    op = OP_DB[key]
    strange = [repeated(a) for a in op.arrays("float32")]
    before = [memory_of(a) for a in strange]
    expected = run(op, [native(a) for a in strange])
    all_same(run(op, strange), expected, "repeated")
    assert [memory_of(a) for a in strange] == before


EMPTY = [key for key, op in OP_DB.items() if op.may_be_empty]


@pytest.mark.parametrize("key", EMPTY)
def test_empty_inputs_have_the_right_shape(key):
    """The shape of the result is linear in the empty length."""
    op = OP_DB[key]
    for dtype in DTYPES:
        arrays = op.arrays(dtype, 0)
        outputs, gradients = run(op, arrays)
        for y in outputs:
            assert y.dtype in (dtype, "bool", "int64")
        if op.sized:
            some, more = (
                [y.shape for y in results(op(*leaves(op.arrays(dtype, n))))]
                for n in (LENGTH, LENGTH + 1)
            )
            for y, a, b in zip(outputs, some, more, strict=True):
                wanted = tuple(p - LENGTH * (q - p) for p, q in zip(a, b, strict=True))
                assert y.shape == wanted, dtype
        for name, layout in LAYOUTS.items():
            strange = [layout(a) for a in arrays]
            before = [memory_of(a) for a in strange]
            all_same(run(op, strange, layout), (outputs, gradients), f"{dtype}, {name}")
            assert [memory_of(a) for a in strange] == before
