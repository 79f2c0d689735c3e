"""Softmax of rows of attention scores, and its recomputation, written as LLVM IR.

The row is read twice and stays in the first-level cache.  Its length is a number of whole vectors;
elements from ``valid`` on, which are padding or masked, become 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from lucid.kernels.compiled.exp import emit_exp
from lucid.kernels.compiled.vector_ir import (
    ADDRESS,
    FLOAT,
    VL,
    broadcast,
    call_emitted,
    constant,
    load_vector,
    multiply_add,
    new_function,
    pointer,
    shuffle,
    splat,
    store_vector,
)

__all__ = ["recompute_row", "softmax_row"]

_ARGUMENTS = 5
_BYTES = 4 * VL
_LANES = ir.VectorType(ADDRESS, VL)
_MINUS_INFINITY = splat(float("-inf"))


def _load_float(b: Any, address: Any, offset: int) -> Any:
    return b.load(pointer(b, address, offset), align=4, typ=FLOAT)


def _broadcast_address(b: Any, value: Any) -> Any:
    undefined = ir.Constant(_LANES, ir.Undefined)
    first = b.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), VL), None))


def _larger(b: Any, x: Any, y: Any) -> Any:
    """Return the larger elements; an element of ``x`` that is NaN is ignored."""
    return b.select(b.fcmp_ordered(">", x, y), x, y)


def _reduce(b: Any, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine all lanes of a vector; every lane of the result is the total."""
    distance = VL // 2
    while distance:
        other = shuffle(b, value, value, [lane ^ distance for lane in range(VL)])
        value = combine(value, other)
        distance //= 2
    return value


def _loop(
    function: Any, b: Any, label: str, initial: list[Any], body: Callable[..., list[Any]]
) -> tuple[Any, list[Any]]:
    """Emit a loop over the vectors of the row; return the builder after it and the values."""
    count = function.args[1]
    before, head, done = b.block, *(function.append_basic_block(label + s) for s in ("", "_done"))
    b.branch(head)
    b = ir.IRBuilder(head)
    index = b.phi(ADDRESS)
    values = [b.phi(value.type) for value in initial]
    changed = [b.add(index, constant(1)), *body(b, index, *values)]
    for phi, first, following in zip(
        [index, *values], [constant(0), *initial], changed, strict=True
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", changed[0], count), head, done)
    return ir.IRBuilder(done), changed[1:]


def _scores(function: Any, b: Any, index: Any, scale: Any) -> tuple[Any, Any]:
    """Return the address of a vector of the row and ``row * scale + bias``, -inf if masked."""
    row, _, bias, valid, _ = function.args
    offset = b.mul(index, constant(_BYTES))
    at = b.add(row, offset)
    value = multiply_add(b, load_vector(b, at), scale, load_vector(b, b.add(bias, offset)))
    first = _broadcast_address(b, b.mul(index, constant(VL)))
    lanes = b.add(first, ir.Constant(_LANES, list(range(VL))))
    inside = b.icmp_signed("<", lanes, _broadcast_address(b, valid))
    return at, b.select(inside, value, _MINUS_INFINITY)


def _emit_softmax(module: Any) -> Any:
    name = f"lucid_softmax_{VL}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, _ARGUMENTS)
    state = function.args[-1]
    b = ir.IRBuilder(function.append_basic_block("entry"))
    scale = broadcast(b, _load_float(b, state, 0))
    before = broadcast(b, _load_float(b, state, 4))

    def largest(b: Any, index: Any, most: Any) -> list[Any]:
        at, value = _scores(function, b, index, scale)
        store_vector(b, value, at)
        return [_larger(b, value, most)]

    b, (most,) = _loop(function, b, "largest", [before], largest)
    most = _reduce(b, most, lambda x, y: _larger(b, x, y))
    lane = ir.Constant(ir.IntType(32), 0)
    b.store(b.extract_element(most, lane), pointer(b, state, 4), align=4)
    # Without any score, exp(-inf - 0) is 0.
    most = b.select(b.fcmp_ordered("==", most, _MINUS_INFINITY), splat(0), most)

    def exponentials(b: Any, index: Any, total: Any) -> list[Any]:
        at = b.add(function.args[0], b.mul(index, constant(_BYTES)))
        value = emit_exp(b, b.fsub(load_vector(b, at), most))
        store_vector(b, value, at)
        return [b.fadd(total, value)]

    b, (total,) = _loop(function, b, "exp", [splat(0)], exponentials)
    total = _reduce(b, total, b.fadd)
    b.store(b.extract_element(total, lane), pointer(b, state, 8), align=4)
    b.ret_void()
    return function


def _emit_recompute(module: Any) -> Any:
    name = f"lucid_recompute_softmax_{VL}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, _ARGUMENTS)
    state = function.args[-1]
    b = ir.IRBuilder(function.append_basic_block("entry"))
    scale = broadcast(b, _load_float(b, state, 0))
    log_sum = broadcast(b, _load_float(b, state, 4))

    def probabilities(b: Any, index: Any) -> list[Any]:
        at, value = _scores(function, b, index, scale)
        store_vector(b, emit_exp(b, b.fsub(value, log_sum)), at)
        return []

    b, _ = _loop(function, b, "exp", [], probabilities)
    b.ret_void()
    return function


def _softmax_row(context: Any, row: Any, vectors: Any, bias: Any, valid: Any, state: Any) -> Any:
    """Replace scores by the exponentials of ``row * scale + bias - m``.

    All arguments are int64.

    row, vectors
        Address of the scores, and their number of vectors.
    bias
        Address of as many values that are added to the scores.
    valid
        Number of scores before the padding.
    state
        Address of three float32: ``scale``; the largest score so far, replaced by the maximum
        ``m`` of it and of this row; and the sum of the exponentials, which is written.
    """
    return call_emitted(_emit_softmax, _ARGUMENTS)


def _recompute_row(context: Any, row: Any, vectors: Any, bias: Any, valid: Any, state: Any) -> Any:
    """Replace scores by the probabilities ``exp(row * scale + bias - state[1])``.

    ``state`` is the address of two float32, ``scale`` and the logarithm of the sum of exponentials;
    the other arguments are those of :func:`_softmax_row`.
    """
    return call_emitted(_emit_recompute, _ARGUMENTS)


softmax_row: Any = intrinsic(_softmax_row)
recompute_row: Any = intrinsic(_recompute_row)
