"""Predictor of a saved classifier, which can be sent to worker processes."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lucid import WeightFileError
from lucid.prediction import Predictor
from lucid.vision import default_max_pixels

__all__ = ["ClassificationPredictor"]


class ClassificationPredictor(Predictor):
    """Most probable classes of images, as plain records.

    Pickled, it is a path and options: every process loads the classifier once.  See
    :class:`lucid.prediction.Predictor`.

    Parameters
    ----------
    weights : path
        A file of :func:`lucid.save_model`, or weights that a plugin's converter recognizes.
    model_name : str, optional
        Registered name of the model, for files without model metadata.
    ema : bool, optional
        Whether to use an exponential moving average of the weights, as for :func:`lucid.load`.
    top : int, default 5
        Number of classes to report.
    class_names : sequence of str, optional
        Override the names in the file.  Names may repeat, as in ImageNet's usual list.
    names_file : path, optional
        File of ``class_names``, for errors.
    preprocessing : mapping, optional
        Entries of :func:`~lucid.vision.transforms.preprocessing` that override those in the file.
    max_pixels : int, optional
        Maximum number of pixels of an image, as for :func:`~lucid.vision.read_image`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If ``top`` is less than 1.

    Examples
    --------
    >>> import lucid
    >>> from PIL import Image
    >>> from lucid_models_classification import resnet_18
    >>> from lucid_models_classification.prediction import ClassificationPredictor
    >>> lucid.save_model(resnet_18(num_classes=2), "pets.npz", class_names=["cat", "dog"])
    >>> Image.new("RGB", (40, 30)).save("black.png")
    >>> (record,) = ClassificationPredictor("pets.npz", top=1)(["black.png"])
    >>> record["image"], len(record["predictions"])
    ('black.png', 1)
    """

    def __init__(
        self,
        weights: str | os.PathLike[str],
        *,
        model_name: str | None = None,
        ema: bool | None = None,
        top: int = 5,
        class_names: Sequence[str] | None = None,
        names_file: str | os.PathLike[str] | None = None,
        preprocessing: Mapping[str, Any] | None = None,
        max_pixels: int | None = None,
    ) -> None:
        super().__init__(weights)
        if top < 1:
            raise ValueError(f"top: expected an integer of at least 1, got {top}")
        self.model_name = model_name
        self.ema = ema
        self.top = top
        self.class_names = None if class_names is None else tuple(class_names)
        self.names_file = self.weights if names_file is None else os.fspath(names_file)
        self.preprocessing = dict(preprocessing or {})
        # Stored, since workers on other machines have another environment.
        self.max_pixels = default_max_pixels() if max_pixels is None else max_pixels

    def open_model(self, path: str) -> Any:
        """Load the classifier in eval mode, its transform, class names and assumptions."""
        from lucid.vision.transforms import build_transform
        from lucid_models_classification.loading import load_classifier
        from lucid_models_classification.preprocessing_options import resolve_preprocessing

        classifier = load_classifier(Path(path), self.model_name, self.ema)
        try:
            described, assumed = resolve_preprocessing(
                Path(self.weights),
                classifier.preprocessing,
                classifier.has_preprocessing,
                self.preprocessing,
            )
            transform = build_transform(described)
        except ValueError as error:
            raise ValueError(f"{self.weights}: {error}") from error
        return classifier.model.eval(), transform, classifier.class_names, assumed

    def model_options(self) -> tuple[Hashable, ...]:
        return (self.model_name, self.ema, json.dumps(self.preprocessing, sort_keys=True))

    @property
    def assumed(self) -> str | None:
        """Sentence on the assumed preprocessing, if the file has none."""
        sentence: str | None = self.model[3]
        return sentence

    def description(self) -> dict[str, Any]:
        model, *_ = self.model
        return {
            **super().description(),
            "model": model.model_name,
            "top": self.top,
            "class_names": self.class_names and list(self.class_names),
            "preprocessing": self.preprocessing or None,
            **({} if self.ema is None else {"ema": self.ema}),
        }

    def read(self, path: str) -> np.ndarray[Any, Any]:
        """Read an image and preprocess it."""
        from lucid.vision import read_image

        _, transform, *_ = self.model
        prepared: np.ndarray[Any, Any] = transform(read_image(path, max_pixels=self.max_pixels))
        return prepared

    def predict(
        self, images: Sequence[np.ndarray[Any, Any]], names: Sequence[str | None]
    ) -> list[dict[str, Any]]:
        """Return ``predictions`` of each image, by descending probability."""
        import lucid

        model, _, class_names, _ = self.model
        with lucid.no_grad():
            logits = model(lucid.Tensor(np.stack(images))).numpy().astype(np.float64)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        labels = class_names if self.class_names is None else self.class_names
        return [{"predictions": self._best(row, labels)} for row in probabilities]

    def _best(
        self, probabilities: np.ndarray[Any, Any], class_names: Sequence[str] | None
    ) -> list[dict[str, Any]]:
        """Return the most probable classes; ties keep the order of the classes."""
        count = len(probabilities)
        if not (probabilities >= 0).all():  # NaN compares false
            raise WeightFileError(f"{self.weights}: expected finite outputs, got NaN or infinity")
        if class_names is not None and len(class_names) != count:
            raise WeightFileError(
                f"{self.names_file}: expected {count} class names, got {len(class_names)}"
            )
        order = (-probabilities).argsort(kind="stable")[: self.top]
        return [
            {
                "class": int(i),
                "label": str(i) if class_names is None else class_names[i],
                "probability": float(probabilities[i]),
            }
            for i in order
        ]
