"""The fixed shapes of the registered classifiers, which their weights tell apart."""

from __future__ import annotations

from dataclasses import dataclass

from lucid_models_classification.blocks import BasicBlock, Bottleneck

__all__ = ["ARCHITECTURES", "Architecture"]


@dataclass(frozen=True)
class Architecture:
    """What is the same in every network of one name.

    Attributes
    ----------
    block : type
        Of which all four stages are made.
    depths : tuple of int
        Number of blocks of each stage.
    groups : int
        Groups of the 3x3 convolutions.
    width_per_group : int
        Width of each group in the first stage.
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]
    groups: int = 1
    width_per_group: int = 64


#: By registered name.
ARCHITECTURES = {
    "resnet_18": Architecture(BasicBlock, (2, 2, 2, 2)),
    "resnet_34": Architecture(BasicBlock, (3, 4, 6, 3)),
    "resnet_50": Architecture(Bottleneck, (3, 4, 6, 3)),
    "resnet_101": Architecture(Bottleneck, (3, 4, 23, 3)),
    "resnet_152": Architecture(Bottleneck, (3, 8, 36, 3)),
    "wide_resnet_50_2": Architecture(Bottleneck, (3, 4, 6, 3), width_per_group=128),
    "wide_resnet_101_2": Architecture(Bottleneck, (3, 4, 23, 3), width_per_group=128),
    "resnext_50_32x4d": Architecture(Bottleneck, (3, 4, 6, 3), groups=32, width_per_group=4),
    "resnext_101_32x8d": Architecture(Bottleneck, (3, 4, 23, 3), groups=32, width_per_group=8),
    "resnext_101_64x4d": Architecture(Bottleneck, (3, 4, 23, 3), groups=64, width_per_group=4),
}
