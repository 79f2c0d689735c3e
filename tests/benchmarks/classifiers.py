"""Classifiers that are compared, and their cases."""

from __future__ import annotations

import re

#: Name in Lucid by the name in the cases.
CLASSIFIERS = {
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3-Small": "mobilenet_v3_small",
    "MobileNetV3-Large": "mobilenet_v3_large",
    "ResNet-18": "resnet_18",
    "ResNet-50": "resnet_50",
    "ResNeXt-50 32x4d": "resnext_50_32x4d",
}
#: Name in Lucid and number of images of each case.
PREDICTIONS = {
    f"{title} prediction, {count} x 3 x 224 x 224": (name, count)
    for title, name in CLASSIFIERS.items()
    for count in (1, 8)
}
#: Name in Lucid and shape of the images of each case.
TRAINING_STEPS = {
    "MobileNetV3-Large training step, 16 x 3 x 224 x 224": (
        "mobilenet_v3_large",
        (16, 3, 224, 224),
    ),
    "ResNet-50 training step, 8 x 3 x 224 x 224": ("resnet_50", (8, 3, 224, 224)),
    "ResNet-18 training step, 16 x 3 x 112 x 112": ("resnet_18", (16, 3, 112, 112)),
}


def torchvision_name(name: str) -> str:
    """Name in torchvision: ``resnet50`` for ``resnet_50``."""
    return re.sub(r"_(?=\d)", "", name, count=1)
