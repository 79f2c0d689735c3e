"""Comparison of functions with PyTorch, including gradients of weights and biases.

The layers have what settings allow; here weights are inputs, batches may be empty, and
what no layer of PyTorch's has is compared with its parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch_compare import (
    CONFIGURATIONS,
    TOLERANCE,
    compare,
    full_shape,
    quiet_torch,
    random_shape,
    same,
)

import lucid
from lucid import nn
from lucid.nn import functional as F

Rng = np.random.Generator
Theirs = torch.nn.functional
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE)


class Drawn(NamedTuple):
    """Differentiable arrays, and other arguments."""

    arrays: list[np.ndarray]
    settings: tuple[Any, ...] = ()
    options: dict[str, Any] = {}  # noqa: RUF012 - nobody writes into it


def normal(rng: Rng, *shape: int) -> np.ndarray:
    return np.asarray(rng.standard_normal(shape))


def images(rng: Rng, channels: int, least: int = 5) -> np.ndarray:
    """Random images; the batch is sometimes empty."""
    batch = 0 if rng.random() < 0.1 else int(rng.integers(1, 4))
    return normal(rng, batch, channels, *(int(n) for n in rng.integers(least, 12, 2)))


def two(rng: Rng, least: int, most: int) -> Any:
    values = [int(n) for n in rng.integers(least, most + 1, 2)]
    return values[0] if rng.random() < 0.4 else tuple(values)


def with_bias(rng: Rng, arrays: list[np.ndarray], length: int) -> list[np.ndarray]:
    return [*arrays, normal(rng, length)] if rng.random() < 0.6 else arrays


def linear(rng: Rng) -> Drawn:
    inputs, outputs = (int(n) for n in rng.integers(0, 6, 2))
    x = normal(rng, *random_shape(rng, 0, 3), inputs)
    return Drawn(with_bias(rng, [x, normal(rng, outputs, inputs)], outputs))


def conv2d(rng: Rng) -> Drawn:
    groups = int(rng.integers(1, 4))
    inputs, outputs = int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    kernel = [int(n) for n in rng.integers(1, 4, 2)]
    arrays = [images(rng, groups * inputs), normal(rng, outputs, inputs, *kernel)]
    options = {
        "stride": two(rng, 1, 3), "padding": two(rng, 0, 4), "dilation": two(rng, 1, 2),
        "groups": groups,
    }  # fmt: skip
    return Drawn(with_bias(rng, arrays, outputs), (), options)


def conv_transpose2d(rng: Rng) -> Drawn:
    groups = int(rng.integers(1, 4))
    inputs, outputs = groups * int(rng.integers(1, 4)), int(rng.integers(1, 4))
    kernel = [int(n) for n in rng.integers(1, 4, 2)]
    stride = int(rng.integers(1, 4))
    options = {
        "stride": stride, "padding": two(rng, 0, 2), "groups": groups,
        "output_padding": int(rng.integers(0, stride)), "dilation": two(rng, 1, 2),
    }  # fmt: skip
    arrays = [images(rng, inputs), normal(rng, inputs, outputs, *kernel)]
    return Drawn(with_bias(rng, arrays, outputs * groups), (), options)


def max_pool2d(rng: Rng) -> Drawn:
    kernel = int(rng.integers(1, 4))
    settings = (
        kernel, two(rng, 1, 3), int(rng.integers(0, kernel // 2 + 1)), two(rng, 1, 2),
        bool(rng.integers(2)),
    )  # fmt: skip
    return Drawn([images(rng, 3, 7)], settings)


def avg_pool2d(rng: Rng) -> Drawn:
    kernel = int(rng.integers(1, 4))
    settings = (
        kernel, None if rng.random() < 0.3 else two(rng, 1, 3),
        int(rng.integers(0, kernel // 2 + 1)), *(bool(b) for b in rng.integers(0, 2, 2)),
    )  # fmt: skip
    return Drawn([images(rng, 3, 7)], settings)


def adaptive_avg_pool2d(rng: Rng) -> Drawn:
    return Drawn([images(rng, 3)], (two(rng, 1, 9),))


def interpolate(rng: Rng) -> Drawn:
    options: dict[str, Any] = {"mode": str(rng.choice(["nearest", "bilinear"]))}
    if options["mode"] == "bilinear":
        options["align_corners"] = bool(rng.integers(2))
    if rng.random() < 0.5:
        options["size"] = two(rng, 1, 15)
    else:
        options["scale_factor"] = tuple(float(f) for f in rng.uniform(0.4, 2.5, 2))
    return Drawn([images(rng, 3)], (), options)


def group_norm(rng: Rng) -> Drawn:
    groups = int(rng.integers(1, 4))
    channels = groups * int(rng.integers(1, 4))
    x = normal(rng, int(rng.integers(1, 4)), channels, 3, *full_shape(rng, 0, 2))
    return Drawn([x], (groups,), {"eps": float(rng.choice([1e-5, 1e-3]))})


def layer_norm(rng: Rng) -> Drawn:
    shape = tuple(n + 2 for n in full_shape(rng, 1))
    over = shape[int(rng.integers(len(shape))) :]
    return Drawn([normal(rng, *shape)], (over,), {"eps": float(rng.choice([1e-5, 1e-3]))})


def dropout(rng: Rng) -> Drawn:
    """With probability 0 or 1."""
    p = float(rng.choice([0.0, 1.0]))
    return Drawn([normal(rng, *random_shape(rng))], (p, bool(rng.integers(2))))


FUNCTIONS: dict[str, Callable[[Rng], Drawn]] = {
    draw.__name__: draw
    for draw in (
        adaptive_avg_pool2d, avg_pool2d, conv2d, conv_transpose2d, dropout, group_norm,
        interpolate, layer_norm, linear, max_pool2d,
    )
}  # fmt: skip


@DTYPES
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str, dtype: str) -> None:
    compared = 0
    for seed in range(3 * CONFIGURATIONS):
        arrays, settings, options = FUNCTIONS[name](np.random.default_rng(300 + seed))
        probes = [torch.zeros(a.shape) for a in arrays]
        try:
            with quiet_torch():
                getattr(Theirs, name)(*probes, *settings, **options)
        except RuntimeError:
            with pytest.raises(ValueError, match=r"[a-z]"):
                getattr(F, name)(*(lucid.Tensor(a) for a in arrays), *settings, **options)
            continue
        compare(
            lambda *t, s=settings, o=options: getattr(F, name)(*t, *s, **o),
            lambda *t, s=settings, o=options: getattr(Theirs, name)(*t, *s, **o),
            arrays,
            dtype=dtype,
        )
        compared += 1
        if compared == CONFIGURATIONS:
            break
    assert compared == CONFIGURATIONS


@DTYPES
@pytest.mark.parametrize("name", ["group_norm", "layer_norm"])
def test_weights_and_biases_of_normalization(name: str, dtype: str) -> None:
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng(seed)
        (x,), (over,), options = FUNCTIONS[name](rng)
        shape = x.shape[1:2] if name == "group_norm" else over
        compare(
            lambda x, w, b, over=over, o=options: getattr(F, name)(x, over, w, b, **o),
            lambda x, w, b, over=over, o=options: getattr(Theirs, name)(x, over, w, b, **o),
            [x, normal(rng, *shape), normal(rng, *shape)],
            dtype=dtype,
        )


@DTYPES
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm(training: bool, dtype: str) -> None:
    """Including the updated running statistics."""
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng(seed)
        channels = int(rng.integers(1, 6))
        x = normal(rng, 3, channels, *(int(n) for n in rng.integers(2, 9, 2)))
        statistics = [normal(rng, channels), rng.random(channels) + 0.5]
        mine = [lucid.Tensor(s.astype(dtype)) for s in statistics]
        others = [torch.tensor(s.astype(dtype)) for s in statistics]
        last = (training, float(rng.uniform(0, 1)), float(rng.choice([1e-5, 1e-3])))
        vectors = [normal(rng, channels), normal(rng, channels)]
        affine = rng.random() < 0.7
        compare(
            lambda x, *v, m=mine, last=last: F.batch_norm(x, *m, *(v or (None, None)), *last),
            lambda x, *v, m=others, last=last: Theirs.batch_norm(
                x, *m, *(v or (None, None)), *last
            ),
            [x, *vectors] if affine else [x],
            dtype=dtype,
        )
        for a, b in zip(mine, others, strict=True):
            same(a.numpy(), b.numpy(), dtype, "running statistics")


@DTYPES
@pytest.mark.parametrize("training", [False, True])
def test_fused_residual_and_activation_of_batch_norm(training: bool, dtype: str) -> None:
    """Fused residual and ReLU, compared with separate operations in PyTorch."""
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng(seed)
        c = int(rng.integers(1, 6))
        x = normal(rng, 2, c, *(int(n) for n in rng.integers(2, 9, 2)))
        mean, variance = normal(rng, c).astype(dtype), (rng.random(c) + 0.5).astype(dtype)
        compare(
            lambda x, w, b, r, m=mean, v=variance: F.batch_norm(
                x, m.copy(), v.copy(), w, b, training, residual=r, activation="relu"
            ),
            lambda x, w, b, r, m=mean, v=variance: torch.relu(
                Theirs.batch_norm(x, torch.tensor(m), torch.tensor(v), w, b, training) + r
            ),
            [x, normal(rng, c), normal(rng, c), normal(rng, *x.shape)],
            dtype=dtype,
        )


@DTYPES
@pytest.mark.parametrize("relu", [False, True])
def test_affine_act(relu: bool, dtype: str) -> None:
    def theirs(x: Any, scale: Any, shift: Any, residual: Any) -> Any:
        y = x * scale[:, None, None] + shift[:, None, None] + residual
        return torch.relu(y) if relu else y

    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng(seed)
        channels = int(rng.integers(1, 20))
        x = images(rng, channels)
        vectors = [normal(rng, channels), normal(rng, channels)]
        compare(
            lambda x, a, b, r: F.affine_act(x, a, b, r, "relu" if relu else None),
            theirs,
            [x, *vectors, normal(rng, *x.shape)],
            dtype=dtype,
        )


@DTYPES
def test_convolution_padded_unevenly(dtype: str) -> None:
    """PyTorch pads first."""
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng(seed)
        (top, bottom, left, right) = (int(n) for n in rng.integers(0, 4, 4))
        stride = two(rng, 1, 3)
        compare(
            lambda x, w, p=((top, bottom), (left, right)), s=stride: lucid.conv2d(x, w, None, s, p),
            lambda x, w, p=(left, right, top, bottom), s=stride: torch.conv2d(
                Theirs.pad(x, p), w, None, s
            ),
            [images(rng, 3), normal(rng, 4, 3, *(int(n) for n in rng.integers(1, 5, 2)))],
            dtype=dtype,
        )


@DTYPES
@pytest.mark.parametrize("kind", [None, "boolean", "float", "gradient", "causal"])
def test_scaled_dot_product_attention(kind: str | None, dtype: str) -> None:
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng(seed)
        lead = random_shape(rng, 0, 2)
        rows, keys = (0 if rng.random() < 0.1 else int(n) for n in rng.integers(1, 50, 2))
        length, width = (int(n) for n in rng.integers(1, 40, 2))
        shapes = ((rows, length), (keys, length), (keys, width))
        arrays = [normal(rng, *lead, *shape) for shape in shapes]
        options: dict[str, Any] = {
            "scale": float(rng.uniform(-1, 1)),
            "is_causal": kind == "causal",
        }
        masks: list[np.ndarray] = []
        if kind in ("boolean", "float", "gradient"):
            axes = (*lead, rows, keys)[int(rng.integers(0, len(lead) + 1)) :]
            axes = (*axes[:-2], 1 if rng.random() < 0.3 else rows, keys)
            kept = rng.random(axes) < 0.7
            kept[..., :1, :] &= rng.random() < 0.5  # sometimes a query without keys
            added = np.where(kept, normal(rng, *axes), -np.inf).astype(dtype)
            masks = [kept if kind == "boolean" else added]
        differentiable = kind == "gradient"
        compare(
            lambda q, k, v, m=None, o=options: F.scaled_dot_product_attention(q, k, v, m, **o),
            lambda q, k, v, m=None, o=options: Theirs.scaled_dot_product_attention(q, k, v, m, **o),
            arrays + masks if differentiable else arrays,
            [] if differentiable else masks,
            dtype=dtype,
        )


@pytest.mark.parametrize("lead", [(), (12,), (2, 12)])
def test_attention_of_a_vision_transformer(lead: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    compare(
        F.scaled_dot_product_attention,
        Theirs.scaled_dot_product_attention,
        [normal(rng, *lead, 197, 64) for _ in range(3)],
        dtype="float32",
    )


def test_attention_of_infinite_queries() -> None:
    rng = np.random.default_rng(0)
    q, k, v = normal(rng, 2, 9, 8), np.abs(normal(rng, 2, 9, 8)), normal(rng, 2, 9, 8)
    q[0, 3], q[1, 2] = -np.inf, np.inf
    attend, other = F.scaled_dot_product_attention, Theirs.scaled_dot_product_attention
    compare(attend, other, [q, k, v], dtype="float32", gradients=False)


# --- layers that PyTorch has not, and layers in a row -------------------------------------------


@DTYPES
def test_frozen_batch_norm(dtype: str) -> None:
    """Equals PyTorch's batch norm in evaluation, also in training mode; has no parameters."""
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng(seed)
        channels, eps = int(rng.integers(1, 9)), float(rng.choice([0.0, 1e-5, 1e-2]))
        theirs = torch.nn.BatchNorm2d(channels, eps).to(getattr(torch, dtype)).eval()
        theirs.requires_grad_(False)
        ours = nn.FrozenBatchNorm2d(channels, eps).to(dtype).train(bool(rng.integers(2)))
        drawn = {name: normal(rng, channels) for name in ("weight", "bias", "running_mean")}
        drawn["running_var"] = rng.random(channels) + 0.5
        ours.load_state_dict({k: v.astype(dtype) for k, v in drawn.items()})
        theirs.load_state_dict({k: torch.tensor(v) for k, v in drawn.items()}, strict=False)
        assert list(ours.parameters()) == []
        compare(ours, theirs, [images(rng, channels)], dtype=dtype)


@DTYPES
def test_sequence_of_layers(dtype: str) -> None:
    """Same state dict for both, and gradients of all parameters."""
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng(seed)
        a, b, size = (int(n) for n in rng.integers(2, 6, 3))

        def row(module: Any, a: int = a, b: int = b, size: int = size) -> Any:
            return module.Sequential(
                module.Conv2d(3, a, 3, padding=1, bias=False), module.BatchNorm2d(a), module.ReLU(),
                module.MaxPool2d(2), module.Sequential(module.Conv2d(a, b, 3), module.SiLU()),
                module.AdaptiveAvgPool2d(size), module.Flatten(), module.Linear(b * size * size, 4),
            )  # fmt: skip

        theirs, ours = row(torch.nn).to(getattr(torch, dtype)), row(nn).to(dtype)
        ours.load_state_dict({k: v.numpy().copy() for k, v in theirs.state_dict().items()})
        x = normal(rng, int(rng.integers(1, 4)), 3, *(int(n) for n in rng.integers(8, 14, 2)))
        compare(ours, theirs, [x], dtype=dtype)
        mine = dict(ours.named_parameters())
        for key, value in theirs.named_parameters():
            same(mine[key].grad.numpy(), value.grad.numpy(), dtype, f"gradient of {key}")
