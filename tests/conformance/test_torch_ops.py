"""Operations on tensors beside PyTorch's: values and gradients over random configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch_compare import (
    CONFIGURATIONS,
    TOLERANCE,
    broadcasting,
    compare,
    full_shape,
    pair_of_shapes,
    random_shape,
    some_axes,
)

import lucid
import lucid.nn.functional as F

Rng = np.random.Generator
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE)


def generators() -> Iterator[Rng]:
    for seed in range(CONFIGURATIONS):
        yield np.random.default_rng(seed)


def normal(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.standard_normal(shape) * 2)


def positive(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.random(shape) * 3 + 0.2)


def tied(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Small whole numbers, equal ones among them."""
    return rng.integers(-2, 3, shape).astype(float)


def divisor(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return positive(rng, shape) * rng.choice([-1, 1], shape)


def activated(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Multiples of 1/2 with the corners -3, 0, 3 and 6 among them."""
    return rng.integers(-8, 17, shape) / 2.0


# --- element by element -------------------------------------------------------------------------

UNARY: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "abs": (lucid.abs, torch.abs, normal),
    "clip": (lambda x: lucid.clip(x, -1, 1.5), lambda x: torch.clip(x, -1, 1.5), tied),
    "ceil": (lucid.ceil, torch.ceil, normal),
    "clone": (lucid.clone, torch.clone, normal),
    "contiguous": (lucid.contiguous, torch.Tensor.contiguous, normal),
    "cos": (lucid.cos, torch.cos, normal),
    "erf": (lucid.erf, torch.erf, normal),
    "exp": (lucid.exp, torch.exp, normal),
    "floor": (lucid.floor, torch.floor, normal),
    "gelu": (F.gelu, torch.nn.functional.gelu, normal),
    "gelu by tanh": (
        lambda x: F.gelu(x, "tanh"),
        lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        normal,
    ),
    "leaky_relu": (
        lambda x: F.leaky_relu(x, 0.2),
        lambda x: torch.nn.functional.leaky_relu(x, 0.2),
        tied,
    ),
    # From its definition: PyTorch's own takes 1 / 6 in float32, also for float64.
    "hardsigmoid": (
        F.hardsigmoid,
        lambda x: torch.nn.functional.relu6(x + 3) / 6,
        activated,
    ),
    "hardswish": (F.hardswish, torch.nn.functional.hardswish, activated),
    "log": (lucid.log, torch.log, positive),
    "negative": (lucid.negative, torch.negative, normal),
    "positive": (lucid.positive, torch.positive, normal),
    "reciprocal": (lucid.reciprocal, torch.reciprocal, divisor),
    "relu": (lucid.relu, torch.relu, tied),
    "relu6": (F.relu6, torch.nn.functional.relu6, activated),
    "round": (lucid.round, torch.round, normal),
    "round to places": (
        lambda x: lucid.round(x, 1),
        lambda x: torch.round(x, decimals=1),
        normal,
    ),
    "sigmoid": (lucid.sigmoid, torch.sigmoid, lambda rng, s: normal(rng, s) * 10),
    "sign": (lucid.sign, torch.sign, tied),
    "silu": (F.silu, torch.nn.functional.silu, normal),
    "sin": (lucid.sin, torch.sin, normal),
    "sqrt": (lucid.sqrt, torch.sqrt, positive),
    "square": (lucid.square, torch.square, normal),
    "tan": (lucid.tan, torch.tan, lambda rng, s: normal(rng, s) / 4),
    "tanh": (lucid.tanh, torch.tanh, normal),
}


@DTYPES
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, dtype: str) -> None:
    ours, theirs, draw = UNARY[name]
    for rng in generators():
        compare(ours, theirs, [draw(rng, random_shape(rng))], dtype=dtype)


BINARY: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], Any]] = {
    "add": (lucid.add, torch.add, normal, normal),
    "subtract": (lucid.subtract, torch.subtract, normal, normal),
    "multiply": (lucid.multiply, torch.multiply, normal, normal),
    "divide": (lucid.divide, torch.divide, normal, divisor),
    "pow": (lucid.pow, torch.pow, positive, normal),
    "power": (lucid.power, torch.pow, positive, normal),
    "power of whole numbers": (
        lambda x, y: lucid.power(x, y.detach()),
        lambda x, y: torch.pow(x, y.detach()) + 0 * y,
        tied,
        lambda rng, s: np.abs(tied(rng, s)),
    ),
    "maximum": (lucid.maximum, torch.maximum, tied, tied),
    "minimum": (lucid.minimum, torch.minimum, tied, tied),
    "remainder": (lucid.remainder, torch.remainder, normal, divisor),
}


@DTYPES
@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, dtype: str) -> None:
    ours, theirs, left, right = BINARY[name]
    if name == "power of whole numbers":
        whole = ours
        ours = lambda x, y: whole(x, y) + 0 * y  # noqa: E731 - y takes part on both sides
    for rng in generators():
        a, b = pair_of_shapes(rng)
        compare(ours, theirs, [left(rng, a), right(rng, b)], dtype=dtype)


WITHOUT_GRADIENT: dict[str, Callable[..., Any]] = {
    name: getattr(torch, name)
    for name in (
        "floor_divide", "not_equal", "less", "less_equal", "greater", "greater_equal",
        "logical_and", "logical_or", "logical_xor",
    )
} | {"equal": torch.eq}  # fmt: skip


@DTYPES
@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
def test_binary_without_gradient(name: str, dtype: str) -> None:
    right = divisor if name == "floor_divide" else tied
    for rng in generators():
        a, b = pair_of_shapes(rng)
        arrays = [tied(rng, a), right(rng, b)]
        ours = getattr(lucid, name)
        compare(ours, WITHOUT_GRADIENT[name], arrays, dtype=dtype, gradients=False)


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "logical_not"])
def test_unary_without_gradient(name: str) -> None:
    for rng in generators():
        x = rng.choice([0.0, 1.0, np.nan, np.inf, -np.inf], random_shape(rng))
        compare(getattr(lucid, name), getattr(torch, name), [x], gradients=False)


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor", "add", "multiply"])
@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "int64"])
def test_integers(name: str, kind: str) -> None:
    for rng in generators():
        a, b = pair_of_shapes(rng)
        whole = [rng.integers(0, 100, s).astype(kind) for s in (a, b)]
        compare(getattr(lucid, name), getattr(torch, name), [], whole, gradients=False)


@pytest.mark.parametrize("kind", ["bool", "uint8", "int16", "int32", "int64"])
def test_invert(kind: str) -> None:
    for rng in generators():
        whole = np.asarray(rng.integers(0, 100, random_shape(rng))).astype(kind)
        compare(lucid.invert, torch.bitwise_not, [], [whole], gradients=False)


@DTYPES
def test_clip_by_tensors(dtype: str) -> None:
    """Limits that broadcast, either of them above the other."""
    for rng in generators():
        shape = random_shape(rng)
        limits = [normal(rng, broadcasting(rng, shape)) for _ in range(2)]
        compare(lucid.clip, torch.clip, [normal(rng, shape), *limits], dtype=dtype)


@DTYPES
def test_where(dtype: str) -> None:
    for rng in generators():
        a, b = pair_of_shapes(rng)
        chosen = rng.random(broadcasting(rng, np.broadcast_shapes(a, b))) < 0.5
        compare(
            lambda x, y, c: lucid.where(c, x, y),
            lambda x, y, c: torch.where(c, x, y),
            [normal(rng, a), normal(rng, b)],
            [np.asarray(chosen)],
            dtype,
        )


# --- reductions ---------------------------------------------------------------------------------

REDUCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sum": (lucid.sum, torch.sum),
    "mean": (lucid.mean, torch.mean),
    "max": (lucid.max, torch.amax),
    "min": (lucid.min, torch.amin),
    "logsumexp": (lucid.logsumexp, torch.logsumexp),
}
NONEMPTY = ("max", "min")


@DTYPES
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name: str, dtype: str) -> None:
    ours, theirs = REDUCTIONS[name]
    draw = tied if name in NONEMPTY else normal
    for rng in generators():
        shape = (full_shape if name in NONEMPTY else random_shape)(rng)
        axis, keepdims = some_axes(rng, len(shape)), bool(rng.integers(2))
        axes = tuple(range(len(shape))) if axis is None else axis
        compare(
            lambda x, axis=axis, keepdims=keepdims: ours(x, axis, keepdims=keepdims),
            lambda x, axes=axes, keepdims=keepdims: theirs(x, dim=axes, keepdim=keepdims),
            [draw(rng, shape)],
            dtype=dtype,
        )


@DTYPES
@pytest.mark.parametrize("name", ["var", "std"])
def test_variance(name: str, dtype: str) -> None:
    for rng in generators():
        shape = tuple(n + 1 for n in full_shape(rng, 1))
        axis, keepdims = some_axes(rng, len(shape)), bool(rng.integers(2))
        correction = int(rng.integers(2))
        compare(
            lambda x, a=axis, c=correction, k=keepdims: getattr(lucid, name)(x, a, c, k),
            lambda x, a=axis, c=correction, k=keepdims: getattr(torch, name)(
                x, dim=a, correction=c, keepdim=k
            ),
            [normal(rng, shape)],
            dtype=dtype,
        )


@DTYPES
@pytest.mark.parametrize("draw", [normal, tied])
def test_product_and_running_sum(draw: Callable[..., Any], dtype: str) -> None:
    for rng in generators():
        shape = random_shape(rng, 1)
        axis, keepdims = int(rng.integers(-len(shape), len(shape))), bool(rng.integers(2))
        compare(
            lambda x, a=axis, k=keepdims: (lucid.prod(x, a, k), lucid.cumsum(x, a), lucid.prod(x)),
            lambda x, a=axis, k=keepdims: (torch.prod(x, a, k), torch.cumsum(x, a), torch.prod(x)),
            [draw(rng, shape)],
            dtype=dtype,
        )


@DTYPES
@pytest.mark.parametrize("order", [0, 1, 2, 3, 2.5, -1, -2.5, float("inf"), -float("inf")])
def test_norm(order: float, dtype: str) -> None:
    for rng in generators():
        shape = full_shape(rng)
        axis, keepdims = some_axes(rng, len(shape)), bool(rng.integers(2))
        compare(
            lambda x, a=axis, k=keepdims: lucid.norm(x, order, a, k),
            lambda x, a=axis, k=keepdims: torch.linalg.vector_norm(x, order, a, k),
            [tied(rng, shape) if order == 0 else normal(rng, shape)],
            dtype=dtype,
            gradients=order != 0,
        )


@pytest.mark.parametrize("name", ["any", "all", "argmax", "argmin"])
def test_reduction_without_gradient(name: str) -> None:
    for rng in generators():
        shape = full_shape(rng, 1)
        axis, keepdims = int(rng.integers(-len(shape), len(shape))), bool(rng.integers(2))
        draw = normal if name.startswith("arg") else tied
        compare(
            lambda x, a=axis, k=keepdims: (getattr(lucid, name)(x, a, k), getattr(lucid, name)(x)),
            lambda x, a=axis, k=keepdims: (getattr(torch, name)(x, a, k), getattr(torch, name)(x)),
            [draw(rng, shape)],
            gradients=False,
        )


@DTYPES
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name: str, dtype: str) -> None:
    for rng in generators():
        shape = random_shape(rng, 1)
        axis = int(rng.integers(-len(shape), len(shape)))
        compare(
            lambda x, a=axis: getattr(lucid, name)(x, a),
            lambda x, a=axis: getattr(torch, name)(x, a),
            [normal(rng, shape) * 10],
            dtype=dtype,
        )


# --- products -----------------------------------------------------------------------------------


@DTYPES
def test_matmul(dtype: str) -> None:
    for rng in generators():
        batch = random_shape(rng, 0, 2)
        n, k, m = (int(v) for v in rng.integers(0, 5, 3))
        left = (k,) if rng.random() < 0.2 else (*broadcasting(rng, batch), n, k)
        right = (k,) if rng.random() < 0.2 else (*batch, k, m)
        compare(lucid.matmul, torch.matmul, [normal(rng, left), normal(rng, right)], dtype=dtype)


EINSUMS = (
    "ij,jk->ik", "bij,bjk->bik", "ij->ji", "ii->i", "ii->", "i,j->ij", "ij,ij->", "i,i",
    "...ij,...jk->...ik", "ij,kj", "bij,jk->bk", "ij,jk,kl->il", "ijk->j", "bhid,bhjd->bhij",
)  # fmt: skip


@DTYPES
@pytest.mark.parametrize("subscripts", EINSUMS)
def test_einsum(subscripts: str, dtype: str) -> None:
    for rng in generators():
        lengths = {c: int(rng.integers(1, 4)) for c in "bdhijkl"}
        batch = full_shape(rng, 0, 2)
        arrays = []
        for term in subscripts.split("->")[0].split(","):
            letters = tuple(lengths[c] for c in term.replace("...", ""))
            arrays.append(normal(rng, (batch if "..." in term else ()) + letters))
        compare(
            lambda *tensors: lucid.einsum(subscripts, *tensors),
            lambda *tensors: torch.einsum(subscripts, *tensors),
            arrays,
            dtype=dtype,
        )
