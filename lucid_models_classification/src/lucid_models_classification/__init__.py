"""ResNet, Wide ResNet, ResNeXt and MobileNet classifiers for Lucid.

Names are imported on first use (PEP 562), so that listing models imports neither networks nor
Pillow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lucid.hints import attribute_error, register_hints

if TYPE_CHECKING:
    from lucid_models_classification.image_folder import ImageFolder as ImageFolder
    from lucid_models_classification.mobilenet import BlockConfig as BlockConfig
    from lucid_models_classification.mobilenet import InvertedResidual as InvertedResidual
    from lucid_models_classification.mobilenet import MobileNet as MobileNet
    from lucid_models_classification.mobilenet import make_divisible as make_divisible
    from lucid_models_classification.mobilenetv2 import MobileNetV2 as MobileNetV2
    from lucid_models_classification.mobilenetv2 import mobilenet_v2 as mobilenet_v2
    from lucid_models_classification.mobilenetv3 import MobileNetV3 as MobileNetV3
    from lucid_models_classification.mobilenetv3 import mobilenet_v3_large as mobilenet_v3_large
    from lucid_models_classification.mobilenetv3 import mobilenet_v3_small as mobilenet_v3_small
    from lucid_models_classification.resnet import BasicBlock as BasicBlock
    from lucid_models_classification.resnet import Bottleneck as Bottleneck
    from lucid_models_classification.resnet import ResNet as ResNet
    from lucid_models_classification.resnet import resnet_18 as resnet_18
    from lucid_models_classification.resnet import resnet_34 as resnet_34
    from lucid_models_classification.resnet import resnet_50 as resnet_50
    from lucid_models_classification.resnet import resnet_101 as resnet_101
    from lucid_models_classification.resnet import resnet_152 as resnet_152
    from lucid_models_classification.resnet import resnext_50_32x4d as resnext_50_32x4d
    from lucid_models_classification.resnet import resnext_101_32x8d as resnext_101_32x8d
    from lucid_models_classification.resnet import resnext_101_64x4d as resnext_101_64x4d
    from lucid_models_classification.resnet import wide_resnet_50_2 as wide_resnet_50_2
    from lucid_models_classification.resnet import wide_resnet_101_2 as wide_resnet_101_2
    from lucid_models_classification.torchvision import (
        load_torchvision_weights as load_torchvision_weights,
    )

_MODULES = {
    "BasicBlock": "resnet",
    "BlockConfig": "mobilenet",
    "Bottleneck": "resnet",
    "ImageFolder": "image_folder",
    "InvertedResidual": "mobilenet",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenetv2",
    "MobileNetV3": "mobilenetv3",
    "ResNet": "resnet",
    "load_torchvision_weights": "torchvision",
    "make_divisible": "mobilenet",
    "mobilenet_v2": "mobilenetv2",
    "mobilenet_v3_large": "mobilenetv3",
    "mobilenet_v3_small": "mobilenetv3",
    "resnet_18": "resnet",
    "resnet_34": "resnet",
    "resnet_50": "resnet",
    "resnet_101": "resnet",
    "resnet_152": "resnet",
    "resnext_50_32x4d": "resnet",
    "resnext_101_32x8d": "resnet",
    "resnext_101_64x4d": "resnet",
    "wide_resnet_50_2": "resnet",
    "wide_resnet_101_2": "resnet",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
        value = globals()[name] = getattr(module, name)
        return value
    raise attribute_error(__name__, name)


def _names_of_torchvision() -> dict[str, str]:
    models = "torchvision's names of models are in lucid.models, such as `lucid.models.resnet50`"
    weights = (
        'give the tag as create_model("resnet_50", weights="imagenet1k_v2"); '
        '`lucid.weights.list_weights("resnet_50")` lists the tags'
    )
    return {**dict.fromkeys(("resnet*", "resnext*", "wide_resnet*"), models), "*_Weights": weights}


register_hints(__name__, _names_of_torchvision)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
