"""Operations on tensors, each with its derivative.

The operations here are also functions of ``lucid``; those of layers (pooling, normalization,
losses, ...) are in :mod:`lucid.nn.functional`.
"""

from lucid.ops.activation import log_softmax, relu, softmax
from lucid.ops.arithmetic import (
    abs,
    add,
    divide,
    floor_divide,
    multiply,
    negative,
    positive,
    power,
    reciprocal,
    remainder,
    sign,
    sqrt,
    square,
    subtract,
)
from lucid.ops.comparison import (
    clip,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    maximum,
    minimum,
    not_equal,
)
from lucid.ops.conv import conv2d
from lucid.ops.conversion import astype, clone, contiguous
from lucid.ops.index import gather, nonzero, one_hot, scatter_add, unique, where
from lucid.ops.join import chunk, concatenate, repeat_interleave, split, stack, tile
from lucid.ops.logic import (
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    invert,
    isfinite,
    isinf,
    isnan,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
)
from lucid.ops.matmul import einsum, linear, matmul
from lucid.ops.pad import pad
from lucid.ops.reduce import all, any, cumsum, logsumexp, max, min, norm, prod, sum
from lucid.ops.rounding import ceil, floor, round
from lucid.ops.shape import (
    broadcast_to,
    expand,
    flatten,
    flip,
    moveaxis,
    permute,
    reshape,
    roll,
    squeeze,
    transpose,
    tril,
    triu,
    unsqueeze,
)
from lucid.ops.sorting import argmax, argmin, argsort, sort, topk
from lucid.ops.statistics import mean, std, var
from lucid.ops.transcendental import cos, erf, exp, log, sigmoid, sin, tan, tanh

pow = power

#: Operations that are also functions of ``lucid``.
__all__ = [
    "abs", "add", "all", "any", "argmax", "argmin", "argsort", "astype", "bitwise_and",
    "bitwise_or", "bitwise_xor", "broadcast_to", "ceil", "chunk", "clip", "clone",
    "concatenate", "contiguous", "conv2d", "cos", "cumsum", "divide", "einsum", "equal", "erf",
    "exp", "expand", "flatten", "flip", "floor", "floor_divide", "gather", "greater",
    "greater_equal", "invert", "isfinite", "isinf", "isnan", "less", "less_equal", "linear",
    "log", "log_softmax", "logical_and", "logical_not", "logical_or", "logical_xor",
    "logsumexp", "matmul", "max", "maximum", "mean", "min", "minimum", "moveaxis", "multiply",
    "negative", "nonzero", "norm", "not_equal", "one_hot", "pad", "permute", "positive", "pow",
    "power", "prod", "reciprocal", "relu", "remainder", "repeat_interleave", "reshape", "roll",
    "round", "scatter_add", "sigmoid", "sign", "sin", "softmax", "sort", "split", "sqrt",
    "square", "squeeze", "stack", "std", "subtract", "sum", "tan", "tanh", "tile", "topk",
    "transpose", "tril", "triu", "unique", "unsqueeze", "var", "where",
]  # fmt: skip
