"""Weights of torchvision 0.28 for the classifiers, as listed in its ``Weights`` enumerations."""

from __future__ import annotations

from lucid.models.hookspecs import RegisterWeights
from lucid.vision.transforms import preprocessing

__all__ = ["register_weights"]

# By weight converter: model, version of the recipe, file without suffix (its name ends in the first
# digits of the SHA-256), MiB, resized side in pixels, top-1 and top-5 accuracy in percent on
# ImageNet-1K's validation images.
_FILES = {
    "torchvision-resnet": (
        ("resnet_18", 1, "resnet18-f37072fd", 44.661, 256, 69.758, 89.078),
        ("resnet_34", 1, "resnet34-b627a593", 83.275, 256, 73.314, 91.42),
        ("resnet_50", 1, "resnet50-0676ba61", 97.781, 256, 76.13, 92.862),
        ("resnet_50", 2, "resnet50-11ad3fa6", 97.79, 232, 80.858, 95.434),
        ("resnet_101", 1, "resnet101-63fe2227", 170.511, 256, 77.374, 93.546),
        ("resnet_101", 2, "resnet101-cd907fc2", 170.53, 232, 81.886, 95.78),
        ("resnet_152", 1, "resnet152-394f9c45", 230.434, 256, 78.312, 94.046),
        ("resnet_152", 2, "resnet152-f82ba261", 230.474, 232, 82.284, 96.002),
        ("wide_resnet_50_2", 1, "wide_resnet50_2-95faca4d", 131.82, 256, 78.468, 94.086),
        ("wide_resnet_50_2", 2, "wide_resnet50_2-9ba9bcbe", 263.124, 232, 81.602, 95.758),
        ("wide_resnet_101_2", 1, "wide_resnet101_2-32ee1156", 242.896, 256, 78.848, 94.284),
        ("wide_resnet_101_2", 2, "wide_resnet101_2-d733dc28", 484.747, 232, 82.51, 96.02),
        ("resnext_50_32x4d", 1, "resnext50_32x4d-7cdf4587", 95.789, 256, 77.618, 93.698),
        ("resnext_50_32x4d", 2, "resnext50_32x4d-1a0047aa", 95.833, 232, 81.198, 95.34),
        ("resnext_101_32x8d", 1, "resnext101_32x8d-8ba56ff5", 339.586, 256, 79.312, 94.526),
        ("resnext_101_32x8d", 2, "resnext101_32x8d-110c445d", 339.673, 232, 82.834, 96.228),
        ("resnext_101_64x4d", 1, "resnext101_64x4d-173b62eb", 319.318, 232, 83.246, 96.454),
    ),
    "torchvision-mobilenet-v2": (
        ("mobilenet_v2", 1, "mobilenet_v2-b0353104", 13.555, 256, 71.878, 90.286),
        ("mobilenet_v2", 2, "mobilenet_v2-7ebf99e0", 13.598, 232, 72.154, 90.822),
    ),
    "torchvision-mobilenet-v3-large": (
        ("mobilenet_v3_large", 1, "mobilenet_v3_large-8738ca79", 21.114, 256, 74.042, 91.34),
        ("mobilenet_v3_large", 2, "mobilenet_v3_large-5c1a4163", 21.107, 232, 75.274, 92.566),
    ),
    "torchvision-mobilenet-v3-small": (
        ("mobilenet_v3_small", 1, "mobilenet_v3_small-047dcff4", 9.829, 256, 67.668, 87.402),
    ),
}
_URL = "https://download.pytorch.org/models/{}.pth"
_LICENSE = "BSD-3-Clause; trained on ImageNet, see its terms of access"


def register_weights(register: RegisterWeights) -> None:
    """Register torchvision's files; the newest recipe of a model is its default."""
    newest = {model: version for files in _FILES.values() for model, version, *_ in files}
    for converter, files in _FILES.items():
        for model, version, file, mebibytes, resize_size, top_1, top_5 in files:
            register(
                model,
                f"imagenet1k_v{version}",
                url=_URL.format(file),
                sha256=file.rpartition("-")[2],
                size=round(mebibytes * 2**20),
                license=_LICENSE,
                source="torchvision",
                metrics={"acc@1": top_1, "acc@5": top_5},
                classes="lucid_models_classification.imagenet:CLASS_NAMES",
                preprocessing=preprocessing(resize_size=resize_size, crop_size=224),
                converter=converter,
                default=version == newest[model],
            )
