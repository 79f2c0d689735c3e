"""What is trained on, and what is validated on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lucid
from lucid.data import Dataset, Subset
from lucid.data.report import DataReport, InvalidDataError
from lucid.text import pluralize
from lucid.training import Communicator
from lucid.vision import CheckedImage, check_images, find_duplicates
from lucid_models_detection.categories import Categories
from lucid_models_detection.data import CocoDetection, Compose
from lucid_models_detection.data.coco import read_categories
from lucid_models_detection.data.detection_dataset import SKIP_HINT
from lucid_models_detection.data.types import Sample, SampleTransform
from lucid_models_detection.training.options import AUGMENTATIONS, TrainingOptions

__all__ = ["TrainingData"]


@dataclass(frozen=True)
class TrainingData:
    """Two data sets and the classes of both.

    ``sources`` are the whole data sets by the option that names the folder of their images;
    their ``report`` says what was found in them.
    """

    train: Dataset[Sample]
    val: Dataset[Sample]
    categories: Categories
    class_names: tuple[str, ...]
    sources: dict[str, CocoDetection]

    @classmethod
    def read(
        cls,
        options: TrainingOptions,
        transform: SampleTransform | None,
        communicator: Communicator | None = None,
        check: bool = True,
    ) -> TrainingData:
        """Read the files that the options name, on rank 0 for all.

        Parameters
        ----------
        options : TrainingOptions
            The files, and what to do with entries that cannot be used.
        transform : callable or None
            In place of what ``options.augment`` names.
        communicator : lucid.training.Communicator, optional
            The ranks; by default this process alone.
        check : bool, default True
            Whether every image is opened and compared with its annotations.

        Raises
        ------
        ValueError
            If there is nothing to train on or to validate on, images or annotations cannot be
            used, or the two files number their categories differently.
        """
        ranks = communicator or Communicator()
        plain, val = ranks.call_on_main(lambda: _read(options, check))
        train = copy.copy(plain)  # the same annotations, in memory once
        train.transform = transform or Compose(AUGMENTATIONS[options.augment])
        categories = Categories.from_dataset(plain)
        if val is None:
            first, second = _split(plain, options.val_fraction, options.seed)
            held = Subset(train, first), Subset(plain, second)
            return cls(*held, categories, plain.class_names, {"images": plain})
        sources = {"images": plain, "val_images": val}
        return cls(train, val, categories, plain.class_names, sources)

    @property
    def reports(self) -> tuple[DataReport, ...]:
        """What was found in the file to train on, and in the one to validate on."""
        return tuple(source.report for source in self.sources.values())

    @property
    def folders(self) -> dict[str, tuple[list[Path], Path]]:
        """Images and the folder that contains them, by the option that names the folder."""
        return {
            name: (source.image_paths, source.image_directory)
            for name, source in self.sources.items()
        }

    @property
    def summary(self) -> str:
        """Classes without the background, and numbers of images."""
        return (
            f"{pluralize(len(self.class_names) - 1, 'class', 'classes')}, "
            f"{pluralize(len(self.train), 'image')} to train on, {len(self.val)} to validate on"
        )


def _read(options: TrainingOptions, check: bool) -> tuple[CocoDetection, CocoDetection | None]:
    """The data set to train on, and that to validate on if it has a file of its own."""
    train, opened = _checked(options.data, options.images, options, check)
    if train.num_classes < 2:
        raise ValueError(f"{options.data}: names no category, so there is nothing to learn")
    if not sum(train.report.classes.values()):
        raise ValueError(f"{options.data}: has no objects, so there is nothing to learn")
    if options.val is None:
        return train, None
    # By name before by number: that tells what is wrong, once and not for each object.
    names = read_categories(options.val).names_for(train.class_names)
    Categories.from_dataset(train).check(options.val, names)
    folder = options.val_images or options.images
    val, others = _checked(options.val, folder, options, check, category_ids=train.category_ids)
    _report_leakage(train, val, opened | others)
    if not any(len(val.target(i)["boxes"]) for i in range(len(val))):
        raise ValueError(f"{options.val}: holds no object, so nothing can be measured")
    return train, val


def _checked(
    path: str, folder: str, options: TrainingOptions, check: bool, **how: Any
) -> tuple[CocoDetection, dict[Path, CheckedImage]]:
    """A data set and what was found in its images; one error for annotations and images."""
    checked: dict[Path, CheckedImage] = {}
    try:
        dataset = CocoDetection(
            path,
            folder,
            on_invalid="skip",
            box_format=options.box_format,
            box_orientation=options.box_orientation,
            **how,
        )
        if check:
            checked = check_images(dataset.image_paths, dataset.image_directory)
            dataset.check_images(checked)
    except InvalidDataError as error:
        if not options.skip_invalid:
            error.report.resolve("raise", hint=SKIP_HINT)
        raise
    if not options.skip_invalid:
        dataset.report.resolve("raise", hint=SKIP_HINT)
    return dataset, checked


def _report_leakage(
    train: CocoDetection, val: CocoDetection, checked: Mapping[Path, CheckedImage]
) -> None:
    """Note images to validate on that are trained on, under the same or another name."""
    trained, validated = set(train.image_paths), set(val.image_paths)
    equal = {path: path for path in trained & validated}
    for group in find_duplicates({p: c for p, c in checked.items() if p in trained | validated}):
        if known := [path for path in group if path in trained]:
            equal |= {path: known[0] for path in group if path in validated - trained}
    for path, other in sorted(equal.items()):
        same = "" if path == other else f" is the same image as {other}"
        val.report.add("leaked", f"{path}{same}", image=str(path))


def _split(dataset: CocoDetection, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Positions to train on and to validate on; the share is one of the images with objects."""
    full = [i for i in range(len(dataset)) if len(dataset.target(i)["boxes"])]
    if len(full) < 2:
        raise ValueError(
            f"{dataset.annotation_file}: {pluralize(len(full), 'image')} with objects, so none is "
            "left to validate on; give --val"
        )
    order = lucid.random.Generator(seed).numpy.permutation(len(full))
    count = min(max(1, round(fraction * len(full))), len(full) - 1)
    second = sorted(full[i] for i in order[:count])
    return sorted(set(range(len(dataset))) - set(second)), second
