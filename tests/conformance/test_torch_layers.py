"""Comparison of layers with PyTorch: outputs, gradients, parameters, buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

Rng = np.random.Generator
Size = int | tuple[int, int]


def size(rng: Rng, least: int, most: int) -> Size:
    """One number, or two."""
    if rng.random() < 0.4:
        return int(rng.integers(least, most + 1))
    return int(rng.integers(least, most + 1)), int(rng.integers(least, most + 1))


def as_pair(value: Size) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def image(rng: Rng, channels: int | None = None, least: int = 7) -> tuple[int, ...]:
    drawn = int(rng.integers(1, 5)) if channels is None else channels
    return (int(rng.integers(1, 4)), drawn, *(int(n) for n in rng.integers(least, 12, 2)))


# Each draws the shape of an input and the arguments of the layer.  ``dim`` of PyTorch is
# ``axis`` here, and that is the only name that differs.

Drawn = tuple[tuple[int, ...], tuple[Any, ...], dict[str, Any]]


def conv2d(rng: Rng) -> Drawn:
    groups = int(rng.integers(1, 4))
    inputs, outputs = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    same_size = rng.random() < 0.2
    options = {
        "stride": 1 if same_size else size(rng, 1, 3),
        "padding": "same" if same_size else size(rng, 0, 2),
        "dilation": size(rng, 1, 2),
        "groups": groups,
        "bias": bool(rng.integers(2)),
        "padding_mode": str(rng.choice(["zeros", "reflect", "replicate", "circular"])),
    }
    return image(rng, inputs), (inputs, outputs, size(rng, 1, 3)), options


def winograd(rng: Rng) -> Drawn:
    """3x3 filters at stride 1 with more channels, for Winograd convolution."""
    inputs, outputs = (int(n) for n in rng.integers(4, 20, 2))
    return image(rng, inputs), (inputs, outputs, 3), {"padding": size(rng, 0, 1)}


def conv_transpose2d(rng: Rng) -> Drawn:
    groups = int(rng.integers(1, 4))
    inputs, outputs = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    stride, dilation = size(rng, 1, 3), size(rng, 1, 2)
    limits = [max(s, d) for s, d in zip(as_pair(stride), as_pair(dilation), strict=True)]
    options = {
        "stride": stride,
        "padding": size(rng, 0, 2),
        "output_padding": tuple(int(rng.integers(0, n)) for n in limits),
        "groups": groups,
        "bias": bool(rng.integers(2)),
        "dilation": dilation,
    }
    return image(rng, inputs, 5), (inputs, outputs, size(rng, 1, 3)), options


def max_pool(rng: Rng) -> Drawn:
    kernel = size(rng, 1, 3)
    options = {
        "stride": None if rng.random() < 0.3 else size(rng, 1, 3),
        "padding": tuple(int(rng.integers(0, k // 2 + 1)) for k in as_pair(kernel)),
        "dilation": size(rng, 1, 2),
        "ceil_mode": bool(rng.integers(2)),
    }
    return image(rng), (kernel,), options


def max_pool_with_indices(rng: Rng) -> Drawn:
    shape, arguments, options = max_pool(rng)
    return shape, arguments, options | {"return_indices": True}


def avg_pool(rng: Rng) -> Drawn:
    shape, arguments, options = max_pool(rng)
    del options["dilation"]
    options["count_include_pad"] = bool(rng.integers(2))
    options["divisor_override"] = None if rng.random() < 0.6 else int(rng.integers(1, 9))
    return shape, arguments, options


def adaptive_avg_pool(rng: Rng) -> Drawn:
    wanted = [None if rng.random() < 0.2 else int(rng.integers(1, 13)) for _ in range(2)]
    return image(rng), (tuple(wanted) if rng.random() < 0.7 else wanted[0] or 1,), {}


def batch_norm(rng: Rng) -> Drawn:
    channels = int(rng.integers(1, 6))
    options = {
        "eps": float(rng.choice([1e-5, 1e-3])),
        "momentum": None if rng.random() < 0.2 else float(rng.uniform(0, 1)),
        "affine": bool(rng.integers(2)),
        "track_running_stats": bool(rng.random() < 0.7),
    }
    return image(rng, channels, 3), (channels,), options


def group_norm(rng: Rng) -> Drawn:
    groups = int(rng.integers(1, 4))
    channels = groups * int(rng.integers(1, 4))
    options = {"eps": float(rng.choice([1e-5, 1e-3])), "affine": bool(rng.integers(2))}
    return (
        (int(rng.integers(1, 4)), channels, 3, *full_shape(rng, 0, 2)),
        (groups, channels),
        options,
    )


def layer_norm(rng: Rng) -> Drawn:
    shape = tuple(n + 2 for n in full_shape(rng, 1))
    normalized = shape[int(rng.integers(len(shape))) :]
    options = {
        "eps": float(rng.choice([1e-5, 1e-3])),
        "elementwise_affine": bool(rng.integers(2)),
        "bias": bool(rng.integers(2)),
    }
    return shape, (normalized[0] if len(normalized) == 1 else normalized,), options


def linear(rng: Rng) -> Drawn:
    inputs, outputs = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    return (*random_shape(rng, 0, 3), inputs), (inputs, outputs), {"bias": bool(rng.integers(2))}


def upsample(rng: Rng) -> Drawn:
    mode = str(rng.choice(["nearest", "bilinear"]))
    options: dict[str, Any] = {"mode": mode}
    if mode == "bilinear":
        options["align_corners"] = bool(rng.integers(2))
    if rng.random() < 0.4:
        options["size"] = size(rng, 1, 25)
    else:
        options["scale_factor"] = factor(rng) if rng.random() < 0.5 else (factor(rng), factor(rng))
        options["recompute_scale_factor"] = bool(rng.integers(2)) or None
    return image(rng, least=4), (), options


def factor(rng: Rng) -> float:
    """An integer, decimal or arbitrary scale factor that keeps at least one pixel of four."""
    kind = rng.random()
    if kind < 0.3:
        return float(rng.integers(1, 5))
    drawn = float(rng.uniform(0.3, 4))
    return round(drawn, 1) if kind < 0.7 else drawn


def softmax(rng: Rng) -> Drawn:
    shape = random_shape(rng, 1)
    return shape, (int(rng.integers(-len(shape), len(shape))),), {}


def flatten(rng: Rng) -> Drawn:
    shape = random_shape(rng, 2)
    return shape, (int(rng.integers(0, 2)), -1), {}


def channel_shuffle(rng: Rng) -> Drawn:
    groups, width, *sizes = (int(n) for n in rng.integers(1, 6, 5))
    return (sizes[0], groups * width, *sizes[1:]), (groups,), {}


def activation(*arguments: Any) -> Callable[[Rng], Drawn]:
    return lambda rng: (random_shape(rng), arguments, {})


LAYERS: dict[str, tuple[str, Callable[[Rng], Drawn]]] = {
    "AdaptiveAvgPool2d": ("AdaptiveAvgPool2d", adaptive_avg_pool),
    "AvgPool2d": ("AvgPool2d", avg_pool),
    "BatchNorm2d": ("BatchNorm2d", batch_norm),
    "ChannelShuffle": ("ChannelShuffle", channel_shuffle),
    "Conv2d": ("Conv2d", conv2d),
    "Conv2d 3x3": ("Conv2d", winograd),
    "ConvTranspose2d": ("ConvTranspose2d", conv_transpose2d),
    "Dropout": ("Dropout", activation(0.0)),
    "Flatten": ("Flatten", flatten),
    "GELU": ("GELU", activation()),
    "GroupNorm": ("GroupNorm", group_norm),
    "Identity": ("Identity", activation()),
    "LayerNorm": ("LayerNorm", layer_norm),
    "LeakyReLU": ("LeakyReLU", activation(0.3)),
    "Linear": ("Linear", linear),
    "MaxPool2d": ("MaxPool2d", max_pool),
    "MaxPool2d with indices": ("MaxPool2d", max_pool_with_indices),
    "ReLU": ("ReLU", activation()),
    "ReLU6": ("ReLU6", activation()),
    "Hardswish": ("Hardswish", activation()),
    "SiLU": ("SiLU", activation()),
    "Sigmoid": ("Sigmoid", activation()),
    "Softmax": ("Softmax", softmax),
    "LogSoftmax": ("LogSoftmax", softmax),
    "Tanh": ("Tanh", activation()),
    "Upsample": ("Upsample", upsample),
}


def pair_of_layers(name: str, drawn: Drawn, dtype: str, rng: Rng) -> tuple[Any, Any]:
    """The layer in Lucid and PyTorch, with the same random parameters and buffers."""
    _, arguments, options = drawn
    ours = getattr(nn, name)(*arguments, **options).to(dtype)
    theirs = getattr(torch.nn, name)(*arguments, **options).to(getattr(torch, dtype))
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    for value in state.values():
        if value.dtype.is_floating_point:
            value.copy_(torch.tensor(rng.random(tuple(value.shape)) + 0.5))
    ours.load_state_dict({key: value.numpy().copy() for key, value in state.items()})
    return ours, theirs


def fits(theirs: Any, shape: tuple[int, ...]) -> bool:
    """Whether PyTorch accepts the input; Lucid must refuse the others."""
    try:
        with quiet_torch():
            theirs(torch.zeros(shape, dtype=torch.float32))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layer", LAYERS)
def test_layer(layer: str, dtype: str) -> None:
    name, draw = LAYERS[layer]
    compared = 0
    for seed in range(3 * CONFIGURATIONS):
        rng = np.random.default_rng(seed)
        drawn = draw(rng)
        probe = getattr(torch.nn, name)(*drawn[1], **drawn[2])
        if not fits(probe, drawn[0]):
            with pytest.raises(ValueError, match=r"[a-z]"):
                getattr(nn, name)(*drawn[1], **drawn[2])(lucid.zeros(drawn[0]))
            continue
        ours, theirs = pair_of_layers(name, drawn, dtype, rng)
        for training in (True, False):
            ours.train(training)
            theirs.train(training)
            compare_layers(ours, theirs, rng.standard_normal(drawn[0]), dtype)
        compared += 1
        if compared == CONFIGURATIONS:
            break
    assert compared == CONFIGURATIONS


def compare_layers(ours: Any, theirs: Any, x: np.ndarray, dtype: str) -> None:
    ours.zero_grad()
    theirs.zero_grad()
    compare(ours, theirs, [x], dtype=dtype)
    mine = dict(ours.named_parameters())
    for key, value in theirs.named_parameters():
        same(mine[key].grad.numpy(), value.grad.numpy(), dtype, f"gradient of {key} in {theirs}")
    for key, value in theirs.state_dict().items():
        same(ours.state_dict()[key].numpy(), value.numpy(), dtype, f"{key} of {theirs}")


def test_every_layer_is_compared() -> None:
    """Other modules are containers, losses, or tested elsewhere."""
    elsewhere = {"ConvNormAct", "FrozenBatchNorm2d", "ModuleDict", "ModuleList", "Sequential"}
    elsewhere |= {"SqueezeExcitation", "StochasticDepth"}  # torchvision's
    elsewhere |= {"Hardsigmoid"}  # as a function: PyTorch's gradient has float32's accuracy only
    known = {name for name, _ in LAYERS.values()} | elsewhere
    layers = {
        name
        for name in nn.__all__
        if isinstance(getattr(nn, name), type)
        and issubclass(getattr(nn, name), nn.Module)
        and not name.endswith("Loss")
    }
    assert layers - {"Module"} == known


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("norm", ["batch", "frozen", None])
def test_conv_norm_act_equals_its_parts(norm: str | None, dtype: str) -> None:
    """Convolution, normalization, residual and ReLU, as separate operations in PyTorch."""
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng(seed)
        inputs, outputs, stride = (int(n) for n in rng.integers(1, 4, 3))
        ours = nn.ConvNormAct(inputs, outputs, 3, stride, norm=norm).to(dtype)
        conv = torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=norm is None)
        after = torch.nn.BatchNorm2d(outputs) if norm else torch.nn.Identity()
        conv, after = conv.to(getattr(torch, dtype)), after.to(getattr(torch, dtype))
        for module, prefix in ((conv, "conv"), (after, "norm")):
            for key, value in module.state_dict().items():
                mine = ours.state_dict().get(f"{prefix}.{key}")
                if mine is not None and mine.dtype.kind == "f":
                    drawn = np.asarray(rng.random(mine.shape) + 0.5).astype(dtype)
                    mine.copy_(lucid.Tensor(drawn))
                    value.copy_(torch.tensor(drawn))
        after.train(norm != "frozen")
        shape = image(rng, inputs, 5)
        x = rng.standard_normal(shape)
        height, width = ((n - 1) // stride + 1 for n in shape[2:])
        residual = rng.standard_normal((shape[0], outputs, height, width))
        compare(
            lambda x, r, ours=ours: ours(x, residual=r),
            lambda x, r, conv=conv, after=after: torch.relu(after(conv(x)) + r),
            [x, residual],
            dtype=dtype,
        )


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_squeeze_excitation_equals_torchvision(dtype: str) -> None:
    from torchvision_cpu import torchvision

    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng(seed)
        channels, squeezed = (int(n) for n in rng.integers(1, 20, 2))
        ours = nn.SqueezeExcitation(channels, squeezed, "silu", "sigmoid").to(dtype)
        theirs = torchvision.ops.SqueezeExcitation(channels, squeezed, torch.nn.SiLU)
        theirs.to(getattr(torch, dtype))
        assert list(ours.state_dict()) == list(theirs.state_dict())
        state = theirs.state_dict()
        ours.load_state_dict({key: value.numpy().copy() for key, value in state.items()})
        shape = (2, channels, *(int(n) for n in rng.integers(1, 9, 2)))
        compare_layers(ours, theirs, rng.standard_normal(shape), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("mode", ["row", "batch"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_stochastic_depth_equals_torchvision(
    p: float, training: bool, mode: str, dtype: str
) -> None:
    """With probability 0 or 1."""
    from torchvision_cpu import torchvision

    x = np.random.default_rng(0).standard_normal((4, 3, 2))
    compare(
        lambda x: nn.functional.stochastic_depth(x, p, mode, training),
        lambda x: torchvision.ops.stochastic_depth(x, p, mode, training),
        [x],
        dtype=dtype,
    )
