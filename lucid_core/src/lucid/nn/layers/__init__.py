"""The layers of ``lucid.nn``, one concern a file."""

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

__all__ = [
    "GELU",
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
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "SqueezeExcitation",
    "StochasticDepth",
    "Tanh",
    "Upsample",
]
