"""Every differentiable operation with a saved array changed between forward and backward.

The change raises if the gradient depends on the array, and otherwise not.
"""

import numpy as np
import pytest
from op_db import OP_DB
from op_info import results
from run_op import leaves, seeds

from lucid.autograd.mutation import mark_written

DIFFERENTIABLE = [key for key, op in OP_DB.items() if op.gradient]

#: Operations that save an array without effect on the gradient.
UNMOVED = {
    "functional.hardsigmoid", "lucid.clip of a number", "lucid.norm 1",
    "lucid.power by an exponent",
}  # fmt: skip


def change(array):
    """Write other valid values to an array."""
    if array.dtype.kind == "b":
        np.logical_not(array, out=array)
    elif array.dtype.kind in "iu":
        array[...] = np.roll(array, 1) if array.size > 1 else array
    else:
        array[...] = np.flip(array) * -0.7 + 0.4


def gradients(op, place, unchecked=None):
    """Gradients of the inputs, after a change of the tensor at index ``place`` if given."""
    inputs = leaves([a.copy() for a in op.arrays("float64")])
    outputs = results(op(*inputs))
    recorded = [y for y in outputs if y.requires_grad]
    tensors = [*inputs, *recorded]
    if place is not None and place < len(tensors) and tensors[place]._data.flags.writeable:
        change(tensors[place]._data)
        if not unchecked:
            mark_written(tensors[place]._data)
    for y, seed in zip(recorded, seeds(recorded), strict=True):
        y.backward(seed, retain_graph=True)
    return len(tensors), [x.grad.numpy() for x in inputs if x.grad is not None]


def same(actual, expected):
    return all(
        np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)
        for a, b in zip(actual, expected, strict=True)
    )


@pytest.mark.parametrize("key", DIFFERENTIABLE)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_writing_to_a_saved_tensor_raises(key):
    op = OP_DB[key]
    count, expected = gradients(op, None)
    for place in range(count):
        read = not same(gradients(op, place, unchecked=True)[1], expected)
        if read:
            with pytest.raises(RuntimeError, match="changed in place"):
                gradients(op, place)
        elif not (key in UNMOVED or key.startswith("nn.")):  # layers need it for their weights
            assert same(gradients(op, place)[1], expected)


@pytest.mark.parametrize("key", [key for key in DIFFERENTIABLE if OP_DB[key].plain])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numpy_inputs_are_copied_when_saved(key):
    """Writes to NumPy arrays are not tracked, so they are copied when saved."""
    op = OP_DB[key]
    samples = op.arrays("float64")

    def found(place, changed):
        arrays = [a.copy() for a in samples]
        inputs = leaves(arrays)
        inputs[place] = arrays[place]
        recorded = [y for y in results(op(*inputs)) if y.requires_grad]
        if changed:
            change(arrays[place])
        for y, seed in zip(recorded, seeds(recorded), strict=True):
            y.backward(seed, retain_graph=True)
        return [x.grad.numpy() for x in inputs if x is not arrays[place] and x.grad is not None]

    for place in range(len(samples)):
        assert same(found(place, changed=True), found(place, changed=False))
