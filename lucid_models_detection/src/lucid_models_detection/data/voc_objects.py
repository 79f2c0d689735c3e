"""Objects of Pascal VOC files: classes, boxes and flags, with the image of each file."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lucid.data.report import DataReport
from lucid.vision import ImageError
from lucid_models_detection.data.annotated import ImageEntry, ReadHeader
from lucid_models_detection.data.objects import ObjectRows
from lucid_models_detection.data.outlines import is_placeholder
from lucid_models_detection.data.paths import PathError
from lucid_models_detection.data.sources import Source
from lucid_models_detection.data.values import as_flag, as_number, as_side, shown
from lucid_models_detection.data.voc_files import ImageFinder, parse

__all__ = ["VocReader"]

CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocReader:
    """Reads XML files one by one into entries and objects.

    Parameters
    ----------
    annotations, images : pathlib.Path
        Folders of the XML files and of the images.
    report : DataReport
        Gets what is wrong.
    header : callable
        Reads the size of an image whose file does not say it.
    stored : bool
        Whether such a size is that of the stored pixels; else it is that of the upright image.
    keep_difficult : bool
        Whether objects marked difficult are ordinary objects.
    """

    def __init__(
        self,
        annotations: Path,
        images: Path,
        report: DataReport,
        header: ReadHeader,
        *,
        stored: bool,
        keep_difficult: bool,
    ) -> None:
        self.entries: list[ImageEntry] = []
        self.objects = ObjectRows()
        #: What to call each object in a message, and the name of its class.
        self.where: list[Source] = []
        self.names: list[str] = []
        self._annotations, self._folder, self._report = annotations, images, report
        self._finder = ImageFinder(annotations, images)
        self._header, self._stored = header, stored
        self._keep_difficult = keep_difficult
        self._by_name: dict[str, Path] = {}

    def read(self, path: Path) -> None:
        """Add one file; a file that cannot be used is left out with all its objects."""
        report = self._report
        report.totals["images"] += 1
        try:
            root = parse(path)
        except (OSError, ValueError) as error:
            text = f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)
            report.add("bad-file", text, annotation=self._own(path), leave_out="images")
            return
        elements = root.findall(".//object")
        report.totals["annotations"] += len(elements)
        entry = self._entry(path, root)
        if entry is None:
            report.left_out["annotations"] += len(elements)
            return
        self.entries.append(entry)
        for position, element in enumerate(elements):
            own = f"{self._own(path)}: object {position}"
            self._add(element, Source(f"{path}: object {position}", entry.name, own))

    def name(self, row: int) -> Source:
        """Name an object with its class and box."""
        box = self.objects.boxes[4 * row : 4 * row + 4].tolist()
        kind = "polygon" if self.objects.derived[row] else "bndbox"
        number = self.objects.sources[row]
        source = self.where[number]
        return replace(source, text=f"{source}: {self.names[number]}: {kind} {box}")

    def label(self, class_names: Sequence[str] | None) -> tuple[str, ...]:
        """Turn the names of objects into labels; leave out those of unknown classes."""
        names = tuple(sorted(set(self.names))) if class_names is None else tuple(class_names)
        labels = {name: label for label, name in enumerate(names, start=1)}
        objects, kept = self.objects, ObjectRows()
        for row, name in enumerate(self.names):
            if name not in labels:
                close = [other for other in names if _plain(other) == _plain(name)]
                hint = f"; {close[0]!r} differs in case or spaces only" if close else ""
                known = shown(list(names))
                message = f"{self.where[row]}: class {shown(name)} is not among {known}{hint}"
                self._leave_out("unknown-category", message, self.where[row])
                continue
            kept.boxes.extend(objects.boxes[4 * row : 4 * row + 4])
            kept.labels.append(labels[name])
            for column in ("images", "areas", "ignored", "derived", "sources"):
                getattr(kept, column).append(getattr(objects, column)[row])
        used = set(self.names)
        for position, name in enumerate(names):
            if name not in used:
                self._report.add("unused-category", f"class {name!r}: no objects")
            for other in names[:position]:
                if _plain(other) == _plain(name):
                    message = f"classes {other!r} and {name!r} differ in case or spaces only"
                    self._report.add("similar-names", message)
        derived = sum(kept.derived)
        self._report.count("derived-bbox", derived, "objects without a box: box around the polygon")
        self.objects = kept
        return names

    def _entry(self, path: Path, root: ET.Element) -> ImageEntry | None:
        """The image of a file, with its size."""
        report, own = self._report, self._own(path)
        filename = (root.findtext("filename") or "").strip()
        given = filename or None
        try:
            name, moved = self._finder.find(path, filename)
        except FileNotFoundError as error:
            report.add("missing-image", str(error), image=given, annotation=own, leave_out="images")
            return None
        except PathError as error:
            kind = "ambiguous-image" if error.several else "bad-name"
            message = f"{path}: <filename> {shown(filename)}: {error}"
            report.add(kind, message, image=given, annotation=own, leave_out="images")
            return None
        if name in self._by_name:
            message = f"{path}: {self._by_name[name]} annotates the same image {name}"
            report.add("duplicate-image", message, image=name, annotation=own, leave_out="images")
            return None
        self._by_name[name] = path
        if moved:
            message = f"{path}: <filename> {shown(filename)} is taken as {name}"
            report.add("moved-image", message, image=name, annotation=own)
        size = tuple(as_side(root.findtext(f"size/{side}")) for side in ("width", "height"))
        sized = None not in size
        if not sized and (read := self._size_of(name, root, path)) is not None:
            size = read
        width, height = size
        if width is None or height is None:
            return None
        image_id = path.relative_to(self._annotations).with_suffix("").as_posix()
        return ImageEntry(name, self._folder / name, width, height, image_id, sized)

    def _size_of(self, name: str, root: ET.Element, path: Path) -> tuple[int, int] | None:
        image, own = self._folder / name, self._own(path)
        try:
            header = self._header(image)
        except (ImageError, OSError) as error:
            given = " and ".join(shown(root.findtext(f"size/{s}")) for s in ("width", "height"))
            message = f"{path}: expected numbers in <size>, got {given}, and no image: {error}"
            self._report.add(
                "missing-size", message, image=name, annotation=own, leave_out="images"
            )
            return None
        size = (header.width, header.height) if self._stored else header.size
        message = f"{path}: {size[0]} x {size[1]}, read from {image}"
        self._report.add("derived-size", message, image=name, annotation=own)
        return size

    def _own(self, path: Path) -> str:
        """Path of an annotation file relative to their folder."""
        return path.relative_to(self._annotations).as_posix()

    def _leave_out(self, kind: str, message: str, source: Source) -> None:
        """Add a finding on an object that is left out."""
        self._report.add(
            kind,
            message,
            image=source.image,
            annotation=source.annotation,
            leave_out="annotations",
        )

    def _add(self, element: ET.Element, where: Source) -> None:
        for part in ("name", "bndbox"):
            if (number := len(element.findall(part))) > 1:
                kind = "bad-bbox" if part == "bndbox" else "unknown-category"
                message = f"{where}: expected one <{part}>, found {number}; give each an <object>"
                self._leave_out(kind, message, where)
                return
        name = (element.findtext("name") or "").strip()
        if not name:
            message = f"{where}: expected a class in <name>, found none"
            self._leave_out("unknown-category", message, where)
            return
        difficult = as_flag(element.findtext("difficult") or None)
        if difficult is None:
            given = shown(element.findtext("difficult"))
            message = f"{where}: difficult: expected 0 or 1, got {given}"
            self._leave_out("bad-flag", message, where)
            return
        truncated = element.findtext("truncated")
        if as_flag(truncated or None) is None:
            message = f"{where}: truncated: expected 0 or 1, got {shown(truncated)}"
            self._report.add("unused-flag", message, image=where.image, annotation=where.annotation)
        box, derived = self._box(element, where)
        if box is None:
            return
        objects = self.objects
        objects.boxes.extend(box)
        objects.images.append(len(self.entries) - 1)
        objects.labels.append(0)  # known once all names are
        objects.areas.append(math.nan)
        objects.ignored.append(difficult and not self._keep_difficult)
        objects.derived.append(derived)
        objects.sources.append(len(self.where))
        self.where.append(where)
        self.names.append(name)

    def _box(self, element: ET.Element, where: Source) -> tuple[list[float] | None, bool]:
        """The four numbers of a box, and whether they are derived from the polygon."""
        texts = [element.findtext(f"bndbox/{corner}") for corner in CORNERS]
        absent = element.find("bndbox") is None
        if absent or is_placeholder(texts):
            polygon = _polygon(element)
            if polygon is not None:
                return polygon, True
            if absent:
                message = f"{where}: expected <bndbox>, or a <polygon>"
                self._leave_out("no-bbox", message, where)
                return None, False
        box = []
        for corner, text in zip(CORNERS, texts, strict=True):
            number = as_number(text)
            if number is None:
                message = f"{where}: expected a number in <bndbox/{corner}>, got {shown(text)}"
                self._leave_out("bad-bbox", message, where)
                return None, False
            box.append(number)
        return box, False


def _polygon(element: ET.Element) -> list[float] | None:
    """The xyxy box around ``<polygon>``, whose points are <x1>, <y1>, ... or <pt><x>, <y>."""
    points: dict[str, list[float]] = {"x": [], "y": []}
    for part in element.iterfind("polygon//*"):
        if re.fullmatch(r"[xy]\d*", part.tag):
            number = as_number(part.text)
            if number is None or not math.isfinite(number):
                return None
            points[part.tag[0]].append(number)
    xs, ys = points["x"], points["y"]
    if len(xs) < 3 or len(xs) != len(ys):
        return None
    return [min(xs), min(ys), max(xs), max(ys)]


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()
