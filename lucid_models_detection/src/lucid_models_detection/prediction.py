"""A saved detector as something that can be sent to wherever images are."""

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

__all__ = ["COCO_RESULTS", "IMAGE_SUFFIXES", "DetectionPredictor", "plan_output_images"]

#: What a record calls what goes into a file of COCO's results.
COCO_RESULTS = "coco_results"

#: Suffixes of the pictures that detections can be drawn to.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class DetectionPredictor(Predictor):
    """Detections of images by a saved detector, as plain records.

    Pickled it is a path and some options: every process opens the detector once, at the
    first call.  See :class:`lucid.prediction.Predictor`.

    Parameters
    ----------
    weights : path
        A file of :func:`lucid.save_model`, or weights that a plugin's converter recognizes.
    score_threshold : float, default 0.5
        Leave out detections that score less.  A detector that would itself leave out more
        (``Detector.score_threshold``) gets this threshold.
    class_names : sequence of str, optional
        In the place of those in the file, the background's first.
    norm_eps : float, optional
        For weights of torchvision: what its normalizations add to the variance.
    ema : bool, optional
        Whether to use an exponential moving average of the weights, as of
        :func:`lucid.load`.
    drawings : path, optional
        Where to draw each image with its detections: a directory, or for one image a
        file.  By default nothing is drawn.  In a directory, images are drawn to
        ``NAME_detections.png``; ``plan_output_images`` keeps those of equal names apart.
    scale : float, default 1
        Enlarge what is drawn.
    category_ids : mapping of int to (int or str), optional
        The COCO category of each label.  If given, records have ``coco_results`` as well:
        every detection of those labels, whatever its score, as COCO's results format has
        it but for the image's id.
    max_pixels : int, optional
        Largest number of pixels of an image, as of
        :func:`~lucid.vision.read_image`.

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
        ema: bool | None = None,
        drawings: str | os.PathLike[str] | None = None,
        scale: float = 1.0,
        category_ids: Mapping[int, int | str] | None = None,
        max_pixels: int | None = None,
    ) -> None:
        super().__init__(weights)
        if not 0 <= score_threshold <= 1:  # NaN too
            raise ValueError(f"expected score_threshold in [0, 1], got {score_threshold}")
        self.score_threshold = score_threshold
        self.class_names = None if class_names is None else tuple(class_names)
        if self.class_names is not None:
            check_repeated_names(self.class_names, "class_names")
        self.norm_eps = norm_eps
        self.ema = ema
        self.drawings = None if drawings is None else os.fspath(drawings)
        self.scale = scale
        self.root: str | None = None
        self.same_stem: frozenset[str] = frozenset()
        self.category_ids = None if category_ids is None else dict(category_ids)
        # Kept, because the environment of a worker on another machine is its own.
        self.max_pixels = default_max_pixels() if max_pixels is None else max_pixels

    def open_model(self, path: str) -> Any:
        """The detector in eval mode, and the names of its classes."""
        from lucid_models_detection.loading import load_detector

        model, class_names = load_detector(Path(path), self.norm_eps, self.ema)
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
        picture = None if name is None else self.output_path(name)
        if picture is not None:
            drawn = draw_boxes(image, **kept, class_names=class_names, scale=self.scale)
            _save(drawn, Path(self.absolute_path(picture)))
        record = {
            "width": image.shape[2],
            "height": image.shape[1],
            "picture": picture,
            "detections": to_records(kept, class_names),
        }
        if self.category_ids is not None:
            record[COCO_RESULTS] = coco_rows(found, self.category_ids)
        return record

    def output_path(self, image: str) -> str | None:
        """Where an image is drawn."""
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
    """Give each image a picture of its own, with the subdirectories of the images.

    The pictures' directory mirrors the directory that all sources have in common.  Images in one
    directory whose names differ only in the suffix keep it in the name of the picture.

    Parameters
    ----------
    predictor : DetectionPredictor
        Its ``drawings`` is a directory or a file; knows where to draw afterwards.
    sources : sequence of str
        What the images were found by: directories among them are mirrored whole.
    images : iterable of str
        All that will be drawn.
    is_folder : bool
        Whether ``drawings`` is a directory; else it is a file.

    Returns
    -------
    list of str
        The images; one that was named in two ways is in it once.

    Raises
    ------
    ValueError
        If several images would be drawn to one file, or one over an image.
    """
    places: dict[str, str] = {}
    for image in images:
        places.setdefault(os.path.abspath(image), image)
    if not is_folder and len(places) > 1:
        raise ValueError(
            f"{predictor.drawings} is one file, but there are {len(places)} images; give a "
            "directory, whose name ends in /"
        )
    folders = [os.path.abspath(source) for source in sources if os.path.isdir(source)]
    predictor.root = _common_folder([*folders, *map(os.path.dirname, places)])
    stems = Counter(os.path.splitext(place)[0] for place in places)
    predictor.same_stem = frozenset(
        image for place, image in places.items() if stems[os.path.splitext(place)[0]] > 1
    )
    taken: dict[str, str] = {os.path.realpath(image): image for image in places}
    for image in places.values():
        picture = str(predictor.output_path(image))
        place = os.path.realpath(predictor.absolute_path(picture))
        if (other := taken.setdefault(place, image)) is not image:
            is_image = os.path.realpath(other) == place
            what = "is one of the images" if is_image else f"would show {other} and {image}"
            raise ValueError(f"{picture} {what}; give another directory")
    return list(places.values())


def _common_folder(folders: Sequence[str]) -> str | None:
    try:
        return os.path.commonpath(folders)
    except ValueError:  # none, or on several drives of Windows
        return None


def _save(picture: Any, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"the picture {path} cannot be written ({reason})") from error


def coco_rows(
    found: Mapping[str, Any], category_ids: Mapping[int, int | str]
) -> list[dict[str, Any]]:
    """Detections as COCO's results format has them, but for the id of the image.

    Parameters
    ----------
    found : mapping
        As ``model.predict`` gives it.
    category_ids : mapping of int to (int or str)
        The category of each label; what has another label is left out.
    """
    from lucid_models_detection.convert import to_coco_results

    known = [label in category_ids for label in found["labels"].tolist()]
    kept = {key: found[key][known] for key in ("boxes", "labels", "scores")}
    rows = to_coco_results([kept], [0], category_ids)
    return [{key: row[key] for key in row if key != "image_id"} for row in rows]
