"""``lucid train-detector``: from COCO files to a saved detector.

A run keeps everything in one folder: ``run.json`` (what it was started with),
``last.safetensors`` (the state to resume from), ``best.safetensors`` (the detector of
the best validation mAP), ``metrics.csv``, ``training.png`` and ``samples/``.

``options``      what it follows from
``data``         what is trained on, and what is validated on
``fine_tuning``  weights to start from, frozen stages, learning rates
``task``         what a run of a detector adds to :class:`lucid.training.Run`
``validation``   losses and COCO's measures after each epoch
``samples``      pictures of what is found
"""

from lucid_models_detection.training.options import TrainingOptions
from lucid_models_detection.training.task import DetectorTask, train_detector

__all__ = ["DetectorTask", "TrainingOptions", "train_detector"]
