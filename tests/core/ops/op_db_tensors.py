"""Op database: methods, operators and indexing of ``lucid.Tensor``."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from op_db_functions import OPERATIONS
from op_info import N, OpInfo, Sample, booleans, floats, integers

import lucid


def _method(
    key: str, *samples: Sample, then: tuple[Any, ...] = (), call: Callable[..., Any],
    gradient: bool = True,
) -> OpInfo:  # fmt: skip
    return OpInfo(f"Tensor.{key}", call, samples, then, gradient=gradient, plain=False)


def _named(name: str) -> Callable[..., Any]:
    return lambda x, *rest, **options: getattr(x, name)(*rest, **options)


#: Methods that call a function of ``lucid``, with the samples of the function.
ALIKE = [
    OpInfo(
        f"Tensor.{op.key.removeprefix('lucid.')}",
        _named(op.name.removeprefix("lucid.")),
        op.samples,
        op.settings,
        op.options,
        op.gradient,
        sized=op.sized,
        plain=False,
    )
    for op in OPERATIONS
    if " " not in op.key
    and hasattr(lucid.Tensor, op.name.removeprefix("lucid."))
    and op.call is getattr(lucid, op.name.removeprefix("lucid."))
]

METHODS = [
    _method("T", floats(2, N, 3), call=lambda x: x.T),
    _method("mT", floats(2, N, 3), call=lambda x: x.mT),
    _method("astype", floats(N, 3), call=lambda x: x.astype("float64").astype(x.dtype)),
    _method("to", floats(N, 3), call=lambda x: x.to("float64").to(x.dtype)),
    _method("double", floats(N, 3), call=lambda x: x.double().to(x.dtype)),
    _method("view", floats(N, 6), then=(-1, 3, 2), call=_named("view")),
    _method(
        "gather", floats(N, 3), integers(N, 4, high=3), then=(1,),
        call=lambda x, index, axis: x.gather(axis, index),
    ),
    _method(
        "scatter_add", floats(N, 3), integers(N, 4, high=3), floats(N, 4), then=(1,),
        call=lambda x, index, source, axis: x.scatter_add(axis, index, source),
    ),
    _method("copy_", floats(N, 3), call=lambda x: lucid.zeros_like(x).copy_(x)),
    _method("fill_", floats(N, 3), then=(2.5,), gradient=False,
            call=lambda x, value: lucid.zeros_like(x).fill_(value)),
    _method("zero_", floats(N, 3), gradient=False, call=lambda x: lucid.ones_like(x).zero_()),
    _method("detach", floats(N, 3), gradient=False, call=lambda x: x.detach()),
    _method("__iter__", floats(3, N), call=list),
    _method("__getitem__ slices", floats(N, 4, 5), call=lambda x: x[:, 1::2, ::-1]),
    _method("__getitem__ places", floats(4, N), call=lambda x: x[..., 2, None, :]),
    _method("__getitem__ repeated", floats(3, N), call=lambda x: x[[0, 2, 0, 0]]),
    _method("__getitem__ by a tensor", floats(3, N), integers(2, 4, high=3), call=operator.getitem),
    _method("__getitem__ by booleans", floats(2, N), call=lambda x: x[lucid.tensor([True, False])]),
    _method("__getitem__ mixed", floats(N, 2, 2), call=lambda x: x[..., [1, 1], 0]),
    _method("__getitem__ in pairs", floats(3, 2, N), call=lambda x: x[[2, 2, 0], [1, 1, 0]]),
]  # fmt: skip

OPERATORS = [
    *(
        _method(f"__{name}__", floats(N, 4), call=getattr(operator, name))
        for name in ("neg", "pos", "abs")
    ),
    *(
        _method(f"__{side}{name}__", floats(N, 1, 2, low=0.5, high=2), floats(4, 1, low=1, high=2),
                call=getattr(lucid.Tensor, f"__{side}{name}__"))
        for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
        for side in ("", "r")
    ),
    _method("__matmul__", floats(N, 3), floats(3, 2), call=operator.matmul),
    _method("__rmatmul__", floats(3, 2), floats(N, 3), call=lucid.Tensor.__rmatmul__),
    *(
        _method(f"__{side}{name}__", integers(N, 4), integers(4), gradient=False,
                call=getattr(lucid.Tensor, f"__{side}{name}__"))
        for name in ("and", "or", "xor")
        for side in ("", "r")
    ),
    _method("__invert__", booleans(N, 4), gradient=False, call=operator.invert),
    *(
        _method(f"__{name}__", floats(N, 4), floats(4), gradient=False,
                call=getattr(operator, name))
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
    ),
    _method("__add__ of a shared subgraph", floats(3, 3), call=lambda x: x * lucid.exp(x) + x @ x),
]  # fmt: skip
