"""Read the images and objects of Pascal VOC files, and report invalid ones."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lucid.data.report import DataReport
from lucid.vision import ImageError
from lucid_models_detection.data.annotations import RawAnnotations
from lucid_models_detection.data.detection_dataset import ImageEntry, ReadHeader
from lucid_models_detection.data.field_parsing import (
    brief,
    parse_flag,
    parse_number,
    parse_side,
)
from lucid_models_detection.data.image_paths import PathError
from lucid_models_detection.data.segmentation import is_placeholder_box
from lucid_models_detection.data.types import AnnotationSource
from lucid_models_detection.data.voc_files import ImageFinder, parse

__all__ = ["VocReader"]

CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocReader:
    """Read XML files one by one into ``entries`` and ``annotations``.

    ``stored`` selects the stored size, not the upright one, of images without a size in their file.
    """

    def __init__(
        self,
        annotation_folder: Path,
        image_folder: Path,
        report: DataReport,
        header: ReadHeader,
        *,
        stored: bool,
        keep_difficult: bool,
    ) -> None:
        self.entries: list[ImageEntry] = []
        self.annotations = RawAnnotations()
        self._sources: list[AnnotationSource] = []  # of each object
        self._names: list[str] = []  # class name of each object
        self._annotation_folder, self._image_folder = annotation_folder, image_folder
        self._report = report
        self._finder = ImageFinder(annotation_folder, image_folder)
        self._header, self._stored = header, stored
        self._keep_difficult = keep_difficult
        self._by_name: dict[str, Path] = {}

    def read(self, path: Path) -> None:
        """Add one file; an invalid file is left out with all its objects."""
        report = self._report
        report.totals["images"] += 1
        try:
            root = parse(path)
        except (OSError, ValueError) as error:
            text = f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)
            report.add("bad-file", text, annotation=self._relative(path), leave_out="images")
            return
        elements = root.findall(".//object")
        report.totals["annotations"] += len(elements)
        entry = self._entry(path, root)
        if entry is None:
            report.left_out["annotations"] += len(elements)
            return
        self.entries.append(entry)
        for position, element in enumerate(elements):
            name = f"{self._relative(path)}: object {position}"
            self._add(element, AnnotationSource(f"{path}: object {position}", entry.name, name))

    def source(self, row: int) -> AnnotationSource:
        """Return the source of an object, with its class and box in the text."""
        box = self.annotations.boxes[4 * row : 4 * row + 4].tolist()
        kind = "polygon" if self.annotations.derived[row] else "bndbox"
        number = self.annotations.sources[row]
        source = self._sources[number]
        return replace(source, text=f"{source}: {self._names[number]}: {kind} {box}")

    def label(self, class_names: Sequence[str] | None) -> tuple[str, ...]:
        """Convert class names to labels; leave out objects of unknown classes."""
        names = tuple(sorted(set(self._names))) if class_names is None else tuple(class_names)
        labels = {name: label for label, name in enumerate(names, start=1)}
        raw, kept = self.annotations, RawAnnotations()
        for row, name in enumerate(self._names):
            if name not in labels:
                close = [other for other in names if _normalize(other) == _normalize(name)]
                hint = f"; {close[0]!r} differs in case or spaces only" if close else ""
                known = brief(list(names))
                message = f"{self._sources[row]}: class {brief(name)} is not among {known}{hint}"
                self._leave_out("unknown-category", message, self._sources[row])
                continue
            kept.boxes.extend(raw.boxes[4 * row : 4 * row + 4])
            kept.labels.append(labels[name])
            for column in ("images", "areas", "ignored", "derived", "sources"):
                getattr(kept, column).append(getattr(raw, column)[row])
        used = set(self._names)
        for position, name in enumerate(names):
            if name not in used:
                self._report.add("unused-category", f"class {name!r}: no objects")
            for other in names[:position]:
                if _normalize(other) == _normalize(name):
                    message = f"classes {other!r} and {name!r} differ in case or spaces only"
                    self._report.add("similar-names", message)
        derived = sum(kept.derived)
        self._report.count("derived-bbox", derived, "objects without a box: box around the polygon")
        self.annotations = kept
        return names

    def _entry(self, path: Path, root: ET.Element) -> ImageEntry | None:
        """Return the image of a file, or None if it is invalid."""
        filename = (root.findtext("filename") or "").strip()
        source = AnnotationSource(str(path), filename or None, self._relative(path))
        try:
            name, moved = self._finder.find(path, filename)
        except FileNotFoundError as error:
            self._leave_out("missing-image", str(error), source, "images")
            return None
        except PathError as error:
            kind = "ambiguous-image" if error.ambiguous else "bad-name"
            message = f"{path}: <filename> {brief(filename)}: {error}"
            self._leave_out(kind, message, source, "images")
            return None
        source = replace(source, image=name)
        if name in self._by_name:
            message = f"{path}: {self._by_name[name]} annotates the same image {name}"
            self._leave_out("duplicate-image", message, source, "images")
            return None
        self._by_name[name] = path
        if moved:
            message = f"{path}: <filename> {brief(filename)} is read as {name}"
            self._report.add("moved-image", message, **source.keywords)
        size = tuple(parse_side(root.findtext(f"size/{side}")) for side in ("width", "height"))
        has_size = None not in size
        if not has_size and (read := self._size_of(name, root, source)) is not None:
            size = read
        width, height = size
        if width is None or height is None:
            return None
        image_id = path.relative_to(self._annotation_folder).with_suffix("").as_posix()
        return ImageEntry(name, self._image_folder / name, width, height, image_id, has_size)

    def _size_of(
        self, name: str, root: ET.Element, source: AnnotationSource
    ) -> tuple[int, int] | None:
        image = self._image_folder / name
        try:
            header = self._header(image)
        except (ImageError, OSError) as error:
            given = " and ".join(brief(root.findtext(f"size/{s}")) for s in ("width", "height"))
            message = f"{source}: expected numbers in <size>, got {given}, and no image: {error}"
            self._leave_out("missing-size", message, source, "images")
            return None
        size = (header.width, header.height) if self._stored else header.size
        message = f"{source}: {size[0]} x {size[1]}, read from {image}"
        self._report.add("derived-size", message, **source.keywords)
        return size

    def _relative(self, path: Path) -> str:
        """Return the path of an XML file relative to the annotation folder."""
        return path.relative_to(self._annotation_folder).as_posix()

    def _leave_out(
        self, kind: str, message: str, source: AnnotationSource, what: str = "annotations"
    ) -> None:
        """Report an object or image that is left out."""
        self._report.add(kind, message, **source.keywords, leave_out=what)

    def _add(self, element: ET.Element, source: AnnotationSource) -> None:
        for part in ("name", "bndbox"):
            if (number := len(element.findall(part))) > 1:
                kind = "bad-bbox" if part == "bndbox" else "unknown-category"
                message = f"{source}: expected one <{part}>, got {number}; write one <object> each"
                self._leave_out(kind, message, source)
                return
        name = (element.findtext("name") or "").strip()
        if not name:
            message = f"{source}: expected a class in <name>, got none"
            self._leave_out("unknown-category", message, source)
            return
        difficult = parse_flag(element.findtext("difficult") or None)
        if difficult is None:
            given = brief(element.findtext("difficult"))
            message = f"{source}: difficult: expected 0 or 1, got {given}"
            self._leave_out("bad-flag", message, source)
            return
        truncated = element.findtext("truncated")
        if parse_flag(truncated or None) is None:
            message = f"{source}: truncated: expected 0 or 1, got {brief(truncated)}"
            self._report.add("unused-flag", message, **source.keywords)
        box, derived = self._box(element, source)
        if box is None:
            return
        raw = self.annotations
        raw.boxes.extend(box)
        raw.images.append(len(self.entries) - 1)
        raw.labels.append(0)  # set by label()
        raw.areas.append(math.nan)
        raw.ignored.append(difficult and not self._keep_difficult)
        raw.derived.append(derived)
        raw.sources.append(len(self._sources))
        self._sources.append(source)
        self._names.append(name)

    def _box(
        self, element: ET.Element, source: AnnotationSource
    ) -> tuple[list[float] | None, bool]:
        """Return the four numbers of a box, and whether they come from the polygon."""
        texts = [element.findtext(f"bndbox/{corner}") for corner in CORNERS]
        absent = element.find("bndbox") is None
        if absent or is_placeholder_box(texts):
            polygon = _polygon(element)
            if polygon is not None:
                return polygon, True
            if absent:
                message = f"{source}: expected <bndbox>, or a <polygon>"
                self._leave_out("no-bbox", message, source)
                return None, False
        box = []
        for corner, text in zip(CORNERS, texts, strict=True):
            number = parse_number(text)
            if number is None:
                message = f"{source}: expected a number in <bndbox/{corner}>, got {brief(text)}"
                self._leave_out("bad-bbox", message, source)
                return None, False
            box.append(number)
        return box, False


def _polygon(element: ET.Element) -> list[float] | None:
    """Return the bounding box of ``<polygon>``, with points <x1>, <y1>, ... or <pt><x>, <y>."""
    points: dict[str, list[float]] = {"x": [], "y": []}
    for part in element.iterfind("polygon//*"):
        if re.fullmatch(r"[xy]\d*", part.tag):
            number = parse_number(part.text)
            if number is None or not math.isfinite(number):
                return None
            points[part.tag[0]].append(number)
    xs, ys = points["x"], points["y"]
    if len(xs) < 3 or len(xs) != len(ys):
        return None
    return [min(xs), min(ys), max(xs), max(ys)]


def _normalize(name: str) -> str:
    return " ".join(name.split()).casefold()
