"""Faster R-CNN on a feature pyramid.

``network``    both stages on a backbone
``rpn``        the first stage, which proposes regions
``roi_heads``  the second stage, which classifies them and refines their boxes
``stages``     both of them from the options and the given parts
``options``    its options
``builders``   one function for each registered name
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
