"""Training and validation datasets of a detector."""

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
    """Training and validation datasets with common classes.

    ``sources`` maps the option of the image folder to the whole dataset, whose ``report`` has
    its problems.
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
        """Read the annotation files on rank 0 and send them to all ranks.

        ``transform`` replaces the augmentation of ``options.augment``; ``check`` opens every image.
        """
        ranks = communicator or Communicator()
        plain, val = ranks.call_on_main(lambda: _read(options, check))
        train = copy.copy(plain)  # shares the annotations in memory
        train.transform = transform or Compose(AUGMENTATIONS[options.augment])
        categories = Categories.from_dataset(plain)
        if val is None:
            kept, held_out = _split(plain, options.val_fraction, options.seed)
            subsets = Subset(train, kept), Subset(plain, held_out)
            return cls(*subsets, categories, plain.class_names, {"images": plain})
        sources = {"images": plain, "val_images": val}
        return cls(train, val, categories, plain.class_names, sources)

    @property
    def reports(self) -> tuple[DataReport, ...]:
        """Reports of the training file and of the validation file, if any."""
        return tuple(source.report for source in self.sources.values())

    @property
    def folders(self) -> dict[str, tuple[list[Path], Path]]:
        """Image paths and image folder, by the option of the folder."""
        return {
            name: (source.image_paths, source.image_directory)
            for name, source in self.sources.items()
        }

    @property
    def summary(self) -> str:
        """Line with the numbers of classes and images."""
        return (
            f"{pluralize(len(self.class_names) - 1, 'class', 'classes')}, "
            f"{pluralize(len(self.train), 'image')} to train on, {len(self.val)} to validate on"
        )


def _read(options: TrainingOptions, check: bool) -> tuple[CocoDetection, CocoDetection | None]:
    """Read the training dataset, and the validation dataset if it has its own file."""
    train, opened = _read_dataset(options.data, options.images, options, check)
    if train.num_classes < 2:
        raise ValueError(f"{options.data}: expected at least one category, got none")
    if not sum(train.report.classes.values()):
        raise ValueError(f"{options.data}: expected objects to train on, got none")
    if options.val is None:
        return train, None
    # Compare names before ids: one error instead of one per annotation.
    names = read_categories(options.val).names_for(train.class_names)
    Categories.from_dataset(train).check(options.val, names)
    folder = options.val_images or options.images
    val, others = _read_dataset(
        options.val, folder, options, check, category_ids=train.category_ids
    )
    _report_leakage(train, val, opened | others)
    if not any(len(val.target(i)["boxes"]) for i in range(len(val))):
        raise ValueError(f"{options.val}: expected objects to validate on, got none")
    return train, val


def _read_dataset(
    path: str, folder: str, options: TrainingOptions, check: bool, **kwargs: Any
) -> tuple[CocoDetection, dict[Path, CheckedImage]]:
    """Read a dataset and check its images; raise one error for annotations and images."""
    checked: dict[Path, CheckedImage] = {}
    try:
        dataset = CocoDetection(
            path,
            folder,
            on_invalid="skip",
            box_format=options.box_format,
            box_orientation=options.box_orientation,
            **kwargs,
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
    """Report validation images that are also training images, under any name."""
    trained, validated = set(train.image_paths), set(val.image_paths)
    equal = {path: path for path in trained & validated}
    for group in find_duplicates({p: c for p, c in checked.items() if p in trained | validated}):
        if known := [path for path in group if path in trained]:
            equal |= {path: known[0] for path in group if path in validated - trained}
    for path, other in sorted(equal.items()):
        same = "" if path == other else f" is the same image as {other}"
        val.report.add("leaked", f"{path}{same}", image=str(path))


def _split(dataset: CocoDetection, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Split positions for training and validation; holds out images with objects only."""
    nonempty = [i for i in range(len(dataset)) if len(dataset.target(i)["boxes"])]
    if len(nonempty) < 2:
        raise ValueError(
            f"{dataset.annotation_file}: expected at least two images with objects, to hold one "
            f"out for validation, got {len(nonempty)}; pass --val"
        )
    order = lucid.random.Generator(seed).numpy.permutation(len(nonempty))
    count = min(max(1, round(fraction * len(nonempty))), len(nonempty) - 1)
    held_out = sorted(nonempty[i] for i in order[:count])
    return sorted(set(range(len(dataset))) - set(held_out)), held_out
