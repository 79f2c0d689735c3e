"""COCO and VOC datasets, batch collation and box-aware augmentation.

A sample is ``(image, target)``.  The image is a ``(3, H, W)`` float32 array in ``[0, 1]``; the
target is a dictionary with the M objects of the image:

``boxes``
    ``(M, 4)`` float32, xyxy in pixels.
``labels``
    ``(M,)`` int64, from 1; class 0 is the background.
``area``
    ``(M,)`` float32, square pixels: annotated area (of the segmentation, if the file has one,
    else of the box).  COCO evaluation divides objects into small, medium and large by it.
``ignored_boxes``, ``ignored_labels``
    ``(K, 4)`` and ``(K,)``: crowds (COCO) and difficult objects (VOC).  They are excluded from
    ``boxes`` and from training; evaluation ignores detections that match them.
``image_id``
    COCO image id, or the name of the VOC file.

Images without objects have ``M = 0`` and ``boxes`` of shape ``(0, 4)``.

Datasets check all annotations and store problems, clipped and duplicate boxes and the number of
objects per class in ``report``, a :class:`lucid.data.report.DataReport`.  ``check_images()`` adds
problems of the image files.

Examples
--------
Train and validate on your own COCO files::

    from lucid.data import DataLoader
    from lucid_models_detection.data import (
        CocoDetection, ColorJitter, Compose, RandomCrop, RandomHorizontalFlip, ScaleJitter, collate
    )

    augment = Compose([RandomHorizontalFlip(), ScaleJitter(), RandomCrop(p=0.5), ColorJitter()])
    train = CocoDetection("train.json", "images", transform=augment)
    valid = CocoDetection("valid.json", "images", category_ids=train.category_ids)
    loader = DataLoader(train, batch_size=4, shuffle=True, collate=collate, workers=2)
    for images, targets in loader:
        losses = model(images, targets)
"""

from __future__ import annotations

from lucid_models_detection.data.augment import (
    ColorJitter,
    Compose,
    RandomCrop,
    RandomHorizontalFlip,
    ScaleJitter,
    crop,
    horizontal_flip,
    resize,
)
from lucid_models_detection.data.coco import COCO_CATEGORY_IDS, COCO_CLASSES, CocoDetection
from lucid_models_detection.data.collate import collate
from lucid_models_detection.data.detection_dataset import DetectionDataset, ImageEntry
from lucid_models_detection.data.types import Sample, Target
from lucid_models_detection.data.voc import VOC_CLASSES, VocDetection

__all__ = [
    "COCO_CATEGORY_IDS",
    "COCO_CLASSES",
    "VOC_CLASSES",
    "CocoDetection",
    "ColorJitter",
    "Compose",
    "DetectionDataset",
    "ImageEntry",
    "RandomCrop",
    "RandomHorizontalFlip",
    "Sample",
    "ScaleJitter",
    "Target",
    "VocDetection",
    "collate",
    "crop",
    "horizontal_flip",
    "resize",
]
