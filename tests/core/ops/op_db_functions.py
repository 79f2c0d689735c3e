"""Op database: functions of ``lucid``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from op_info import N, OpInfo, Sample, booleans, floats, integers

import lucid


def _op(
    key: str, *samples: Sample, then: tuple[Any, ...] = (), options: dict[str, Any] | None = None,
    call: Callable[..., Any] | None = None, gradient: bool = True, two: bool = False,
    sized: bool = True, plain: bool = True,
) -> OpInfo:  # fmt: skip
    function = getattr(lucid, key.partition(" ")[0]) if call is None else call
    return OpInfo(
        f"lucid.{key}", function, samples, then, options or {}, gradient=gradient, two=two,
        sized=sized, plain=plain,
    )  # fmt: skip


ELEMENTWISE = [
    *(
        _op(name, floats(N, 4))
        for name in (
            "abs", "ceil", "clone", "contiguous", "cos", "erf", "exp", "floor", "negative",
            "positive", "relu", "round", "sigmoid", "sign", "sin", "square", "tanh",
        )
    ),
    *(_op(f"{name} of a number", floats()) for name in ("exp", "relu", "sigmoid", "abs")),
    _op("log", floats(N, 4, low=0.5, high=2)),
    _op("sqrt", floats(N, 4, low=0.5, high=2)),
    _op("reciprocal", floats(N, 4, low=1, high=2)),
    _op("tan", floats(N, 4, low=-1, high=1)),
    _op("round to places", floats(N, 4), then=(2,)),
    _op("contiguous of a view", floats(N, 4), call=lambda x: lucid.contiguous(lucid.transpose(x))),
    _op("clip", floats(N, 4), then=(-0.5, 0.6)),
    _op("clip from below", floats(N, 4), options={"min": 0.1}),
    _op("clip from above", floats(N, 4), options={"max": 0.1}),
    _op("clip of a number", floats(), then=(-0.5, 0.6)),
    _op(
        "clip by tensors", floats(N, 4), floats(4, low=-1, high=-0.2),
        floats(N, 1, low=0.2, high=1),
    ),
    _op("clip by whole numbers", floats(N, 4), then=(-1, 1)),
    # Back to the input dtype.
    _op(
        "astype",
        floats(N, 4),
        call=lambda x: lucid.astype(lucid.astype(x, "float64"), lucid.as_tensor(x).dtype),
    ),
    *(
        _op(name, floats(N, 4), gradient=False)
        for name in ("isfinite", "isinf", "isnan", "logical_not")
    ),
    _op("invert", integers(N, 4), gradient=False),
    _op("invert booleans", booleans(N, 4), gradient=False),
]  # fmt: skip

TWO_OPERANDS = [
    *(
        _op(name, floats(N, 1, 2), floats(4, 1), two=True)
        for name in ("add", "subtract", "multiply", "maximum", "minimum")
    ),
    # One channel, since images of any are then channels-last.
    _op("multiply by factors of channels", floats(N, 1, 2, 4), floats(N, 1, 1, 1), two=True),
    *(
        _op(name, floats(N, 1, 2), floats(4, 1, low=1, high=2), two=True)
        for name in ("divide", "floor_divide", "remainder")
    ),
    *(
        _op(name, floats(N, 4, low=0.5, high=2), floats(4), two=True)
        for name in ("pow", "power")
    ),
    _op("power of negative numbers", floats(N, 4), then=(3,)),
    _op("power by an exponent", floats(N), call=lambda x: 2.0**lucid.as_tensor(x)),
    *(
        _op(name, floats(N, 4), floats(4), gradient=False, two=True)
        for name in (
            "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
            "logical_and", "logical_or", "logical_xor",
        )
    ),
    *(
        _op(f"{name}{suffix}", draw(N, 4), draw(4), gradient=False, two=True)
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor")
        for suffix, draw in (("", integers), (" of booleans", booleans))
    ),
    _op("where", booleans(N, 1, 2), floats(N, 4, 1), floats(4, 2)),
    _op(
        "where as operands", floats(N, 4), floats(4), two=True,
        call=lambda x, y: lucid.where([True, False, True, False], x, y),
    ),
]  # fmt: skip

REDUCTIONS = [
    _op("sum", floats(2, N, 2), then=((0, -1),)),
    _op("sum of all", floats(2, N)),
    _op("mean", floats(N, 3), then=(-1,)),
    _op("mean of all", floats(2, N)),
    _op("prod", floats(2, N, 2), then=((0, 2),)),
    _op("prod of all", floats(N, 2)),
    _op("max", floats(2, N, 3), then=((0, 2),)),
    _op("max of all", floats(2, 3)),
    _op("min", floats(N, 3), then=(1,), options={"keepdims": True}),
    _op("var", floats(2, N, 2), then=((0, 2),), options={"correction": 0, "keepdims": True}),
    _op("var of all", floats(2, 3), options={"correction": 0.5}),
    _op("std", floats(N, 4), then=(1,)),
    _op("logsumexp", floats(2, N, 2), then=((0, 2),), options={"keepdims": True}),
    _op("logsumexp of all", floats(N)),
    _op("cumsum", floats(N, 4), then=(1,)),
    _op("cumsum along nothing", floats(2, N), then=(1,)),
    _op("norm", floats(N, 4), then=(3, 1)),
    _op("norm of fractions", floats(N, 4), then=(2.5, 1)),
    _op("norm 1", floats(N, 4), then=(1,)),
    _op("norm 2", floats(N, 4), then=(2,)),
    _op("norm of infinite order", floats(N, 4), then=(np.inf, 1)),
    _op("norm 0", floats(N, 4), then=(0,), gradient=False),
    *(_op(name, floats(N, 4), then=(1,), gradient=False) for name in ("argmax", "argmin")),
    *(_op(f"{name} of all", floats(2, 4), gradient=False) for name in ("argmax", "argmin")),
    *(
        _op(name, booleans(2, N), then=(1,), options={"keepdims": True}, gradient=False)
        for name in ("all", "any")
    ),
    *(_op(f"{name} of floats", floats(2, N), gradient=False) for name in ("all", "any")),
    *(_op(f"{name} of numbers", integers(2, N), gradient=False) for name in ("sum", "prod")),
    _op("softmax", floats(2, N, 3), then=(1,)),
    _op("log_softmax", floats(2, N, 3), then=(1,)),
]

SHAPES = [
    _op("broadcast_to", floats(3, 1), then=((2, 3, 4),)),
    _op("broadcast_to of nothing", floats(N, 1), then=((2, -1, 4),)),
    _op("expand", floats(N, 1), then=(4, -1, 3)),
    _op("chunk", floats(N, 5), then=(3, 1)),
    _op("split", floats(N, 4), then=([1, 3], 1)),
    _op("split evenly", floats(N, 5), then=(2, -1)),
    _op(
        "concatenate", floats(2, N), floats(2, 1), then=(1,),
        call=lambda x, y, axis: lucid.concatenate([x, y], axis),
    ),
    _op(
        "stack", floats(2, N), floats(2, N), then=(-1,),
        call=lambda x, y, axis: lucid.stack([x, y], axis),
    ),
    _op("flatten", floats(2, N, 2, 2), then=(1, 2)),
    _op("flip", floats(2, N, 2), then=((0, 2),)),
    _op("moveaxis", floats(2, N, 4), then=(0, 2)),
    *(
        _op(f"pad {mode}", floats(N, 3), then=([(0, 0), (2, 5)], mode))
        for mode in ("reflect", "edge", "wrap")
    ),
    _op("pad", floats(N, 3), then=([(1, 0), (2, 3)],), options={"value": 7.5}),
    _op("permute", floats(2, N, 4), then=(2, 0, 1)),
    _op("repeat_interleave", floats(N, 3), then=(3, 1)),
    _op("reshape", floats(2, N, 2), then=((4, -1),)),
    _op("roll", floats(N, 4), then=((1, 2), (0, 1))),
    _op("roll of all", floats(N, 4), then=(3,)),
    _op("squeeze", floats(N, 1, 3), then=(1,)),
    _op("squeeze of all", floats(1, 4, 1)),
    _op("tile", floats(N, 2), then=((2, 1, 3),)),
    _op("transpose", floats(2, N, 4), then=(0, 2)),
    _op("transpose of all", floats(2, N, 4)),
    _op("tril", floats(N, 3, 4), then=(-1,)),
    _op("triu", floats(2, N, 4), then=(1,)),
    _op("unsqueeze", floats(N, 3), then=(1,)),
]  # fmt: skip

CHOICES = [
    _op(
        "gather", floats(N, 3), integers(N, 4, high=3), then=(1,),
        call=lambda x, index, axis: lucid.gather(x, axis, index),
    ),
    _op(
        "scatter_add", floats(N, 3), integers(N, 4, high=3), floats(N, 4), then=(1,),
        call=lambda x, index, source, axis: lucid.scatter_add(x, axis, index, source),
    ),
    _op("sort", floats(4, N), then=(0,)),
    _op("sort descending", floats(4, N), then=(0, True)),
    _op("topk", floats(N, 4), then=(2, 1)),
    _op("topk smallest", floats(N, 4), then=(2,), options={"largest": False}),
    _op("argsort", floats(N, 4), then=(1,), options={"descending": True}, gradient=False),
    _op("nonzero", integers(N, 4, high=2), gradient=False, sized=False),
    _op("one_hot", integers(N, 2, high=4), then=(4,), gradient=False),
    _op("unique", floats(N, 4), gradient=False, sized=False),
    _op("unique with the rest", floats(N, 4), gradient=False, sized=False,
        options={"return_index": True, "return_inverse": True, "return_counts": True}),
    _op("where alone", floats(N, 4), gradient=False, sized=False),
]  # fmt: skip

PRODUCTS = [
    _op("matmul", floats(2, 1, N, 2), floats(4, 2, 3)),
    _op("matmul over nothing", floats(2, N), floats(N, 3)),
    _op("matmul of vectors", floats(N), floats(N)),
    _op("matmul of a vector", floats(3), floats(N, 3, 2)),
    _op("matmul by a vector", floats(N, 4, 3), floats(3)),
    _op("linear", floats(2, N, 4), floats(5, 4), floats(5)),
    _op("linear of nothing", floats(2, N), floats(5, N), floats(5)),
    _op("linear without bias", floats(4), floats(5, 4)),
    *(
        _op(
            f"einsum {subscripts}", *samples,
            call=lambda *tensors, subscripts=subscripts: lucid.einsum(subscripts, *tensors),
        )
        for subscripts, samples in (
            ("bij,bjk->bik", (floats(2, N, 2), floats(2, 2, 4))),
            ("ij,jk,k->i", (floats(2, N), floats(N, 4), floats(4))),
            ("ii->i", (floats(N, N),)),
            ("ii", (floats(N, N),)),
            ("ij,k->k", (floats(2, N), floats(2))),
            ("...i,...i", (floats(2, 1, N), floats(4, N))),
        )
    ),
    _op(
        "conv2d", floats(N, 3, 5, 4), floats(4, 3, 3, 2), floats(4),
        options={"stride": 2, "padding": 1},
    ),
    _op(
        "conv2d in groups", floats(N, 3, 4, 4), floats(6, 1, 3, 3),
        options={"padding": (1, 1), "groups": 3},
    ),
    _op(
        "conv2d with gaps", floats(N, 2, 6, 7), floats(3, 2, 2, 3),
        options={"padding": ((0, 2), (1, 0)), "dilation": 2},
    ),
    _op("conv2d padded widely", floats(N, 2, 3, 3), floats(2, 2, 2, 2), options={"padding": 3}),
    _op("conv2d of points", floats(N, 3, 4, 4), floats(5, 3, 1, 1), floats(5)),
    _op("conv2d of the same size", floats(N, 4, 6, 6), floats(4, 4, 3, 3), then=(None, 1, "same")),
    _op("conv2d of no channels", floats(2, N, 4, 4), floats(2, N, 3, 3), floats(2)),
    _op("conv2d to no channels", floats(2, 2, 4, 4), floats(N, 2, 3, 3)),
]  # fmt: skip

MADE_ALIKE = [
    *(
        _op(name, floats(N, 4), gradient=False)
        for name in ("ones_like", "zeros_like", "tensor")
    ),
    _op("as_tensor", floats(N, 4)),
    _op(
        "empty_like", floats(N, 4), gradient=False,
        call=lambda x: lucid.empty_like(x).fill_(1),
    ),
    _op("full_like", floats(N, 4), then=(2.5,), gradient=False),
    _op("from_numpy", floats(N, 4), gradient=False, call=lambda x: lucid.from_numpy(np.asarray(x))),
    # DLPack supports native byte order only, so the input is a tensor.
    _op("from_dlpack", floats(N, 4), gradient=False, plain=False),
]  # fmt: skip

OPERATIONS = [
    *ELEMENTWISE, *TWO_OPERANDS, *REDUCTIONS, *SHAPES, *CHOICES, *PRODUCTS, *MADE_ALIKE
]  # fmt: skip
