"""Reader of the Pascal VOC annotation format (one XML file for each image).

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
from lucid_models_detection.data.annotated import AnnotatedImages, ReadHeader, check_on_invalid
from lucid_models_detection.data.box_formats import BoxFormat, check_box_format
from lucid_models_detection.data.coco_categories import is_background
from lucid_models_detection.data.objects import Objects
from lucid_models_detection.data.orientation import BoxOrientation, check_box_orientation
from lucid_models_detection.data.targets import SampleTransform
from lucid_models_detection.data.voc_files import annotation_files
from lucid_models_detection.data.voc_objects import VocReader

__all__ = ["VOC_CLASSES", "VocDetection"]

#: The twenty classes of Pascal VOC, in the order of the development kit.
VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


class VocDetection(AnnotatedImages):
    """Images and boxes of a directory of VOC XML files.

    All XML files are read and checked when the dataset is made; images when asked for.

    Parameters
    ----------
    annotation_directory : path
        The XML files (VOC's ``Annotations``), also in subfolders.
    image_directory : path
        The images (VOC's ``JPEGImages``).
    image_set : path, optional
        A text file with one name a line (VOC's ``ImageSets/Main/train.txt``).
        Default: every XML file, in the order of their names.
    class_names : sequence of str or None, default VOC_CLASSES
        The classes; the first has label 1.  None takes the names in the files, sorted.
    keep_difficult : bool, default False
        Whether objects marked difficult are ordinary objects.  If not,
        they are in ``ignored_boxes``: not trained on, and not counted in evaluation,
        which is the rule of the challenge.
    one_based : bool, default True
        Whether coordinates count pixels from 1 and include the last, as VOC's do:
        a box (1, 1, 10, 10) then covers the edges 0 to 10.  False takes them as edges.
    transform : callable, optional
        ``transform(image, target) -> (image, target)``, applied to each sample.
    on_invalid : {"raise", "skip"}, default "raise"
        What to do with files, images and objects that cannot be used.  ``"skip"`` leaves them
        out, unless that would be more than half.
    box_format : str, optional
        How xmin, ymin, xmax, ymax are meant, as of :class:`CocoDetection`.  Default ``"xyxy"``,
        but a data set whose boxes look like another format is refused.
    box_orientation : {"upright", "stored"}, optional
        As of :class:`CocoDetection`.
    header : callable, optional
        As of :class:`CocoDetection`.

    Attributes
    ----------
    report : lucid.data.report.DataReport
        What was found wrong or remarkable, with counts.
    skipped : int
        Objects that were left out.
    class_names : tuple of str
        The name of each label, ``"background"`` first.
    num_classes : int
        Number of classes including the background, as the models count them.

    Raises
    ------
    ValueError
        A file is not of this format; names the XML file and the object.  An image is missing.
    FileNotFoundError
        A directory or the image set is missing.

    Notes
    -----
    A sample is ``(image, target)``: see :mod:`lucid_models_detection.data`.  An object with a
    ``<polygon>`` and no ``<bndbox>``, or one that only fills the field (such as four zeros), gets
    the box around the polygon.
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
        self._take(
            reader.entries,
            Objects.checked(
                reader.objects,
                [(entry.width, entry.height) for entry in reader.entries],
                report,
                reader.name,
                box_format=box_format,
                usual="xyxy",
                one_based=one_based,
            ),
            on_invalid,
            box_orientation,
        )

    def to_coco(self) -> dict[str, Any]:
        """The same annotations as a COCO file has them, for tools that read only those.

        ``json.dump(dataset.to_coco(), file)`` writes what
        :class:`~lucid_models_detection.data.CocoDetection` and ``lucid train-detector
        --data`` read, with the same ``image_directory``.

        Returns
        -------
        dict
            ``images``, numbered from 1 in the order of the data set; ``annotations``, with
            difficult objects as crowds (``iscrowd``), which are set apart there as here;
            ``categories``, numbered as the labels.
        """
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index, entry in enumerate(self.entries):
            images.append(
                {
                    "id": index + 1,
                    "file_name": entry.name,
                    "width": entry.width,
                    "height": entry.height,
                }
            )
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
    """Command that writes VOC annotations as a COCO file, for messages."""
    read = f"VocDetection({str(annotations)!r}, {str(images)!r}, class_names=None)"
    return (
        'python -c "import json, pathlib; from lucid_models_detection.data import VocDetection; '
        f"pathlib.Path('train.json').write_text(json.dumps({read}.to_coco()))\""
    )


def _check_names(class_names: Sequence[str]) -> None:
    if isinstance(class_names, str) or len(set(class_names)) != len(class_names):
        raise ValueError(f"class_names must be distinct names, got {class_names!r}")
    for name in class_names:
        if is_background(name):
            raise ValueError(
                f"class {name!r}: label 0 is the background already; rename it in the files, or "
                "give class_names without it"
            )
