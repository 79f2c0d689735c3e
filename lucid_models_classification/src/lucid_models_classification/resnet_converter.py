"""Weight converter for torchvision's ResNet, Wide ResNet and ResNeXt.

Only the parameter names differ::

    torchvision                      Lucid
    conv1.weight                     stem.conv.weight
    bn1.*                            stem.norm.*
    layer1.0.conv2.weight            layer1.0.conv2.conv.weight
    layer1.0.bn2.*                   layer1.0.conv2.norm.*
    layer1.0.downsample.0.weight     layer1.0.downsample.conv.weight
    layer1.0.downsample.1.*          layer1.0.downsample.norm.*
    fc.*                             fc.*
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lucid import StateDictError
from lucid.weights import WeightConverter, rename_key
from lucid_models_classification.resnet import (
    ARCHITECTURES,
    Architecture,
    BasicBlock,
    Bottleneck,
)

__all__ = ["ResNetConverter", "converter"]

_BLOCK_NUMBER = re.compile(r"layer([1-4])\.(\d{1,4})\.")
_BLOCK = r"(?P<block>layer[1-4]\.\d+\.)"
_FROM_TORCHVISION = [
    (re.compile(r"conv1\.weight"), "stem.conv.weight"),
    (re.compile(r"bn1\.(?P<rest>\w+)"), r"stem.norm.\g<rest>"),
    (re.compile(_BLOCK + r"conv(?P<i>\d)\.weight"), r"\g<block>conv\g<i>.conv.weight"),
    (re.compile(_BLOCK + r"bn(?P<i>\d)\.(?P<rest>\w+)"), r"\g<block>conv\g<i>.norm.\g<rest>"),
    (re.compile(_BLOCK + r"downsample\.0\.weight"), r"\g<block>downsample.conv.weight"),
    (re.compile(_BLOCK + r"downsample\.1\.(?P<rest>\w+)"), r"\g<block>downsample.norm.\g<rest>"),
]
_TO_TORCHVISION = [
    (re.compile(r"stem\.conv\.weight"), "conv1.weight"),
    (re.compile(r"stem\.norm\.(?P<rest>\w+)"), r"bn1.\g<rest>"),
    (re.compile(_BLOCK + r"conv(?P<i>\d)\.conv\.weight"), r"\g<block>conv\g<i>.weight"),
    (re.compile(_BLOCK + r"conv(?P<i>\d)\.norm\.(?P<rest>\w+)"), r"\g<block>bn\g<i>.\g<rest>"),
    (re.compile(_BLOCK + r"downsample\.conv\.weight"), r"\g<block>downsample.0.weight"),
    (re.compile(_BLOCK + r"downsample\.norm\.(?P<rest>\w+)"), r"\g<block>downsample.1.\g<rest>"),
]
_OWN = re.compile(
    r"(?:stem|layer[1-4]\.\d+\.(?:conv\d|downsample))\.(?:conv|norm)\.\w+|fc\.(?:weight|bias)"
)


class ResNetConverter(WeightConverter):
    """Convert between torchvision's and Lucid's parameter names of a ResNet.

    timm's names are torchvision's.

    Examples
    --------
    >>> from lucid_models_classification.resnet_converter import converter
    >>> converter.rename("layer2.0.bn3.running_mean")
    'layer2.0.conv3.norm.running_mean'
    >>> converter.export_key("layer2.0.conv3.norm.running_mean")
    'layer2.0.bn3.running_mean'
    >>> converter.has_key("layer1.0.bn1.weight"), converter.has_key("module.layer1.0.bn1.weight")
    (True, False)
    """

    def identify(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]] | None:
        """Identify the network by its blocks; arguments without weights keep their defaults."""
        own = {self.rename(key): shape for key, shape in shapes.items()}
        found = _architecture(own)
        return None if found is None else (_registered_name(found), _sizes(own))

    def rename(self, key: str) -> str:
        """Return Lucid's name; any other name unchanged."""
        return rename_key(key, _FROM_TORCHVISION)

    def export_key(self, key: str) -> str:
        """Return torchvision's name; any other name unchanged."""
        return rename_key(key, _TO_TORCHVISION)

    def has_key(self, key: str) -> bool:
        """Return whether a ResNet has this key, in Lucid or in torchvision."""
        return bool(_OWN.fullmatch(self.rename(key)))


converter = ResNetConverter()


def _registered_name(found: Architecture) -> str:
    for name, architecture in ARCHITECTURES.items():
        if architecture == found:
            return name
    raise StateDictError(
        f"expected a registered ResNet, got {found.depths} blocks of type {found.block.__name__} "
        f"with {found.groups} groups of width {found.width_per_group}"
    )


def _sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    stem, fc = shapes.get("stem.conv.weight", ()), shapes.get("fc.weight", ())
    sizes = {}
    if len(stem) == 4:
        sizes["in_channels"] = stem[1]
    if len(fc) == 2:
        sizes["num_classes"] = fc[0]
    return sizes


def _architecture(shapes: Mapping[str, tuple[int, ...]]) -> Architecture | None:
    """Infer the architecture from the shapes; None if they are not a ResNet's."""
    numbers: list[set[int]] = [set(), set(), set(), set()]
    for key in shapes:
        if match := _BLOCK_NUMBER.match(key):
            numbers[int(match[1]) - 1].add(int(match[2]))
    first = shapes.get("layer1.0.conv2.conv.weight", ())
    if len(first) != 4 or 0 in first or not all(numbers):
        return None
    first_depth, second, third, fourth = map(len, numbers)
    depths = (first_depth, second, third, fourth)
    if "layer1.0.conv3.conv.weight" not in shapes:
        return Architecture(BasicBlock, depths)
    groups = first[0] // first[1]
    return Architecture(Bottleneck, depths, groups, first[0] // max(groups, 1))
