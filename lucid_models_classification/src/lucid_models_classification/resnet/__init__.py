"""ResNet, Wide ResNet and ResNeXt.

``network``    the blocks and the network
``builders``   one function for each registered name
``converter``  torchvision's names
"""

from __future__ import annotations

from lucid_models_classification.resnet.network import BasicBlock, Bottleneck, ResNet

__all__ = ["BasicBlock", "Bottleneck", "ResNet"]
