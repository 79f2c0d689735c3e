"""COCO ids of images and categories, for writing detections in COCO results format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import unquote

from lucid_models_detection.categories import Categories, raise_problems
from lucid_models_detection.data.coco import read_categories, read_images
from lucid_models_detection.data.field_parsing import Id, id_sort_key
from lucid_models_detection.prediction import COCO_RESULTS

__all__ = ["CocoIds"]


class CocoIds:
    """Image and category ids of a COCO file, which need not have annotations.

    Each image path is matched to a ``file_name`` by its last parts.  Categories are matched by the
    ids recorded in ``weights``, or by name if there are none or ``match_by_name`` is true.

    Attributes
    ----------
    images : dict
        (id, size) of each image path; the size is (width, height), or None if not in the file.
    categories : dict of int to (int or str)
        Category id of each label; the first if several share the label.
    """

    def __init__(
        self,
        path: Path,
        image_paths: Sequence[Path],
        weights: Path,
        class_names: Sequence[str] | None,
        match_by_name: bool = False,
    ) -> None:
        self.path = path
        matches = _match_images(path, image_paths)
        self.images = dict(zip(map(str, image_paths), matches, strict=True))
        file_categories = read_categories(path)
        found = file_categories.names_for(class_names)
        if match_by_name and class_names is not None:
            categories: Categories | None = Categories.from_names(class_names, found)
        else:
            categories = Categories.from_weights(weights, class_names, found)
        if categories is None:
            raise ValueError(
                f"{weights}: expected class names to match the categories of {path}, got none; "
                "pass --class-names FILE"
            )
        categories.check(path, found)
        self.categories = {
            label: file_categories.original_ids[id]
            for id, label in reversed(categories.ids.items())
            if label is not None and id in found
        }

    def results(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the detections of a :class:`DetectionPredictor` record in COCO results format."""
        image_id, size = self.images[record["image"]]
        if size is not None:
            self._check_size(record["image"], (record["width"], record["height"]), size)
        return [{"image_id": image_id, **row} for row in record[COCO_RESULTS]]

    def _check_size(self, image: str, found: tuple[int, int], expected: tuple[int, int]) -> None:
        if found == expected:
            return
        hint = ""
        if found == expected[::-1]:
            hint = (
                " (sides swapped: the image has an EXIF orientation, and the annotations are "
                "those of the stored pixels; remove the orientation from its EXIF data)"
            )
        raise ValueError(
            f"{image}: {self.path} says {expected[0]} x {expected[1]} pixels, the image has "
            f"{found[0]} x {found[1]}; its boxes would not fit{hint}"
        )


def _match_images(
    path: Path, image_paths: Sequence[Path]
) -> list[tuple[Id, tuple[int, int] | None]]:
    """Return id and size of each image path."""
    by_last_part: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    images = read_images(path)
    for file_name in images:
        for name in dict.fromkeys((file_name, unquote(file_name))):  # tools may URL-encode names
            parts = PurePath(name).parts
            by_last_part.setdefault(parts[-1], []).append((parts, file_name))
    matches, problems = [], []
    for image_path in image_paths:
        parts = image_path.absolute().parts
        same_name = by_last_part.get(image_path.name, [])
        fitting = [images[name] for named, name in same_name if parts[-len(named) :] == named]
        if len(fitting) == 1:
            matches.append(fitting[0])
        elif fitting:
            ids = sorted((id for id, _ in fitting), key=id_sort_key)
            problems.append(f"{image_path} matches several images, with ids {ids}")
        else:
            problems.append(f"{image_path} is not among its images")
    raise_problems(str(path), problems)
    return matches
