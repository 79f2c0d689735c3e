"""Reader of the Pascal VOC annotation format (one XML file for each image).

Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010,
and the development kit's annotation guidelines.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lucid.data import Dataset
from lucid_models_detection import boxes as box_ops
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

SKIP_HINT = '\nPass on_invalid="skip" to leave such boxes out.'
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocDetection(Dataset[Sample]):
    """Images and boxes of a directory of VOC XML files.

    All annotations are read and checked when the dataset is made; images are
    read when asked for.

    Parameters
    ----------
    annotation_directory : path
        The XML files (``VOC2007/Annotations``).
    image_directory : path
        The images (``VOC2007/JPEGImages``), found by the ``filename`` of the XML
        file, else by the XML file's own name.
    image_set : path, optional
        A text file with one image name a line (``VOC2007/ImageSets/Main/train.txt``)
        that chooses among the XML files and orders them.  Default: all of them, by name.
    class_names : sequence of str, default :data:`VOC_CLASSES`
        The classes without the background; they become the labels 1, 2, 3, ...
    keep_difficult : bool, default False
        Whether objects flagged *difficult* are objects like the others.  By default
        they are in ``ignored_boxes``: not trained on, and not counted in evaluation,
        which is the rule of the challenge.
    one_based : bool, default True
        Whether coordinates count pixels from 1 and include the last, as VOC's do:
        a box (1, 1, 10, 10) then covers the edges 0 to 10.  False takes them as edges.
    transform : callable, optional
        ``transform(image, target) -> (image, target)``, applied to each sample.
    on_invalid : {"raise", "skip"}, default "raise"
        What to do with boxes that are not finite, have no area or lie outside
        their image.  Boxes that reach over the border are cut there.

    Attributes
    ----------
    class_names : tuple of str
        The name of each label, ``"background"`` first.
    num_classes : int
        Number of classes including the background, as the models count them.

    Raises
    ------
    ValueError
        A file is not of this format; names the XML file and the object.
    FileNotFoundError
        A directory, an XML file of the image set or an image is missing.

    Notes
    -----
    A sample is ``(image, target)``: see :mod:`lucid_models_detection.data`.
    """

    def __init__(
        self,
        annotation_directory: str | Path,
        image_directory: str | Path,
        *,
        image_set: str | Path | None = None,
        class_names: Sequence[str] = VOC_CLASSES,
        keep_difficult: bool = False,
        one_based: bool = True,
        transform: SampleTransform | None = None,
        on_invalid: OnInvalid = "raise",
    ) -> None:
        if on_invalid not in ("raise", "skip"):
            raise ValueError(f'on_invalid must be "raise" or "skip", got {on_invalid!r}')
        if isinstance(class_names, str) or len(set(class_names)) != len(class_names):
            raise ValueError(f"class_names must be distinct names, got {class_names!r}")
        self.annotation_directory = Path(annotation_directory)
        self.image_directory = Path(image_directory)
        self.class_names = ("background", *class_names)
        self.transform = transform
        self._labels = {name: label for label, name in enumerate(class_names, start=1)}
        self._keep_difficult = keep_difficult
        self._offset = 1.0 if one_based else 0.0
        self._entries: list[tuple[Path, tuple[int, int], Target]] = []
        invalid: list[str] = []
        for path in self._files(image_set):
            self._entries.append(self._read(path, invalid))
        if on_invalid == "raise":
            raise_problems(str(self.annotation_directory), invalid, SKIP_HINT)

    @property
    def num_classes(self) -> int:
        """Number of classes, the background among them."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        path, (width, height), target = self._entries[index]
        image = read_annotated(path, width, height, "its annotation")
        target = copy_target(target)
        return (image, target) if self.transform is None else self.transform(image, target)

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
        for number, (path, (width, height), target) in enumerate(self._entries, start=1):
            name = path.relative_to(self.image_directory).as_posix()
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            for crowd, kind in enumerate(("", "ignored_")):
                boxes = box_ops.to_xywh(target[f"{kind}boxes"]).tolist()
                for box, label in zip(boxes, target[f"{kind}labels"].tolist(), strict=True):
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": number,
                            "category_id": label,
                            "bbox": box,
                            "area": box[2] * box[3],
                            "iscrowd": crowd,
                        }
                    )
        categories = [{"id": label, "name": name} for name, label in self._labels.items()]
        return {"images": images, "annotations": annotations, "categories": categories}

    def _files(self, image_set: str | Path | None) -> list[Path]:
        if not self.annotation_directory.is_dir():
            raise FileNotFoundError(f"{self.annotation_directory}: no such directory")
        if image_set is None:
            return sorted(self.annotation_directory.glob("*.xml"))
        # A line of a per-class set is "name 1", "name -1" or "name 0": the name comes first.
        lines = Path(image_set).read_text(encoding="utf-8").splitlines()
        files = [
            self.annotation_directory / f"{line.split()[0]}.xml" for line in lines if line.strip()
        ]
        missing = [path.name for path in files if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{image_set}: {len(missing)} images have no annotation in "
                f"{self.annotation_directory}, the first is {missing[0]}"
            )
        return files

    def _read(self, path: Path, invalid: list[str]) -> tuple[Path, tuple[int, int], Target]:
        try:
            root = ET.parse(path, ET.XMLParser(target=_Builder())).getroot()
        except (ET.ParseError, LookupError, ValueError) as error:  # the latter two: encodings
            raise ValueError(f"{path}: not an XML file that is read here: {error}") from None
        if root.tag != "annotation":
            raise ValueError(f"{path}: expected a VOC <annotation>, found <{root.tag}>")
        width, height = (_pixels(root, f"size/{side}", path) for side in ("width", "height"))
        annotations: list[Annotation] = []
        for position, element in enumerate(root.findall("object")):
            where = f"{path}: object {position}"
            found = self._annotation(element, where, width, height)
            if isinstance(found, str):
                invalid.append(f"{where}: {found}")
            else:
                annotations.append(found)
        target = make_target(annotations, path.stem)
        return self._image_of(path, root), (width, height), target

    def _annotation(
        self, element: ET.Element, where: str, width: int, height: int
    ) -> Annotation | str:
        name = (element.findtext("name") or "").strip()
        if name not in self._labels:
            raise ValueError(f"{where}: class {name!r} is not among {list(self._labels)}")
        x1, y1, x2, y2 = (_number(element, f"bndbox/{corner}", where) for corner in CORNERS)
        box = box_inside((x1 - self._offset, y1 - self._offset, x2, y2), width, height)
        if isinstance(box, str):
            return f"{name}: bndbox {[x1, y1, x2, y2]}: {box}"
        difficult = (element.findtext("difficult") or "0").strip() == "1"
        return Annotation(
            box=box,
            label=self._labels[name],
            area=area_of(box),
            ignored=difficult and not self._keep_difficult,
        )

    def _image_of(self, path: Path, root: ET.Element) -> Path:
        # Only the last part: tools write whole paths of another machine there.
        named = (root.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
        candidates = [named] if named else []
        candidates += [path.stem + suffix for suffix in IMAGE_SUFFIXES]
        for candidate in candidates:
            image = self.image_directory / candidate
            if _is_there(image):
                return image
        raise FileNotFoundError(f"{path}: no image {candidates[0]} in {self.image_directory}")


class _Builder(ET.TreeBuilder):
    """Refuses document types: annotations have none, and the entities in them multiply text."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, as no annotation does")


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no name of a file: too long
        return False


def _pixels(root: ET.Element, tag: str, path: Path) -> int:
    value = _number(root, tag, str(path))
    if not 1 <= value < 2**31:
        raise ValueError(f"{path}: expected at least 1 pixel in <{tag}>, got {value:g}")
    return int(value)


def _number(element: ET.Element, tag: str, where: str) -> float:
    text = element.findtext(tag)
    try:
        return float(text if text is not None else "")
    except ValueError:
        raise ValueError(f"{where}: expected a number in <{tag}>, got {text!r}") from None
