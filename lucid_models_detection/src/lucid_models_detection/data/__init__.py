"""Datasets of images with boxes: COCO and VOC readers, batches, augmentation.

A sample is ``(image, target)``.  The image is a ``(3, H, W)`` float32 array in
``[0, 1]``; the target a dictionary over the M objects of the image:

``boxes``
    ``(M, 4)`` float32, xyxy: the left, top, right and bottom edge in pixels.
``labels``
    ``(M,)`` int64, from 1; class 0 is the background.
``area``
    ``(M,)`` float32, square pixels: the annotated area of the object (of its outline
    where the file has one, else of its box).  The evaluation tells small from large by it.
``ignored_boxes``, ``ignored_labels``
    ``(K, 4)`` and ``(K,)``: crowds (COCO) and difficult objects (VOC).  They are not in
    ``boxes``, so no model is trained on them; the evaluation counts a detection there
    neither as right nor as wrong.
``image_id``
    Id of the image as its file spells it: a COCO id, or the name of a VOC file.

``M = 0``, an image without objects, is an image like others: ``boxes`` is ``(0, 4)``.

Readers check the whole data set and keep what they found in ``report``, a
:class:`lucid.data.report.DataReport`: problems by kind, clipped and duplicate boxes, objects of
each class.  ``check_images()`` adds what the headers of the images say.

Examples
--------
A training set of one's own, in COCO's format::

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

from lucid_models_detection.data.annotated import AnnotatedImages, ImageEntry
from lucid_models_detection.data.augment import (
    Compose,
    RandomCrop,
    RandomHorizontalFlip,
    ScaleJitter,
    crop,
    horizontal_flip,
    resize,
)
from lucid_models_detection.data.coco import CocoDetection
from lucid_models_detection.data.coco_classes import COCO_CATEGORY_IDS, COCO_CLASSES
from lucid_models_detection.data.collate import collate
from lucid_models_detection.data.color import ColorJitter
from lucid_models_detection.data.targets import Sample, Target
from lucid_models_detection.data.voc import VOC_CLASSES, VocDetection

__all__ = [
    "COCO_CATEGORY_IDS",
    "COCO_CLASSES",
    "VOC_CLASSES",
    "AnnotatedImages",
    "CocoDetection",
    "ColorJitter",
    "Compose",
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
