"""Base class of the COCO and VOC datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from lucid.data import Dataset
from lucid.data.report import DataReport, OnInvalid
from lucid.vision import CheckedImage, ImageHeader, check_images, read_header, read_image
from lucid_models_detection.data.annotations import Annotations
from lucid_models_detection.data.orientation import BoxOrientation, check_header, to_upright
from lucid_models_detection.data.types import Sample, SampleTransform, Target

__all__ = ["SKIP_HINT", "DetectionDataset", "ImageEntry", "ReadHeader", "check_on_invalid"]

#: Reads size and orientation of an image, as :func:`lucid.vision.read_header` does.
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
        Path relative to the image folder, with slashes; identifies the image.
    path : pathlib.Path
        The image file.
    width, height : int
        Annotated size, else the size of the upright image.
    image_id : int or str
        As spelled in the annotation file.
    has_size : bool
        Whether the annotations have width and height.
    checked : bool
        Whether the image header has been compared with the annotations.
    """

    name: str
    path: Path
    width: int
    height: int
    image_id: int | str
    has_size: bool = True
    checked: bool = False


class DetectionDataset(Dataset[Sample]):
    """Images and boxes of an annotation file, with a report of its problems.

    Base class of :class:`CocoDetection` and :class:`VocDetection`.

    Attributes
    ----------
    report : lucid.data.report.DataReport
        Problems and statistics; :meth:`check_images` adds those of the images.
    class_names : tuple of str
        Name of each label, ``"background"`` first.
    image_directory : pathlib.Path
        Image folder.
    transform : callable or None
        Applied to each sample.
    """

    report: DataReport
    class_names: tuple[str, ...]
    image_directory: Path
    transform: SampleTransform | None

    def _set_annotations(
        self,
        entries: Sequence[ImageEntry],
        annotations: Annotations,
        on_invalid: OnInvalid,
        box_orientation: BoxOrientation | None,
    ) -> None:
        """Store what a reader found; raise if ``on_invalid`` forbids its problems."""
        self._entries = list(entries)
        self._annotations = annotations
        self._on_invalid = on_invalid
        self._box_orientation = box_orientation
        self._count_classes()
        self.report.resolve(on_invalid, hint=SKIP_HINT)
        if box_orientation == "stored":  # the headers are needed to convert the boxes
            self.check_images()

    @property
    def num_classes(self) -> int:
        """Number of classes including the background."""
        return len(self.class_names)

    @property
    def skipped(self) -> int:
        """Number of annotations left out."""
        return self.report.left_out["annotations"]

    @property
    def entries(self) -> Sequence[ImageEntry]:
        """Images in the order of the samples."""
        return self._entries

    @property
    def image_paths(self) -> list[Path]:
        """Path of each image."""
        return [entry.path for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def target(self, index: int) -> Target:
        """Return the target of a sample, before ``transform``, without reading the image."""
        return self._annotations.target(index, self._entries[index].image_id)

    def __getitem__(self, index: int) -> Sample:
        entry = self._entries[index]
        image = read_image(entry.path)
        if not entry.checked:
            report = DataReport(self.report.source)
            if not self._check_image(index, CheckedImage(read_header(entry.path)), report):
                report.resolve("raise")
        target = self.target(index)
        return (image, target) if self.transform is None else self.transform(image, target)

    def check_images(self, checked: Mapping[Path, CheckedImage] | None = None) -> None:
        """Check the header of every image that was not checked before.

        Adds to ``report``: missing and unreadable images, sizes that differ from the
        annotations, boxes that may ignore the EXIF orientation.  ``on_invalid="skip"`` leaves
        such images out, with their annotations.

        Parameters
        ----------
        checked : mapping of pathlib.Path to CheckedImage, optional
            Results for all images.  Default: those of ``lucid.vision.check_images``, which
            opens only files that changed since its last call.

        Raises
        ------
        ValueError
            If images are invalid and ``on_invalid`` is ``"raise"``, or more than half of them
            would be left out.
        """
        paths = [entry.path for entry in self._entries if not entry.checked]
        if checked is None:
            checked = check_images(paths, self.image_directory)
        good = []
        for index, entry in enumerate(self._entries):
            if entry.checked or self._check_image(index, checked[entry.path], self.report):
                good.append(index)
            else:
                number = self._annotations.starts[index + 1] - self._annotations.starts[index]
                self.report.left_out["annotations"] += int(number)
        self.report.resolve(self._on_invalid, hint=SKIP_HINT)
        if len(good) < len(self._entries):
            self._annotations = self._annotations.select(good)
            self._entries = [self._entries[index] for index in good]
            self._count_classes()

    def _check_image(self, index: int, checked: CheckedImage, report: DataReport) -> bool:
        """Compare an image with its annotations; convert its boxes to the upright image."""
        entry = self._entries[index]
        part = slice(self._annotations.starts[index], self._annotations.starts[index + 1])
        header = check_header(
            entry.path,
            (entry.width, entry.height),
            checked,
            report,
            boxes=int(part.stop - part.start),
            has_size=entry.has_size,
            box_orientation=self._box_orientation,
        )
        if header is None:
            return False
        if self._box_orientation == "stored" and header.orientation > 1:
            self._annotations.boxes[part] = to_upright(
                self._annotations.boxes[part], (header.width, header.height), header.orientation
            )
            entry.width, entry.height = header.size
        entry.checked = True
        return True

    def _count_classes(self) -> None:
        counted = ~self._annotations.ignored
        labels = self._annotations.labels[counted]
        counts = np.bincount(labels, minlength=len(self.class_names)).tolist()
        report = self.report
        report.classes = dict(zip(self.class_names[1:], counts[1:], strict=True))
        positions = np.repeat(np.arange(len(self)), np.diff(self._annotations.starts))[counted]
        pairs = np.unique(np.stack([positions, labels]), axis=1)
        images = np.bincount(pairs[1], minlength=len(self.class_names)).tolist()
        report.columns["images"] = dict(zip(self.class_names[1:], images[1:], strict=True))
        report.set_sizes((entry.width, entry.height) for entry in self._entries)


def check_on_invalid(value: str) -> None:
    """Raise ValueError if a value is neither ``"raise"`` nor ``"skip"``."""
    if value not in ("raise", "skip"):
        raise ValueError(f'on_invalid: expected "raise" or "skip", got {value!r}')
