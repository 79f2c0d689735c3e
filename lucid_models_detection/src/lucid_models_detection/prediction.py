"""Predictor of a saved detector, for ``lucid detect`` and prediction on many images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lucid.class_names import check_repeated_names
from lucid.prediction import Predictor
from lucid.vision import default_max_pixels

__all__ = [
    "COCO_RESULTS",
    "IMAGE_SUFFIXES",
    "DetectionPredictor",
    "coco_rows",
    "plan_output_images",
]

#: Key of a record with its detections in COCO results format.
COCO_RESULTS = "coco_results"

#: Suffixes of image files that detections can be drawn to.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class DetectionPredictor(Predictor):
    """Detect objects with a saved detector and return plain records.

    The predictor can be pickled: it holds the path and options, and each process loads the
    detector once, at its first call.  See :class:`lucid.prediction.Predictor`.

    Parameters
    ----------
    weights : path
        File of :func:`lucid.save_model`, or weights that a plugin's converter recognizes.
    score_threshold : float, default 0.5
        Minimum score of the detections, in [0, 1].  If it is lower than the detector's own
        ``score_threshold``, it replaces that one.
    class_names : sequence of str, optional
        Class names instead of those of the file, background first.
    norm_eps : float, optional
        ``eps`` of the normalization layers, for torchvision weights.
    model_name : str, optional
        Registered name that the model of the file must have.
    ema : bool, optional
        Whether to use the exponential moving average of the weights, as in :func:`lucid.load`.
    drawings : path, optional
        Where to draw images with their detections: a directory, which gets
        ``NAME_detections.png``, or a file for a single image.  By default nothing is drawn.
    scale : float, default 1
        Scale factor of the drawn images.
    category_ids : mapping of int to (int or str), optional
        COCO category id of each label.  If given, records also have ``coco_results``: all
        detections of these labels, regardless of score, in COCO results format without
        ``image_id``.
    max_pixels : int, optional
        Maximum number of pixels of an image, as in :func:`~lucid.vision.read_image`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If ``score_threshold`` is not in [0, 1].

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
        model_name: str | None = None,
        ema: bool | None = None,
        drawings: str | os.PathLike[str] | None = None,
        scale: float = 1.0,
        category_ids: Mapping[int, int | str] | None = None,
        max_pixels: int | None = None,
    ) -> None:
        super().__init__(weights)
        if not 0 <= score_threshold <= 1:  # NaN too
            raise ValueError(f"score_threshold: expected a number in [0, 1], got {score_threshold}")
        self.score_threshold = score_threshold
        self.class_names = None if class_names is None else tuple(class_names)
        if self.class_names is not None:
            check_repeated_names(self.class_names, "class_names")
        self.norm_eps = norm_eps
        self.model_name = model_name
        self.ema = ema
        self.drawings = None if drawings is None else os.fspath(drawings)
        self.scale = scale
        self.root: str | None = None
        self.same_stem: frozenset[str] = frozenset()
        self.category_ids = None if category_ids is None else dict(category_ids)
        # Stored, because workers on other machines have another environment.
        self.max_pixels = default_max_pixels() if max_pixels is None else max_pixels

    def open_model(self, path: str) -> Any:
        """Return the detector in eval mode and its class names."""
        from lucid_models_detection.loading import load_detector

        model, class_names = load_detector(Path(path), self.norm_eps, self.ema, self.model_name)
        if self.score_threshold < getattr(model, "score_threshold", 0):
            model.score_threshold = self.score_threshold
        return model.eval(), class_names

    def model_options(self) -> tuple[Hashable, ...]:
        return (self.norm_eps, self.ema, self.score_threshold)

    def description(self) -> dict[str, Any]:
        model, _ = self.model
        return {
            **super().description(),
            "model": model.model_name,
            "score_threshold": self.score_threshold,
            "class_names": self.class_names and list(self.class_names),
            "norm_eps": self.norm_eps,
            "category_ids": self.category_ids,
            **({} if self.ema is None else {"ema": self.ema}),
        }

    def read(self, path: str) -> np.ndarray[Any, Any]:
        from lucid.vision import read_image

        return read_image(path, max_pixels=self.max_pixels)

    def predict(
        self, images: Sequence[np.ndarray[Any, Any]], names: Sequence[str | None]
    ) -> list[dict[str, Any]]:
        """Return ``width``, ``height``, ``picture`` and ``detections`` (by score) of each image."""
        model, class_names = self.model
        found = model.predict(list(images))
        chosen_names = class_names if self.class_names is None else self.class_names
        return [
            self._record(image, name, detections, chosen_names)
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
        output = None if name is None else self.output_path(name)
        if output is not None:
            drawn = draw_boxes(image, **kept, class_names=class_names, scale=self.scale)
            _save(drawn, Path(self.absolute_path(output)))
        record = {
            "width": image.shape[2],
            "height": image.shape[1],
            "picture": output,
            "detections": to_records(kept, class_names),
        }
        if self.category_ids is not None:
            record[COCO_RESULTS] = coco_rows(found, self.category_ids)
        return record

    def output_path(self, image: str) -> str | None:
        """Return the file that an image is drawn to, or None."""
        if self.drawings is None:
            return None
        drawings = Path(self.drawings)
        is_file = drawings.suffix.lower() in IMAGE_SUFFIXES
        if is_file and not Path(self.absolute_path(self.drawings)).is_dir():
            return self.drawings
        folder = "" if self.root is None else self._folder_below_root(image)
        name = Path(image).name if image in self.same_stem else Path(image).stem
        return str(drawings / folder / f"{name}_detections.png")

    def _folder_below_root(self, image: str) -> str:
        folder = os.path.dirname(os.path.abspath(self.absolute_path(image)))
        return os.path.relpath(folder, self.root)


def plan_output_images(
    predictor: DetectionPredictor, sources: Sequence[str], images: Iterable[str], is_folder: bool
) -> list[str]:
    """Give each image its own output file; return the images without duplicates.

    The output directory mirrors the common directory of all sources.  Images of one directory with
    names that differ only in the suffix keep it in the output name.  Raises ValueError if several
    images would be drawn to one file, or over an input image.
    """
    paths: dict[str, str] = {}
    for image in images:
        paths.setdefault(os.path.abspath(image), image)
    if not is_folder and len(paths) > 1:
        raise ValueError(
            f"{predictor.drawings} is one file, but there are {len(paths)} images; pass a "
            "directory, whose name ends in /"
        )
    folders = [os.path.abspath(source) for source in sources if os.path.isdir(source)]
    predictor.root = _common_folder([*folders, *map(os.path.dirname, paths)])
    stems = Counter(os.path.splitext(path)[0] for path in paths)
    predictor.same_stem = frozenset(
        image for path, image in paths.items() if stems[os.path.splitext(path)[0]] > 1
    )
    taken: dict[str, str] = {os.path.realpath(image): image for image in paths}
    for image in paths.values():
        output = str(predictor.output_path(image))
        path = os.path.realpath(predictor.absolute_path(output))
        if (other := taken.setdefault(path, image)) is not image:
            is_input = os.path.realpath(other) == path
            problem = "is an input image" if is_input else f"would show {other} and {image}"
            raise ValueError(f"{output} {problem}; pass another directory")
    return list(paths.values())


def _common_folder(folders: Sequence[str]) -> str | None:
    try:
        return os.path.commonpath(folders)
    except ValueError:  # no folders, or several Windows drives
        return None


def _save(image: Any, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path} cannot be written ({reason})") from error


def coco_rows(
    found: Mapping[str, Any], category_ids: Mapping[int, int | str]
) -> list[dict[str, Any]]:
    """Return detections in COCO results format, without ``image_id``; skip other labels."""
    from lucid_models_detection.convert import to_coco_results

    known = [label in category_ids for label in found["labels"].tolist()]
    kept = {key: found[key][known] for key in ("boxes", "labels", "scores")}
    rows = to_coco_results([kept], [0], category_ids)
    return [{key: row[key] for key in row if key != "image_id"} for row in rows]
