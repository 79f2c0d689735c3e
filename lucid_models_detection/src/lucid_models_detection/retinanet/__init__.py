"""RetinaNet with a feature pyramid network.

- ``network``: the detector
- ``config``: options
- ``builders``: one function per registered name
- ``converter``: weights of torchvision
"""

from __future__ import annotations

from lucid_models_detection.retinanet.config import RetinaNetConfig
from lucid_models_detection.retinanet.network import RetinaNet

__all__ = ["RetinaNet", "RetinaNetConfig"]
