"""Run an op forward and backward, and compare results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from memory_layouts import memory_of, native
from op_info import Array, OpInfo, results

import lucid

DTYPES = ("float32", "float64")
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
Outcome = tuple[Sequence[Any], Sequence[Any]]


def leaves(arrays: Sequence[Array]) -> list[lucid.Tensor]:
    """Wrap arrays in tensors; floating ones require gradients."""
    return [lucid.Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]


def seeds(outputs: Sequence[lucid.Tensor]) -> list[Array]:
    """Create a gradient for every output, from a fixed seed."""
    rng = np.random.default_rng(5)
    return [np.asarray(rng.standard_normal(y.shape)).astype(y.dtype) for y in outputs]


def run(
    op: OpInfo, arrays: Sequence[Array], seed_layout: Callable[[Array], Array] = native
) -> Outcome:
    """Return the values of a call and the gradients of its floating inputs."""
    inputs = leaves(arrays)
    outputs = results(op(*inputs))
    for y in outputs:
        assert isinstance(y, lucid.Tensor)
        assert y.dtype.isnative
    if not op.gradient:
        assert not any(y.requires_grad for y in outputs)
        return outputs, []
    for y, seed in zip(outputs, seeds(outputs), strict=True):
        if y.requires_grad:
            given = seed_layout(seed)
            before = memory_of(given)
            y.backward(given, retain_graph=True)
            assert memory_of(given) == before, "wrote to its input gradient"
    gradients = [x.grad for x in inputs if x.requires_grad]
    for x, g in zip((x for x in inputs if x.requires_grad), gradients, strict=True):
        assert g is not None, f"no gradient for the input of shape {x.shape}"
        assert (g.shape, g.dtype) == (x.shape, x.dtype)
        assert g.data.flags.writeable
    return outputs, gradients


def same(actual: lucid.Tensor, expected: lucid.Tensor, what: str) -> None:
    """Check equal shapes, dtypes and values, up to rounding of another summation order."""
    assert actual.dtype == expected.dtype, what
    assert actual.shape == expected.shape, what
    a, b = actual.numpy(), expected.numpy()
    if b.dtype.kind != "f":
        np.testing.assert_array_equal(a, b, err_msg=what)
        return
    scale = np.abs(b[np.isfinite(b)]).max(initial=0)
    tolerance = TOLERANCE[b.dtype.name]
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def all_same(actual: Outcome, expected: Outcome, what: str) -> None:
    """Compare two outcomes of :func:`run`."""
    for kind, mine, others in zip(("value", "gradient"), actual, expected, strict=True):
        for i, (a, b) in enumerate(zip(mine, others, strict=True)):
            same(a, b, f"{kind} {i} of {what}")


def same_values(actual: Any, expected: Sequence[Any], what: str) -> None:
    """Compare the results of a call with expected ones."""
    all_same((results(actual), ()), (expected, ()), what)
