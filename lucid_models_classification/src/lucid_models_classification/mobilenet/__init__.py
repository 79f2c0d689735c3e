"""MobileNetV2 and MobileNetV3.

``network``    the inverted residual block and the networks
``builders``   one function for each registered name
``converter``  torchvision's names
"""

from __future__ import annotations

from lucid_models_classification.mobilenet.network import (
    BlockConfig,
    InvertedResidual,
    MobileNet,
    MobileNetV2,
    MobileNetV3,
    make_divisible,
)

__all__ = [
    "BlockConfig",
    "InvertedResidual",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3",
    "make_divisible",
]
