"""Weight converter for torchvision's Faster R-CNN.

In addition to :mod:`lucid_models_detection.torchvision`::

    torchvision                                Lucid
    rpn.head.conv.0.0.*                        rpn.head.conv.conv.*
    rpn.head.cls_logits.*, bbox_pred.*         unchanged
    roi_heads.box_head.*, box_predictor.*      unchanged

Checkpoints before torchvision 0.13 lack the ``.0.0``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from lucid_models_detection.torchvision import TorchvisionConverter

__all__ = ["FasterRCNNConverter", "converter"]


class FasterRCNNConverter(TorchvisionConverter):
    """Convert the parameter names of ``fasterrcnn_resnet50_fpn``.

    Examples
    --------
    >>> from lucid_models_detection.faster_rcnn.converter import converter
    >>> converter.rename("rpn.head.conv.0.0.weight")
    'rpn.head.conv.conv.weight'
    >>> converter.rename("backbone.fpn.inner_blocks.3.0.bias")
    'backbone.fpn.lateral.3.bias'
    """

    family = "faster_rcnn"
    options: ClassVar[Mapping[str, Any]] = {
        "anchor_sizes": ((32,), (64,), (128,), (256,), (512,)),
        "aspect_ratios": (0.5, 1.0, 2.0),
        "rpn_pre_nms_top_n": (2000, 1000),
        "rpn_post_nms_top_n": (2000, 1000),
    }
    anchors = 3
    from_torchvision = ((re.compile(r"(rpn\.head\.conv\.)(?:0\.0\.)?(\w+)"), r"\1conv.\2"),)
    to_torchvision = ((re.compile(r"(rpn\.head\.conv\.)conv\.(\w+)"), r"\g<1>0.0.\2"),)
    own = re.compile(
        r"rpn\.head\.(?:conv|cls_logits|bbox_pred)\..+"
        r"|roi_heads\.(?:box_head|box_predictor)\..+"
    )

    def heads(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, dict[str, Any]] | None:
        """Identify the family by the box head and the RPN head."""
        classes = shapes.get("roi_heads.box_predictor.cls_score.weight", ())
        anchors = shapes.get("rpn.head.cls_logits.weight", ())
        hidden = shapes.get("roi_heads.box_head.fc6.weight", ())
        if len(classes) != 2 or len(anchors) != 4 or len(hidden) != 2:
            return None
        return anchors[0], {"num_classes": classes[0], "hidden_dim": hidden[0]}


converter = FasterRCNNConverter()
