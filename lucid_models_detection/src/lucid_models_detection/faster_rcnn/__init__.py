"""Faster R-CNN with a feature pyramid network.

- ``network``: the detector
- ``rpn``: region proposal network, the first stage
- ``roi_heads``: RoI heads, the second stage
- ``build``: both stages from a config and given parts
- ``config``: options
- ``builders``: one function per registered name
- ``converter``: weights of torchvision
"""

from __future__ import annotations

from lucid_models_detection.faster_rcnn.config import FasterRCNNConfig
from lucid_models_detection.faster_rcnn.network import FasterRCNN
from lucid_models_detection.faster_rcnn.roi_heads import BoxHead, BoxPredictor, RoIHeads
from lucid_models_detection.faster_rcnn.rpn import RegionProposalNetwork, RPNHead

__all__ = [
    "BoxHead",
    "BoxPredictor",
    "FasterRCNN",
    "FasterRCNNConfig",
    "RPNHead",
    "RegionProposalNetwork",
    "RoIHeads",
]
