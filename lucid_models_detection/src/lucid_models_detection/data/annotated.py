"""Images with annotated objects: what the COCO and the VOC data set have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from lucid.data import Dataset
from lucid.data.report import DataReport, OnInvalid
from lucid.vision import CheckedImage, ImageHeader, check_images, read_header, read_image
from lucid_models_detection.data.objects import Objects
from lucid_models_detection.data.orientation import (
    BoxOrientation,
    check_header,
    to_upright,
)
from lucid_models_detection.data.targets import Sample, SampleTransform, Target

__all__ = ["AnnotatedImages", "ImageEntry", "ReadHeader", "check_on_invalid"]

#: Reads size and orientation of an image; raises as :func:`read_header` does.
ReadHeader: TypeAlias = Callable[[Path], ImageHeader]

SKIP_HINT = (
    '\nPass on_invalid="skip" (on the command line --skip-invalid) to leave out such entries.'
)


@dataclass(slots=True)
class ImageEntry:
    """An image of an annotation file.

    Attributes
    ----------
    name : str
        Path relative to the folder of the images, with slashes: its identity.
    path : pathlib.Path
        The file.
    width, height : int
        As the annotations say, else of the upright image.
    image_id : int or str
        As the file spells it.
    sized : bool
        Whether the annotations say width and height.
    checked : bool
        Whether its header has been compared with the annotations.
    """

    name: str
    path: Path
    width: int
    height: int
    image_id: int | str
    sized: bool = True
    checked: bool = False


class AnnotatedImages(Dataset[Sample]):
    """Images and boxes of an annotation file, with the report of what was wrong.

    The base of :class:`CocoDetection` and :class:`VocDetection`, which read a file format.

    Attributes
    ----------
    report : lucid.data.report.DataReport
        All findings; :meth:`check_images` adds those on the images.
    class_names : tuple of str
        The name of each label, ``"background"`` first.
    image_directory : pathlib.Path
        Folder of the images.
    transform : callable or None
        Applied to each sample.
    """

    report: DataReport
    class_names: tuple[str, ...]
    image_directory: Path
    transform: SampleTransform | None

    def _take(
        self,
        entries: Sequence[ImageEntry],
        objects: Objects,
        on_invalid: OnInvalid,
        box_orientation: BoxOrientation | None,
    ) -> None:
        """Keep what a reader has found, if the policy accepts it."""
        self._entries = list(entries)
        self._objects = objects
        self._on_invalid = on_invalid
        self._box_orientation = box_orientation
        self._count_classes()
        self.report.resolve(on_invalid, hint=SKIP_HINT)
        if box_orientation == "stored":  # boxes are converted by the headers
            self.check_images()

    @property
    def num_classes(self) -> int:
        """Number of classes, the background among them."""
        return len(self.class_names)

    @property
    def skipped(self) -> int:
        """Number of annotations that were left out."""
        return self.report.left_out["annotations"]

    @property
    def entries(self) -> Sequence[ImageEntry]:
        """The images, in the order of the samples."""
        return self._entries

    @property
    def image_paths(self) -> list[Path]:
        """Path of each image."""
        return [entry.path for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def target(self, index: int) -> Target:
        """The target of a sample as it is in the file, without its image being read."""
        return self._objects.target(index, self._entries[index].image_id)

    def __getitem__(self, index: int) -> Sample:
        entry = self._entries[index]
        image = read_image(entry.path)
        if not entry.checked:
            report = DataReport(self.report.source)
            if not self._fits(index, CheckedImage(read_header(entry.path)), report):
                report.resolve("raise")
        target = self.target(index)
        return (image, target) if self.transform is None else self.transform(image, target)

    def check_images(self, checked: Mapping[Path, CheckedImage] | None = None) -> None:
        """Open the header of every image before the first step.

        Findings are added to ``report``: missing and unreadable images, sizes that are not
        those of the annotations, boxes that may ignore the EXIF orientation.  With
        ``on_invalid="skip"`` such images are left out, with their annotations.  Images that were
        checked before are passed over.

        Parameters
        ----------
        checked : mapping of pathlib.Path to CheckedImage, optional
            Results for all images; by default those of
            ``lucid.vision.check_images``, which opens only files
            that have changed since it did.

        Raises
        ------
        ValueError
            If images cannot be used and ``on_invalid`` is ``"raise"``, or more than half of them
            would be left out.
        """
        paths = [entry.path for entry in self._entries if not entry.checked]
        if checked is None:
            checked = check_images(paths, self.image_directory)
        good = []
        for index, entry in enumerate(self._entries):
            if entry.checked or self._fits(index, checked[entry.path], self.report):
                good.append(index)
            else:
                number = self._objects.starts[index + 1] - self._objects.starts[index]
                self.report.left_out["annotations"] += int(number)
        self.report.resolve(self._on_invalid, hint=SKIP_HINT)
        if len(good) < len(self._entries):
            self._objects = self._objects.select(good)
            self._entries = [self._entries[index] for index in good]
            self._count_classes()

    def _fits(self, index: int, checked: CheckedImage, report: DataReport) -> bool:
        """Compare an image with its annotations, and convert its boxes to the upright image."""
        entry = self._entries[index]
        part = slice(self._objects.starts[index], self._objects.starts[index + 1])
        header = check_header(
            entry.path,
            (entry.width, entry.height),
            checked,
            report,
            boxes=int(part.stop - part.start),
            sized=entry.sized,
            box_orientation=self._box_orientation,
        )
        if header is None:
            return False
        if self._box_orientation == "stored" and header.orientation > 1:
            self._objects.boxes[part] = to_upright(
                self._objects.boxes[part], (header.width, header.height), header.orientation
            )
            entry.width, entry.height = header.size
        entry.checked = True
        return True

    def _count_classes(self) -> None:
        counted = ~self._objects.ignored
        labels = self._objects.labels[counted]
        counts = np.bincount(labels, minlength=len(self.class_names)).tolist()
        report = self.report
        report.classes = dict(zip(self.class_names[1:], counts[1:], strict=True))
        positions = np.repeat(np.arange(len(self)), np.diff(self._objects.starts))[counted]
        pairs = np.unique(np.stack([positions, labels]), axis=1)
        images = np.bincount(pairs[1], minlength=len(self.class_names)).tolist()
        report.columns["images"] = dict(zip(self.class_names[1:], images[1:], strict=True))
        report.set_sizes((entry.width, entry.height) for entry in self._entries)


def check_on_invalid(value: str) -> None:
    """Refuse a value that is no policy for entries that cannot be used."""
    if value not in ("raise", "skip"):
        raise ValueError(f'on_invalid must be "raise" or "skip", got {value!r}')
