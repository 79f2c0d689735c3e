"""Classifiers with PyTorch in the channels-last memory format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from worker import load_engine

pytorch = load_engine(Path(__file__).with_name("pytorch.py"))
VERSIONS = pytorch.VERSIONS
classify = partial(pytorch.classify, memory_format=torch.channels_last)
train = partial(pytorch.train_classifier, memory_format=torch.channels_last)

CASES: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "ResNet-50 prediction, 1 x 3 x 224 x 224": partial(classify, "resnet_50", 1),
    "ResNet-50 prediction, 8 x 3 x 224 x 224": partial(classify, "resnet_50", 8),
    "MobileNetV3-Large prediction, 1 x 3 x 224 x 224": partial(classify, "mobilenet_v3_large", 1),
    "ResNet-50 training step, 8 x 3 x 224 x 224": partial(train, "resnet50", (8, 3, 224, 224)),
    "ResNet-18 training step, 16 x 3 x 112 x 112": partial(train, "resnet18", (16, 3, 112, 112)),
}
