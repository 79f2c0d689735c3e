"""Training of object detectors on COCO files, as by ``lucid train-detector``.

A run directory has ``run.json`` (options of the run), ``last.safetensors`` (state to resume from),
``best.safetensors`` (detector with the best validation mAP), ``metrics.csv``, ``training.png`` and
``samples/``.

``options``      training options
``data``         training and validation datasets
``fine_tuning``  pretrained weights, frozen stages, parameter groups
``task``         the detection task of :class:`lucid.training.Run`
``validation``   losses and COCO metrics after each epoch
``samples``      images with drawn detections
"""

from lucid_models_detection.training.options import TrainingOptions
from lucid_models_detection.training.task import DetectorTask, train_detector

__all__ = ["DetectorTask", "TrainingOptions", "train_detector"]
