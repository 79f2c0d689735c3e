"""Pascal VOC dataset: images with the boxes of XML annotation files, one per image.

Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010,
and the development kit's annotation guidelines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lucid.data.report import DataReport, OnInvalid
from lucid.vision import read_header
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.data.annotations import Annotations
from lucid_models_detection.data.box_formats import BoxFormat, check_box_format
from lucid_models_detection.data.coco_categories import is_background
from lucid_models_detection.data.detection_dataset import (
    DetectionDataset,
    ReadHeader,
    check_on_invalid,
)
from lucid_models_detection.data.orientation import BoxOrientation, check_box_orientation
from lucid_models_detection.data.types import SampleTransform
from lucid_models_detection.data.voc_files import annotation_files
from lucid_models_detection.data.voc_reader import VocReader

__all__ = ["VOC_CLASSES", "VocDetection", "conversion_command"]

#: The twenty classes of Pascal VOC, in the order of the development kit.
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


class VocDetection(DetectionDataset):
    """Images and boxes of a folder of VOC XML files.

    The XML files are read and checked when the dataset is created; images when indexed.

    Parameters
    ----------
    annotation_directory : path
        XML files (VOC's ``Annotations``), also in subfolders.
    image_directory : path
        Images (VOC's ``JPEGImages``).
    image_set : path, optional
        Text file with one name per line (VOC's ``ImageSets/Main/train.txt``).
        Default: every XML file, sorted by name.
    class_names : sequence of str or None, default VOC_CLASSES
        Classes; the first has label 1.  None takes the names in the files, sorted.
    keep_difficult : bool, default False
        Treat objects marked difficult as ordinary objects.  By default they are in
        ``ignored_boxes``: excluded from training and evaluation, as in the challenge.
    one_based : bool, default True
        Whether coordinates count pixels from 1 and include the last, as in VOC: the box
        (1, 1, 10, 10) becomes (0, 0, 10, 10).
    transform : callable, optional
        ``transform(image, target) -> (image, target)``, applied to each sample.
    on_invalid : {"raise", "skip"}, default "raise"
        Handling of invalid files, images and objects.  ``"skip"`` leaves them out, and
        raises if they are more than half.
    box_format : str, optional
        Format of xmin, ymin, xmax, ymax, as in :class:`CocoDetection`.  Default: ``"xyxy"``,
        and raise if the boxes look like another format.
    box_orientation : {"upright", "stored"}, optional
        As in :class:`CocoDetection`.
    header : callable, optional
        As in :class:`CocoDetection`.

    Attributes
    ----------
    report : lucid.data.report.DataReport
        Problems and statistics.
    skipped : int
        Number of objects left out.
    class_names : tuple of str
        Name of each label, ``"background"`` first.
    num_classes : int
        Number of classes including the background.

    Raises
    ------
    ValueError
        If a file is not a valid VOC file (names XML file and object) or an image is missing.
    FileNotFoundError
        If a directory or the image set is missing.

    Notes
    -----
    A sample is ``(image, target)``: see :mod:`lucid_models_detection.data`.  An object with a
    ``<polygon>`` and no ``<bndbox>``, or with a placeholder such as four zeros, gets the
    bounding box of the polygon.
    """

    def __init__(
        self,
        annotation_directory: str | Path,
        image_directory: str | Path,
        *,
        image_set: str | Path | None = None,
        class_names: Sequence[str] | None = VOC_CLASSES,
        keep_difficult: bool = False,
        one_based: bool = True,
        transform: SampleTransform | None = None,
        on_invalid: OnInvalid = "raise",
        box_format: BoxFormat | None = None,
        box_orientation: BoxOrientation | None = None,
        header: ReadHeader = read_header,
    ) -> None:
        check_on_invalid(on_invalid)
        check_box_format(box_format)
        check_box_orientation(box_orientation)
        if class_names is not None:
            _check_names(class_names)
        self.annotation_directory = Path(annotation_directory)
        self.image_directory = Path(image_directory)
        self.transform = transform
        self.report = report = DataReport(str(self.annotation_directory))
        chosen = None if image_set is None else Path(image_set)
        files = annotation_files(self.annotation_directory, chosen, report)
        reader = VocReader(
            self.annotation_directory,
            self.image_directory,
            report,
            header,
            stored=box_orientation == "stored",
            keep_difficult=keep_difficult,
        )
        for path in files:
            reader.read(path)
        names = reader.label(class_names)
        _check_names(names)
        self.class_names = ("background", *names)
        annotations = Annotations.from_raw(
            reader.annotations,
            [(entry.width, entry.height) for entry in reader.entries],
            report,
            reader.source,
            box_format=box_format,
            default_format="xyxy",
            one_based=one_based,
        )
        self._set_annotations(reader.entries, annotations, on_invalid, box_orientation)

    def to_coco(self) -> dict[str, Any]:
        """Convert the annotations to COCO format.

        ``json.dump(dataset.to_coco(), file)`` writes a file for
        :class:`~lucid_models_detection.data.CocoDetection` and ``lucid train-detector
        --data``, with the same ``image_directory``.

        Returns
        -------
        dict
            ``images``, with ids from 1 in the order of the dataset; ``annotations``, with
            difficult objects as crowds (``iscrowd``); ``categories``, with the labels as ids.
        """
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index, entry in enumerate(self.entries):
            size = {"width": entry.width, "height": entry.height}
            images.append({"id": index + 1, "file_name": entry.name, **size})
            target = self.target(index)
            for crowd, kind in enumerate(("", "ignored_")):
                boxes = box_ops.to_xywh(target[f"{kind}boxes"]).tolist()
                for box, label in zip(boxes, target[f"{kind}labels"].tolist(), strict=True):
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": index + 1,
                            "category_id": label,
                            "bbox": box,
                            "area": box[2] * box[3],
                            "iscrowd": crowd,
                        }
                    )
        categories = [
            {"id": label, "name": name} for label, name in enumerate(self.class_names) if label
        ]
        return {"images": images, "annotations": annotations, "categories": categories}


def conversion_command(annotations: Path, images: Path) -> str:
    """Return the command that converts VOC annotations to a COCO file, for messages."""
    read = f"VocDetection({str(annotations)!r}, {str(images)!r}, class_names=None)"
    return (
        'python -c "import json, pathlib; from lucid_models_detection.data import VocDetection; '
        f"pathlib.Path('train.json').write_text(json.dumps({read}.to_coco()))\""
    )


def _check_names(class_names: Sequence[str]) -> None:
    if isinstance(class_names, str) or len(set(class_names)) != len(class_names):
        raise ValueError(f"class_names: expected distinct names, got {class_names!r}")
    for name in class_names:
        if is_background(name):
            raise ValueError(
                f"class {name!r}: label 0 is the background; rename the class in the files, or "
                "pass class_names without it"
            )
