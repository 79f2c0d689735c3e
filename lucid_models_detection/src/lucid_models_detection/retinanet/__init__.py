"""RetinaNet on a feature pyramid.

``network``   the network, its losses and its detections
``options``   its options
``builders``  one function for each registered name
"""

from __future__ import annotations

from lucid_models_detection.retinanet.network import RetinaNet
from lucid_models_detection.retinanet.options import RetinaNetOptions

__all__ = ["RetinaNet", "RetinaNetOptions"]
