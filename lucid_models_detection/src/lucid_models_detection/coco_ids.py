"""What a COCO file calls the images and the classes that a detector speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from lucid_models_detection.categories import Categories
from lucid_models_detection.convert import to_coco_results
from lucid_models_detection.data.coco import read_categories, read_image_ids
from lucid_models_detection.data.targets import raise_problems

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
        self.images = _ids_of(path, pictures)
        found = read_categories(path)
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
            label: id
            for id, label in reversed(categories.ids.items())
            if label is not None and id in found
        }

    def results(self, number: int, found: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What was found in one of the images; classes that the file lacks are left out.

        Parameters
        ----------
        number : int
            Its place among the images.
        found : mapping
            As ``model.predict`` gives it.
        """
        known = [label in self.categories for label in found["labels"].tolist()]
        kept = {key: found[key][known] for key in ("boxes", "labels", "scores")}
        return to_coco_results([kept], [self.images[number]], self.categories)


def _ids_of(path: Path, pictures: Sequence[Path]) -> list[int]:
    by_name: dict[str, list[tuple[tuple[str, ...], int]]] = {}
    for file_name, id in read_image_ids(path).items():
        parts = PurePath(file_name).parts
        by_name.setdefault(parts[-1], []).append((parts, id))
    ids, problems = [], []
    for picture in pictures:
        parts = picture.absolute().parts
        same_name = by_name.get(picture.name, [])
        fitting = [id for named, id in same_name if parts[-len(named) :] == named]
        if len(fitting) == 1:
            ids.append(fitting[0])
        elif fitting:
            problems.append(f"{picture} may be any of the images {sorted(fitting)}")
        else:
            problems.append(f"{picture} is not among its images")
    raise_problems(str(path), problems)
    return ids
