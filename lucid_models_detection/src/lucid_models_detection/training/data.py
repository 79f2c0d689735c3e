"""What is trained on, and what is validated on."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import lucid
from lucid.data import Dataset, Subset
from lucid.data.identity import file_digest, image_identities
from lucid.training.data_record import DataRecord
from lucid_models_detection.categories import Categories
from lucid_models_detection.data import CocoDetection, Compose
from lucid_models_detection.data.coco import read_categories
from lucid_models_detection.data.targets import Sample, SampleTransform
from lucid_models_detection.training.options import AUGMENTATIONS, TrainingOptions

__all__ = ["TrainingData"]


@dataclass(frozen=True)
class TrainingData:
    """Two data sets, the classes of both, and how many boxes were left out.

    ``sources`` are the whole data sets by the option that names the folder of their images.
    """

    train: Dataset[Sample]
    val: Dataset[Sample]
    categories: Categories
    class_names: tuple[str, ...]
    skipped: int
    sources: dict[str, CocoDetection]

    @classmethod
    def read(cls, options: TrainingOptions, transform: SampleTransform | None) -> TrainingData:
        """Read the files that the options name.

        Raises
        ------
        ValueError
            If there is nothing to train on or to validate on, images are missing, or the two
            files number their categories differently.
        """
        how: dict[str, Any] = {
            "on_invalid": "skip" if options.skip_invalid else "raise",
            "box_format": options.box_format,
            "box_orientation": options.box_orientation,
        }
        plain = CocoDetection(options.data, options.images, **how)
        if plain.num_classes < 2:
            raise ValueError(f"{options.data}: names no category, so there is nothing to learn")
        plain.check_images()
        train = copy.copy(plain)  # the same annotations, in memory once
        train.transform = transform or Compose(AUGMENTATIONS[options.augment])
        categories = Categories.of(plain)
        if options.val is None:
            first, second = _split(plain, options.val_fraction, options.seed)
            held = Subset(train, first), Subset(plain, second)
            sources = {"images": plain}
            return cls(*held, categories, plain.class_names, plain.skipped, sources)

        # By name before by number: that tells what is wrong, once and not for each object.
        categories.check(options.val, read_categories(options.val).names_for(plain.class_names))
        folder = options.val_images or options.images
        val = CocoDetection(options.val, folder, category_ids=plain.category_ids, **how)
        val.check_images()
        if not any(len(val.target(i)["boxes"]) for i in range(len(val))):
            raise ValueError(f"{options.val}: holds no object, so nothing can be measured")
        sources = {"images": plain, "val_images": val}
        skipped = plain.skipped + val.skipped
        return cls(train, val, categories, plain.class_names, skipped, sources)

    def record(self, options: TrainingOptions, start_files: Collection[str]) -> DataRecord:
        """Return the identity of the data, and of some files that the run starts from.

        Parameters
        ----------
        options : TrainingOptions
            As for :meth:`read`.
        start_files : collection of str
            Which of the options ``weights`` and ``backbone_weights`` to include.
        """
        files = {name: getattr(options, name) for name in ("data", "val", *start_files)}
        return DataRecord(
            {name: file_digest(path) for name, path in files.items() if path is not None},
            {
                name: image_identities(source.image_paths, source.image_directory)
                for name, source in self.sources.items()
            },
        )


def _split(dataset: CocoDetection, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Positions to train on and to validate on; the share is one of the images with objects."""
    full = [i for i in range(len(dataset)) if len(dataset.target(i)["boxes"])]
    if len(full) < 2:
        raise ValueError(
            f"{dataset.annotation_file}: {len(full)} images have objects, so none is left to "
            "validate on; give --val"
        )
    order = lucid.random.Generator(seed).numpy.permutation(len(full))
    count = min(max(1, round(fraction * len(full))), len(full) - 1)
    second = sorted(full[i] for i in order[:count])
    return sorted(set(range(len(dataset))) - set(second)), second
