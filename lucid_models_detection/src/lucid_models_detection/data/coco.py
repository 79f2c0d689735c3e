"""Reader of the COCO annotation format (``instances_*.json``).

The format: https://cocodataset.org/#format-data (section "Object Detection").
Boxes are ``[x, y, width, height]`` in the file and xyxy from here on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from reprlib import Repr
from typing import Any, TypeGuard

from lucid.data import Dataset
from lucid_models_detection.data.targets import (
    Annotation,
    OnInvalid,
    Sample,
    SampleTransform,
    Target,
    area_of,
    box_inside,
    copy_target,
    make_target,
    raise_problems,
    read_annotated,
)

__all__ = ["CocoDetection", "read_categories", "read_images"]

#: Shows what stands in a file, however long or deep: within some hundred characters.
_shown = Repr()
_shown.maxstring = _shown.maxlong = _shown.maxother = 100
#: Pixels along a side, so that what is computed from them stays a number.
MAX_SIDE = 2**31

SKIP_HINT = '\nPass on_invalid="skip" (on the command line --skip-invalid) to leave such boxes out.'


@dataclass(frozen=True, slots=True)
class _Image:
    path: Path
    width: int
    height: int
    target: Target


class CocoDetection(Dataset[Sample]):
    """Images and boxes of a COCO JSON file.

    The whole file is checked when the dataset is made, so that a bad annotation
    does not surface in the middle of an epoch; images are read when asked for.
    Images without any annotation are part of the dataset.

    Parameters
    ----------
    annotation_file : path
        The JSON file, with ``images``, ``annotations`` and ``categories``.
    image_directory : path
        Where the images' ``file_name`` starts from.
    category_ids : mapping of int to (int or None), optional
        The label of each category id of the file.  Labels start at 1 (0 is the
        background) and leave no gap; two categories may share one; None leaves
        the category's objects out.  A category that has annotations must be
        mentioned.  Default: the file's categories in the order of their ids
        become 1, 2, 3, ... (COCO's own ids, 1 to 90, have gaps).  Give the same
        mapping to the training and the validation set: ``train.category_ids``.
    transform : callable, optional
        ``transform(image, target) -> (image, target)``, applied to each sample.
    on_invalid : {"raise", "skip"}, default "raise"
        What to do with boxes that are not finite, have no area or lie outside
        their image.  Boxes that reach over the border are cut there.

    Attributes
    ----------
    skipped : int
        Boxes that were left out so.
    category_ids : dict of int to (int or None)
        The label of each category id.
    category_names : dict of int to str
        What the file calls each of its categories, by id.
    class_names : tuple of str
        The name of each label, ``"background"`` first.
    num_classes : int
        Number of classes including the background, as the models count them.

    Raises
    ------
    ValueError
        The file is not of this format, or contradicts itself; names file, image
        and annotation, and lists up to ten problems at once.
    FileNotFoundError
        There is no such file.

    Notes
    -----
    A sample is ``(image, target)``: see :mod:`lucid_models_detection.data`.
    Crowds (``iscrowd``) are in ``ignored_boxes``.
    """

    def __init__(
        self,
        annotation_file: str | Path,
        image_directory: str | Path,
        *,
        category_ids: Mapping[int, int | None] | None = None,
        transform: SampleTransform | None = None,
        on_invalid: OnInvalid = "raise",
    ) -> None:
        if on_invalid not in ("raise", "skip"):
            raise ValueError(f'on_invalid must be "raise" or "skip", got {on_invalid!r}')
        self.annotation_file = Path(annotation_file)
        self.image_directory = Path(image_directory)
        self.transform = transform
        content = _read_json(self.annotation_file)
        names = _category_names(self.annotation_file, content["categories"])
        self.category_names = names
        if category_ids is None:
            category_ids = {category: i for i, category in enumerate(sorted(names), start=1)}
        self.category_ids: dict[int, int | None] = dict(category_ids)
        self.class_names = _class_names(self.category_ids, names)
        self._images = self._read(content, on_invalid)

    @property
    def num_classes(self) -> int:
        """Number of classes, the background among them."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def image_paths(self) -> list[Path]:
        """Path of each image."""
        return [entry.path for entry in self._images]

    def target(self, index: int) -> Target:
        """The target of a sample as it is in the file, without its image being read."""
        return copy_target(self._images[index].target)

    def check_images(self) -> None:
        """See whether all image files are there, before a long work comes to one that is not.

        Raises
        ------
        ValueError
            If some are not; lists up to ten.
        """
        missing = [entry.path for entry in self._images if not entry.path.is_file()]
        raise_problems(str(self.annotation_file), [f"{path}: no such file" for path in missing])

    def __getitem__(self, index: int) -> Sample:
        entry = self._images[index]
        image = read_annotated(entry.path, entry.width, entry.height, self.annotation_file)
        target = copy_target(entry.target)
        return (image, target) if self.transform is None else self.transform(image, target)

    def _read(self, content: dict[str, Any], on_invalid: OnInvalid) -> list[_Image]:
        images = self._read_images(content["images"])
        annotations: dict[int, list[Annotation]] = {key: [] for key in images}
        problems: list[str] = []
        invalid: list[str] = []
        seen: set[str] = set()
        for position, raw in enumerate(content["annotations"]):
            where = (
                f"annotation {_id_or_number(raw, position)} "
                f"of image {_shown.repr(raw.get('image_id'))}"
            )
            if not _is_id(raw.get("image_id")) or raw["image_id"] not in images:
                problems.append(f"{where}: no image has this id")
            elif not _is_id(raw.get("category_id")) or raw["category_id"] not in self.category_ids:
                problems.append(
                    f"{where}: category_id {_shown.repr(raw.get('category_id'))} is not among "
                    f"{sorted(self.category_ids)}"
                )
            elif isinstance(raw.get("id"), list | dict):
                problems.append(f"{where}: expected a number or text as id")
            elif "id" in raw and repr(raw["id"]) in seen:
                problems.append(f"{where}: another annotation has the same id")
            else:
                seen.add(repr(raw.get("id")))
                _, width, height = images[raw["image_id"]]
                found = self._annotation(raw, width, height)
                if isinstance(found, str):
                    invalid.append(f"{where}: bbox {_shown.repr(raw.get('bbox'))}: {found}")
                elif found is not None:
                    annotations[raw["image_id"]].append(found)
        raise_problems(str(self.annotation_file), problems)
        if on_invalid == "raise":
            raise_problems(str(self.annotation_file), invalid, SKIP_HINT)
        self.skipped = len(invalid)
        return [
            _Image(path, width, height, make_target(annotations[key], key))
            for key, (path, width, height) in images.items()
        ]

    def _annotation(self, raw: dict[str, Any], width: int, height: int) -> Annotation | str | None:
        """The object, what is wrong with it, or None where its category is left out."""
        label = self.category_ids[raw["category_id"]]
        if label is None:
            return None
        bbox = raw.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
            return "expected four numbers [x, y, width, height]"
        x, y, w, h = bbox
        box = box_inside((x, y, x + w, y + h), width, height)
        if isinstance(box, str):
            return box
        areas = (raw.get("area"), w * h, area_of(box))
        return Annotation(
            box=box,
            label=label,
            area=next(float(area) for area in areas if _is_number(area) and _is_size(area)),
            ignored=bool(raw.get("iscrowd", 0)),
        )

    def _read_images(self, raw_images: list[dict[str, Any]]) -> dict[int, tuple[Path, int, int]]:
        images: dict[int, tuple[Path, int, int]] = {}
        problems: list[str] = []
        for position, raw in enumerate(raw_images):
            where = f"image {_id_or_number(raw, position)}"
            name, width, height = raw.get("file_name"), raw.get("width"), raw.get("height")
            if not _is_id(raw.get("id")):
                problems.append(f"{where}: expected a whole number as id")
            elif raw["id"] in images:
                problems.append(f"{where}: another image has the same id")
            elif not isinstance(name, str) or not _stays_inside(name):
                problems.append(
                    f"{where}: expected a relative path as file_name, got {_shown.repr(name)}"
                )
            elif not (_is_side(width) and _is_side(height)):
                problems.append(
                    f"{where}: expected width and height, got {_shown.repr(width)} and "
                    f"{_shown.repr(height)}"
                )
            else:
                images[raw["id"]] = (self.image_directory / name, width, height)
        raise_problems(str(self.annotation_file), problems)
        return images


def read_categories(annotation_file: str | Path) -> dict[int, str]:
    """The categories of a COCO JSON file: names by id.

    Raises
    ------
    ValueError, FileNotFoundError
        As :class:`CocoDetection`.
    """
    path = Path(annotation_file)
    return _category_names(path, _read_json(path, ("categories",))["categories"])


def read_images(annotation_file: str | Path) -> dict[str, tuple[int, tuple[int, int] | None]]:
    """The images of a COCO JSON file, which needs no annotations.

    Returns
    -------
    dict of str to (int, (int, int) or None)
        By file name, the id, and width and height where the file has them.

    Raises
    ------
    ValueError, FileNotFoundError
        As :class:`CocoDetection`; also if two images have the same file name.
    """
    path = Path(annotation_file)
    images: dict[str, tuple[int, tuple[int, int] | None]] = {}
    problems: list[str] = []
    for position, raw in enumerate(_read_json(path, ("images",))["images"]):
        key, name = raw.get("id"), raw.get("file_name")
        size = (raw.get("width"), raw.get("height"))
        if not _is_id(key) or not isinstance(name, str) or not name:
            problems.append(
                f"image number {position}: expected id and file_name, got {_shown.repr(raw)}"
            )
        elif name in images:
            other = images[name][0]
            problems.append(
                f"image {key}: image {other} has the same file_name {_shown.repr(name)}"
            )
        else:
            images[name] = (key, size if _is_id(size[0]) and _is_id(size[1]) else None)
    raise_problems(str(path), problems)
    return images


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[int | float]:
    """A float, or an integer that a float can hold: JSON has integers of any length."""
    return isinstance(value, float) or (_is_id(value) and abs(value) < 2**53)


def _is_size(value: int | float) -> bool:
    """Whether a number is greater than 0 and finite also in the float32 of a target."""
    return 1e-40 < value < 1e38


def _is_side(value: object) -> TypeGuard[int]:
    return _is_id(value) and 1 <= value < MAX_SIDE


def _id_or_number(raw: dict[str, Any], position: int) -> str:
    """What to call an entry in a message."""
    return _shown.repr(raw["id"]) if "id" in raw else f"number {position}"


def _stays_inside(name: str) -> bool:
    """Whether a file name is one, and cannot leave the directory it is looked for in."""
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        return False
    if b"\0" in encoded:
        return False
    path = PurePath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts


def _read_json(
    path: Path, keys: Sequence[str] = ("images", "annotations", "categories")
) -> dict[str, Any]:
    with path.open(encoding="utf-8") as stream:
        try:
            content = json.load(stream)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, found a {type(content).__name__}")
    for key in keys:
        rows = content.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(
                f"{path}: not COCO annotations: expected a list of objects named {key!r}; "
                f"the file has {_shown.repr(sorted(content))}"
            )
    return content


def _category_names(path: Path, categories: list[dict[str, Any]]) -> dict[int, str]:
    names: dict[int, str] = {}
    problems: list[str] = []
    for position, raw in enumerate(categories):
        key, name = raw.get("id"), raw.get("name")
        if not _is_id(key) or not isinstance(name, str):
            problems.append(
                f"category number {position}: expected id and name, got {_shown.repr(raw)}"
            )
        elif key in names:
            problems.append(
                f"category {key} ({_shown.repr(name)}): another category has the same id"
            )
        else:
            names[key] = name
    raise_problems(str(path), problems)
    return names


def _class_names(category_ids: Mapping[int, int | None], names: dict[int, str]) -> tuple[str, ...]:
    """Name each label after its categories; check that the labels are 1, 2, ... without a gap."""
    members: dict[int, list[str]] = {}
    for category, label in category_ids.items():
        if label is not None:
            members.setdefault(label, []).append(names.get(category, f"category {category}"))
    if sorted(members) != list(range(1, len(members) + 1)):
        raise ValueError(
            "category_ids must map to the labels 1, 2, 3, ... without a gap "
            f"(0 is the background), got {sorted(members)}"
        )
    return ("background", *("/".join(members[label]) for label in sorted(members)))
