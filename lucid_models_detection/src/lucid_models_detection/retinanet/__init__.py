"""RetinaNet on a feature pyramid.

``network``   the network, its losses and its detections
``options``   its options
``builders``  one function for each registered name
"""

from __future__ import annotations

from lucid_models_detection.retinanet.config import RetinaNetConfig
from lucid_models_detection.retinanet.network import RetinaNet

__all__ = ["RetinaNet", "RetinaNetConfig"]
