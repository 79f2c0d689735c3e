"""Weight converter for torchvision's RetinaNet.

In addition to :mod:`lucid_models_detection.torchvision`::

    torchvision                                Lucid
    head.classification_head.conv.0.0.*        classification_head.conv.0.conv.*
    head.classification_head.cls_logits.*      classification_head.output.*
    head.regression_head.conv.0.0.*            regression_head.conv.0.conv.*
    head.regression_head.bbox_reg.*            regression_head.output.*

Checkpoints before torchvision 0.13 lack the last ``.0``, and number the convolutions of the
heads 0, 2, 4, 6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lucid_models_detection.torchvision import TorchvisionConverter

__all__ = ["RetinaNetConverter", "converter"]

_HEAD = r"(?:classification|regression)_head"


class RetinaNetConverter(TorchvisionConverter):
    """Convert the parameter names of ``retinanet_resnet50_fpn``.

    Examples
    --------
    >>> from lucid_models_detection.retinanet.converter import converter
    >>> converter.rename("head.classification_head.cls_logits.bias")
    'classification_head.output.bias'
    """

    family = "retinanet"
    anchors = 9
    from_torchvision = (
        (re.compile(rf"head\.({_HEAD}\.conv\.\d)\.0\.(\w+)"), r"\1.conv.\2"),
        *(
            (re.compile(rf"head\.({_HEAD}\.conv\.){2 * i}\.(\w+)"), rf"\g<1>{i}.conv.\2")
            for i in range(4)
        ),
        (re.compile(rf"head\.({_HEAD}\.)(?:cls_logits|bbox_reg)\.(\w+)"), r"\1output.\2"),
    )
    to_torchvision = (
        (re.compile(rf"({_HEAD}\.conv\.\d)\.conv\.(\w+)"), r"head.\1.0.\2"),
        (re.compile(r"(classification_head\.)output\.(\w+)"), r"head.\1cls_logits.\2"),
        (re.compile(r"(regression_head\.)output\.(\w+)"), r"head.\1bbox_reg.\2"),
    )
    own = re.compile(
        rf"{_HEAD}\.(?:conv\.\d\.conv|output)\.\w+"
        rf"|head\.{_HEAD}\.(?:conv\.\d(?:\.0)?|cls_logits|bbox_reg)\.\w+"
    )

    def heads(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, dict[str, Any]] | None:
        """Identify the family by its two heads."""
        classes = shapes.get("classification_head.output.weight", ())
        offsets = shapes.get("regression_head.output.weight", ())
        if len(classes) != 4 or len(offsets) != 4 or offsets[0] < 4:
            return None
        anchors = offsets[0] // 4
        return anchors, {"num_classes": classes[0] // anchors, "channels": classes[1]}


converter = RetinaNetConverter()
