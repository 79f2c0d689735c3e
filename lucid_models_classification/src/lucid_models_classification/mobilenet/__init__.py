"""MobileNetV2 and MobileNetV3.

``block``      the inverted residual block
``network``    the networks
``builders``   one function for each registered name
``converter``  weights of torchvision and timm
"""

from __future__ import annotations

from lucid_models_classification.mobilenet.block import (
    BlockConfig,
    InvertedResidual,
    make_divisible,
)
from lucid_models_classification.mobilenet.network import MobileNet, MobileNetV2, MobileNetV3

__all__ = [
    "BlockConfig",
    "InvertedResidual",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3",
    "make_divisible",
]
