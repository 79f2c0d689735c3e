"""Neural network modules, layers, losses and initializers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lucid.hints import add_hints, attribute_error
from lucid.nn import functional, init, utils
from lucid.nn.hooks import RemovableHandle
from lucid.nn.layers import (
    GELU,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    BCEWithLogitsLoss,
    Conv2d,
    ConvNormAct,
    ConvTranspose2d,
    CrossEntropyLoss,
    Dropout,
    Flatten,
    FrozenBatchNorm2d,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    HuberLoss,
    Identity,
    L1Loss,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    MaxPool2d,
    ModuleDict,
    ModuleList,
    MSELoss,
    NLLLoss,
    ReLU,
    ReLU6,
    Sequential,
    Sigmoid,
    SiLU,
    SmoothL1Loss,
    Softmax,
    SqueezeExcitation,
    StochasticDepth,
    Tanh,
    Upsample,
)
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter
from lucid.nn.state_dict import LoadResult

__all__ = [
    "GELU",
    "SGD",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm2d",
    "Conv2d",
    "ConvNormAct",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "FrozenBatchNorm2d",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "HuberLoss",
    "Identity",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LoadResult",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "ReLU6",
    "RemovableHandle",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "SqueezeExcitation",
    "StochasticDepth",
    "Tanh",
    "Upsample",
    "functional",
    "init",
    "utils",
]

if TYPE_CHECKING:
    SGD: Any

add_hints(globals())


def __getattr__(name: str) -> Any:
    # lucid.optim imports lucid.nn, so nn.SGD is resolved on first use.
    if name == "SGD":
        return importlib.import_module("lucid.optim").SGD
    raise attribute_error("lucid.nn", name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
