"""Detectors of other libraries that Lucid does not have, identified by their state-dict keys."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["name_unsupported_detector"]

#: Models and the patterns that all must occur in the keys; the first match counts.
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
    """Name the detector that state-dict keys belong to, if Lucid does not have it, else None.

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
