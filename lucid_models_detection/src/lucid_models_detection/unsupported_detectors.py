"""Detectors of other libraries and architectures, recognized by names in their state dicts.

Lucid has none of them; their weights are given to its own detectors by mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["name_unsupported_detector"]

#: A model and the patterns of names that it has, all of them; of several models the first.
_SIGNATURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("torchvision's Keypoint R-CNN", (r"roi_heads\.keypoint_(?:head|predictor)\.",)),
    ("torchvision's Mask R-CNN v2", (r"roi_heads\.mask_(?:head|predictor)\.", r"box_head\.0\.0\.")),
    ("torchvision's Mask R-CNN", (r"roi_heads\.mask_(?:head|predictor)\.", r"box_head\.fc6\.")),
    ("torchvision's Faster R-CNN v2", (r"roi_heads\.box_head\.0\.0\.",)),
    (
        "torchvision's Faster R-CNN with a MobileNetV3",
        (r"backbone\.body\.0\.0\.", r"roi_heads\.box_head\.fc6\."),
    ),
    ("torchvision's FCOS", (r"head\.regression_head\.bbox_ctrness\.",)),
    ("torchvision's RetinaNet v2", (r"head\.classification_head\.conv\.0\.1\.",)),
    ("torchvision's SSDlite", (r"head\.classification_head\.module_list\.0\.0\.",)),
    ("torchvision's SSD", (r"head\.classification_head\.module_list\.",)),
    ("a detector of Detectron2", (r"(?:proposal_generator|backbone\.bottom_up)\.",)),
    ("a DETR", (r"class_(?:embed|labels_classifier)\.", r"(?:transformer|decoder|encoder)\.")),
    ("a detector of MMDetection", (r"(?:rpn_head|bbox_head|neck)\.\w+",)),
    ("a YOLO of Ultralytics", (r"model\.\d+\.conv\.weight", r"model\.\d+\.cv1\.conv\.weight")),
)


def name_unsupported_detector(keys: Iterable[str]) -> str | None:
    """Name the detector that a state dict belongs to, of those that Lucid has not.

    Parameters
    ----------
    keys : iterable of str
        Names in the state dict, with or without the prefix of a wrapper.

    Returns
    -------
    str or None
        The library and the model; None if it is none of the known ones.

    Examples
    --------
    >>> from lucid_models_detection.unsupported_detectors import name_unsupported_detector
    >>> name_unsupported_detector(["backbone.body.x", "head.regression_head.bbox_ctrness.bias"])
    "torchvision's FCOS"
    """
    keys = list(keys)

    def has(pattern: str) -> bool:
        found = re.compile(rf"(?:^|\.){pattern}")
        return any(map(found.search, keys))

    return next((name for name, patterns in _SIGNATURES if all(map(has, patterns))), None)
