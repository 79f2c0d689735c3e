"""Neural network modules, layers, losses and initializers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lucid.hints import add_hints, attribute_error
from lucid.nn import functional, init, utils
from lucid.nn.hooks import RemovableHandle
from lucid.nn.layers.activation import (
    GELU,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from lucid.nn.layers.channel_shuffle import ChannelShuffle
from lucid.nn.layers.container import ModuleDict, ModuleList, Sequential
from lucid.nn.layers.conv import Conv2d, ConvTranspose2d
from lucid.nn.layers.conv_norm_act import ConvNormAct
from lucid.nn.layers.dropout import Dropout, StochasticDepth
from lucid.nn.layers.flatten import Flatten
from lucid.nn.layers.linear import Identity, Linear
from lucid.nn.layers.loss import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from lucid.nn.layers.norm import BatchNorm2d, FrozenBatchNorm2d, GroupNorm, LayerNorm
from lucid.nn.layers.pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from lucid.nn.layers.squeeze_excitation import SqueezeExcitation
from lucid.nn.layers.upsample import Upsample
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
    "ChannelShuffle",
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
