"""Losses beside PyTorch's, with random options: values and gradients by input and target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch_compare import CONFIGURATIONS, TOLERANCE, broadcasting, compare, full_shape, random_shape
from torchvision_cpu import torchvision

import lucid
from lucid import nn
from lucid.nn import functional as F

Rng = np.random.Generator
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE)
REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


def generators() -> Iterator[Rng]:
    for seed in range(CONFIGURATIONS):
        yield np.random.default_rng(200 + seed)


def normal(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.standard_normal(shape) * 3)


def both(name: str, dtype: str, arrays: dict[str, Any], **options: Any) -> tuple[Any, Any]:
    """The layer here and in PyTorch, options that are arrays as tensors of each."""
    given = {k: np.asarray(v).astype(dtype) for k, v in arrays.items() if v is not None}
    ours = getattr(nn, name)(**options, **{k: lucid.Tensor(v) for k, v in given.items()})
    theirs = getattr(torch.nn, name)(**options, **{k: torch.tensor(v) for k, v in given.items()})
    return ours, theirs


@DTYPES
@REDUCTIONS
@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"])
def test_differences(name: str, reduction: str, dtype: str) -> None:
    for rng in generators():
        shape = (full_shape if reduction == "mean" else random_shape)(rng)
        options: dict[str, Any] = {"reduction": reduction}
        if name == "SmoothL1Loss":
            options["beta"] = float(rng.choice([0.0, 0.3, 1.0, 2.5]))
        if name == "HuberLoss":
            options["delta"] = float(rng.choice([0.3, 1.0, 2.5]))
        compare(
            *both(name, dtype, {}, **options), [normal(rng, shape), normal(rng, shape)], dtype=dtype
        )


def classes(rng: Rng) -> tuple[tuple[int, ...], int]:
    """The shape of logits (C,), (N, C) or (N, C, ...), and C."""
    count = int(rng.integers(1, 6))
    if rng.random() < 0.2:
        return (count,), count
    return (int(rng.integers(1, 4)), count, *full_shape(rng, 0, 2)), count


def labels(rng: Rng, shape: tuple[int, ...], count: int, ignored: int) -> np.ndarray:
    """Classes, some of them to be ignored but not all."""
    wanted = shape[:1] + shape[2:] if len(shape) > 1 else ()
    drawn = np.array(rng.integers(0, count, wanted))
    if drawn.size > 1:
        drawn[rng.random(wanted) < 0.2] = ignored
        drawn.flat[0] = (ignored + 1) % count if 0 <= ignored < count else 0
    return drawn


@DTYPES
@REDUCTIONS
@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss"])
def test_classes(name: str, reduction: str, dtype: str) -> None:
    for rng in generators():
        shape, count = classes(rng)
        ignored = -100 if rng.random() < 0.5 or count == 1 else int(rng.integers(count))
        weight = rng.random(count) + 0.1 if rng.random() < 0.5 else None
        options: dict[str, Any] = {"reduction": reduction, "ignore_index": ignored}
        if name == "CrossEntropyLoss":
            options["label_smoothing"] = float(rng.choice([0.0, 0.1, 0.6]))
        target = labels(rng, shape, count, ignored)
        if target.size == 1 and target.item() == ignored:
            target = np.full_like(target, (ignored + 1) % count)
        layers = both(name, dtype, {"weight": weight}, **options)
        compare(*layers, [normal(rng, shape)], [target], dtype)


@DTYPES
@REDUCTIONS
def test_probabilities_of_classes(reduction: str, dtype: str) -> None:
    for rng in generators():
        shape, count = classes(rng)
        weight = rng.random(count) + 0.1 if rng.random() < 0.5 else None
        smoothing = float(rng.choice([0.0, 0.1, 0.6]))
        options = {"reduction": reduction, "label_smoothing": smoothing}
        layers = both("CrossEntropyLoss", dtype, {"weight": weight}, **options)
        target = rng.random(shape)
        compare(*layers, [normal(rng, shape), target / target.sum()], dtype=dtype)


@DTYPES
@REDUCTIONS
def test_binary_cross_entropy(reduction: str, dtype: str) -> None:
    for rng in generators():
        shape = (full_shape if reduction == "mean" else random_shape)(rng)
        factors: dict[str, Callable[..., Any] | None] = {
            name: rng.random(broadcasting(rng, shape)) + 0.2 if rng.random() < 0.5 else None
            for name in ("weight", "pos_weight")
        }
        layers = both("BCEWithLogitsLoss", dtype, factors, reduction=reduction)
        compare(*layers, [normal(rng, shape) * 5, rng.random(shape)], dtype=dtype)


@DTYPES
@REDUCTIONS
def test_sigmoid_focal_loss(reduction: str, dtype: str) -> None:
    for rng in generators():
        shape = (full_shape if reduction == "mean" else random_shape)(rng)
        options = {
            "alpha": float(rng.choice([-1, 0, 0.25, 0.6, 1])),
            "gamma": float(rng.choice([0, 1, 1.5, 2, 3])),
            "reduction": reduction,
        }
        soft = rng.random(shape)
        compare(
            lambda x, t, o=options: F.sigmoid_focal_loss(x, t, **o),
            lambda x, t, o=options: torchvision.ops.sigmoid_focal_loss(x, t, **o),
            [normal(rng, shape), soft],
            dtype=dtype,
        )
        hard = (rng.random(shape) > 0.5).astype(dtype)
        compare(
            lambda x, t, o=options: F.sigmoid_focal_loss(x, t, **o),
            lambda x, t, o=options: torchvision.ops.sigmoid_focal_loss(x, t, **o),
            [normal(rng, shape)],
            [hard],
            dtype=dtype,
        )
