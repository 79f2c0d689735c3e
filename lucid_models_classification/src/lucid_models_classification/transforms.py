"""Image transforms: :mod:`lucid.vision.transforms`, and images to and from Pillow.

Examples
--------
>>> import numpy as np
>>> from lucid_models_classification import transforms
>>> train = transforms.Compose(
...     [
...         transforms.RandomResizedCrop(224),
...         transforms.RandomHorizontalFlip(),
...         transforms.Normalize(transforms.IMAGENET_MEAN, transforms.IMAGENET_STD),
...     ]
... )
>>> train(np.zeros((3, 300, 400), np.float32)).shape
(3, 224, 224)
"""

from lucid.hints import add_attribute_hints, register_hints
from lucid.torch_names import ATTRIBUTES
from lucid.vision import ImageError, read_image, to_array, to_pil
from lucid.vision.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    Compose,
    Grayscale,
    Normalize,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    build_transform,
    preprocessing,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "CenterCrop",
    "Compose",
    "Grayscale",
    "ImageError",
    "Normalize",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "build_transform",
    "preprocessing",
    "read_image",
    "to_array",
    "to_pil",
]

register_hints(__name__, lambda: ATTRIBUTES["lucid.vision.transforms"])
add_attribute_hints(globals())
