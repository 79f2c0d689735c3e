"""A saved detector as something that can be sent to wherever images are."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lucid.prediction import Predictor
from lucid_models_classification.images import max_pixels_set

__all__ = ["COCO_RESULTS", "PICTURE_SUFFIXES", "DetectionPredictor"]

#: What a record calls what goes into a file of COCO's results.
COCO_RESULTS = "coco_results"

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class DetectionPredictor(Predictor):
    """Detections of images by a saved detector, as plain records.

    Pickled it is a path and some options: every process opens the detector once, at the
    first call.  See :class:`lucid.prediction.Predictor`.

    Parameters
    ----------
    weights : path
        A file of :func:`lucid.save_model`, or torchvision's weights of a Faster R-CNN.
    score_threshold : float, default 0.5
        Leave out detections that score less.
    class_names : sequence of str, optional
        In the place of those in the file, the background's first.
    norm_eps : float, optional
        For weights of torchvision: what its normalisations add to the variance.
    drawings : path, optional
        Where to draw each image with its detections: a directory, or for one image a
        file.  By default nothing is drawn.
    scale : float, default 1
        Enlarge what is drawn.
    category_ids : mapping of int to int, optional
        The COCO category of each label.  If given, records have ``coco_results`` as well:
        every detection of those labels, whatever its score, as COCO's results format has
        it but for the image's id.
    max_pixels : int, optional
        Largest number of pixels of an image, as of
        :func:`~lucid_models_classification.transforms.read_image`.

    Raises
    ------
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import lucid
    >>> from lucid_models_detection import DetectionPredictor, faster_rcnn_resnet_18_fpn
    >>> detector = faster_rcnn_resnet_18_fpn(num_classes=2, hidden_dim=8)
    >>> lucid.save_model(detector, "detector.safetensors")
    >>> predictor = DetectionPredictor("detector.safetensors", score_threshold=1)
    >>> predictor([lucid.random.rand(3, 32, 48)])
    [{'width': 48, 'height': 32, 'picture': None, 'detections': []}]
    """

    def __init__(
        self,
        weights: str | os.PathLike[str],
        *,
        score_threshold: float = 0.5,
        class_names: Sequence[str] | None = None,
        norm_eps: float | None = None,
        drawings: str | os.PathLike[str] | None = None,
        scale: float = 1.0,
        category_ids: Mapping[int, int] | None = None,
        max_pixels: int | None = None,
    ) -> None:
        super().__init__(weights)
        self.score_threshold = score_threshold
        self.class_names = None if class_names is None else tuple(class_names)
        self.norm_eps = norm_eps
        self.drawings = None if drawings is None else os.fspath(drawings)
        self.scale = scale
        self.category_ids = None if category_ids is None else dict(category_ids)
        # Kept, because the environment of a worker on another machine is its own.
        self.max_pixels = max_pixels_set() if max_pixels is None else max_pixels

    def open_model(self, path: str) -> Any:
        """The detector in eval mode, and the names of its classes."""
        from lucid_models_detection.checkpoints import open_detector

        model, class_names = open_detector(Path(path), self.norm_eps)
        return model.eval(), class_names

    def model_options(self) -> tuple[Hashable, ...]:
        return (self.norm_eps,)

    def description(self) -> dict[str, Any]:
        model, _ = self.model
        return {
            **super().description(),
            "model": model.model_name,
            "score_threshold": self.score_threshold,
            "class_names": self.class_names and list(self.class_names),
            "norm_eps": self.norm_eps,
            "category_ids": self.category_ids,
        }

    def read(self, path: str) -> np.ndarray[Any, Any]:
        from lucid_models_classification.transforms import read_image

        return read_image(path, max_pixels=self.max_pixels)

    def predict(
        self, images: Sequence[np.ndarray[Any, Any]], names: Sequence[str | None]
    ) -> list[dict[str, Any]]:
        """For each image ``width``, ``height``, ``picture`` and ``detections``, best first."""
        model, class_names = self.model
        found = model.predict(list(images))
        names_of_classes = class_names if self.class_names is None else self.class_names
        return [
            self._record(image, name, detections, names_of_classes)
            for image, name, detections in zip(images, names, found, strict=True)
        ]

    def _record(
        self,
        image: np.ndarray[Any, Any],
        name: str | None,
        found: dict[str, Any],
        class_names: Sequence[str] | None,
    ) -> dict[str, Any]:
        from lucid_models_detection.convert import to_records
        from lucid_models_detection.draw import draw_boxes

        kept = {key: found[key][found["scores"] >= self.score_threshold] for key in found}
        picture = None if name is None else self.picture_of(name)
        if picture is not None:
            target = Path(self.place(picture))
            target.parent.mkdir(parents=True, exist_ok=True)
            draw_boxes(image, **kept, class_names=class_names, scale=self.scale).save(target)
        record = {
            "width": image.shape[2],
            "height": image.shape[1],
            "picture": picture,
            "detections": to_records(kept, class_names),
        }
        if self.category_ids is not None:
            record[COCO_RESULTS] = coco_rows(found, self.category_ids)
        return record

    def picture_of(self, image: str) -> str | None:
        """Where an image is drawn."""
        if self.drawings is None:
            return None
        drawings = Path(self.drawings)
        is_file = drawings.suffix.lower() in PICTURE_SUFFIXES
        if is_file and not Path(self.place(self.drawings)).is_dir():
            return self.drawings
        return str(drawings / f"{Path(image).stem}_detections.png")


def coco_rows(found: Mapping[str, Any], category_ids: Mapping[int, int]) -> list[dict[str, Any]]:
    """Detections as COCO's results format has them, but for the id of the image.

    Parameters
    ----------
    found : mapping
        As ``model.predict`` gives it.
    category_ids : mapping of int to int
        The category of each label; what has another label is left out.
    """
    from lucid_models_detection.convert import to_coco_results

    known = [label in category_ids for label in found["labels"].tolist()]
    kept = {key: found[key][known] for key in ("boxes", "labels", "scores")}
    rows = to_coco_results([kept], [0], category_ids)
    return [{key: row[key] for key in row if key != "image_id"} for row in rows]
