"""Models imported from the plugin packages."""

from typing import Any, assert_type

import numpy as np

import lucid
from lucid_models_classification import ResNet, resnet_18
from lucid_models_detection import FasterRCNN, faster_rcnn_resnet_18_fpn

classifier = resnet_18(num_classes=4)
assert_type(classifier, ResNet)
assert_type(classifier.parameter_size, int)

detector = faster_rcnn_resnet_18_fpn(num_classes=4, rpn_post_nms_top_n=20)
assert_type(detector, FasterRCNN)
assert_type(detector.num_classes, int)
found = detector.predict([lucid.random.rand(3, 64, 64)])
assert_type(found[0]["boxes"], np.ndarray[Any, np.dtype[Any]])
