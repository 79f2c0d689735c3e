"""What a COCO file calls the images and the classes that a detector speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import unquote

from lucid_models_detection.categories import Categories
from lucid_models_detection.data.coco import read_categories, read_images
from lucid_models_detection.data.targets import check_size, raise_problems
from lucid_models_detection.data.values import Id, id_order
from lucid_models_detection.prediction import COCO_RESULTS

__all__ = ["CocoIds"]


class CocoIds:
    """The ids that results of some images have to bear.

    Parameters
    ----------
    path : path
        A COCO file; it needs no annotations, as those of COCO's test sets have none.
    pictures : sequence of path
        The images, each named in the file, by its last part or by more of them.
    weights : path
        The detector's file.
    class_names : sequence of str or None
        Of the detector, the background's first.
    named : bool
        Whether they take the place of what ``weights`` says.

    Raises
    ------
    ValueError
        If an image is not in the file or may be several, or if the file's categories are
        not the detector's.
    """

    def __init__(
        self,
        path: Path,
        pictures: Sequence[Path],
        weights: Path,
        class_names: Sequence[str] | None,
        named: bool = False,
    ) -> None:
        self.path = path
        #: Of each image its id, and its size where the file says it.
        self.images = dict(zip(map(str, pictures), _entries_of(path, pictures), strict=True))
        file_categories = read_categories(path)
        found = file_categories.names_for(class_names)
        if named and class_names is not None:
            categories: Categories | None = Categories.by_name(class_names, found)
        else:
            categories = Categories.of_weights(weights, class_names, found)
        if categories is None:
            raise ValueError(
                f"{weights} does not say which classes it tells apart, so {path} cannot say "
                "which categories they are; give --class-names FILE"
            )
        categories.check(path, found)
        #: The category of each label; of several, the first.
        self.categories = {
            label: file_categories.own_ids[id]
            for id, label in reversed(categories.ids.items())
            if label is not None and id in found
        }

    def results(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What was found in one of the images.

        Parameters
        ----------
        record : mapping
            As :class:`~lucid_models_detection.DetectionPredictor` gives it, made with
            :attr:`categories`.

        Raises
        ------
        ValueError
            If the file says that the image has another size.
        """
        image_id, size = self.images[record["image"]]
        if size is not None:
            found = (record["width"], record["height"])
            check_size(record["image"], found, size, self.path)
        return [{"image_id": image_id, **row} for row in record[COCO_RESULTS]]


def _entries_of(path: Path, pictures: Sequence[Path]) -> list[tuple[Id, tuple[int, int] | None]]:
    """Id and size of each of the pictures."""
    by_name: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    images = read_images(path)
    for file_name in images:
        for name in dict.fromkeys((file_name, unquote(file_name))):  # tools may URL-encode names
            parts = PurePath(name).parts
            by_name.setdefault(parts[-1], []).append((parts, file_name))
    entries, problems = [], []
    for picture in pictures:
        parts = picture.absolute().parts
        same_name = by_name.get(picture.name, [])
        fitting = [images[name] for named, name in same_name if parts[-len(named) :] == named]
        if len(fitting) == 1:
            entries.append(fitting[0])
        elif fitting:
            ids = sorted((id for id, _ in fitting), key=id_order)
            problems.append(f"{picture} may be any of the images {ids}")
        else:
            problems.append(f"{picture} is not among its images")
    raise_problems(str(path), problems)
    return entries
