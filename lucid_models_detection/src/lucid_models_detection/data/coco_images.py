"""Images of a COCO file: ids, paths and sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lucid.data.report import DataReport
from lucid.vision import ImageError
from lucid_models_detection.data.annotated import ImageEntry, ReadHeader
from lucid_models_detection.data.coco_file import read_json
from lucid_models_detection.data.orientation import BoxOrientation
from lucid_models_detection.data.paths import PathError, relative_path
from lucid_models_detection.data.values import Id, as_id, as_side, id_or_number, own_id, shown

__all__ = ["FileImages", "read_images"]


class FileImages:
    """The images of a file: those that can be used, and the ids of the others.

    Parameters
    ----------
    rows : list of dict
        The file's ``images``.
    folder : pathlib.Path
        Folder that ``file_name`` is relative to.
    report : DataReport
        Gets what is wrong.
    header : callable
        Reads the size of an image whose size the file does not say.
    box_orientation : {"upright", "stored"} or None
        As of :class:`CocoDetection`.

    Attributes
    ----------
    entries : list of ImageEntry
    positions : dict of (int or str) to int
        Position in ``entries`` by id; -1 for an image that is left out.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        folder: Path,
        report: DataReport,
        header: ReadHeader,
        box_orientation: BoxOrientation | None,
    ) -> None:
        self.entries: list[ImageEntry] = []
        self.positions: dict[Id, int] = {}
        self._folder, self._report, self._header = folder, report, header
        self._stored = box_orientation == "stored"
        self._by_name: dict[str, Id] = {}
        for position, raw in enumerate(rows):
            self._add(raw, f"image {id_or_number(raw, position)}")

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Width and height of each entry."""
        return [(entry.width, entry.height) for entry in self.entries]

    def name(self, image_id: object) -> str | None:
        """File name of the image with an id; None for one that is left out or unknown."""
        key = as_id(image_id)
        position = -1 if key is None else self.positions.get(key, -1)
        return self.entries[position].name if position >= 0 else None

    def _add(self, raw: dict[str, Any], where: str) -> None:
        key = as_id(raw.get("id"))
        if key is None:
            self._leave_out("bad-id", f"{where}: expected a whole number or text as id", raw)
            return
        if key in self.positions:
            self._repeated(key, raw, where)
            return
        self.positions[key] = -1
        try:
            name, moved = relative_path(_file_name(raw), self._folder)
        except PathError as error:
            given = shown(raw.get("file_name"))
            kind = "ambiguous-image" if error.several else "bad-name"
            self._leave_out(kind, f"{where}: file_name {given}: {error}", raw)
            return
        if name in self._by_name:
            other = shown(self._by_name[name])
            message = f"{where}: image {other} has the same file_name {shown(name)}"
            self._leave_out("duplicate-image", message, raw)
            return
        self._by_name[name] = key
        if moved:
            given = shown(_file_name(raw))
            self._report.add("moved-image", f"{where}: {given} is taken as {name}", image=name)
        path = self._folder / name
        width, height = as_side(raw.get("width")), as_side(raw.get("height"))
        sized = width is not None and height is not None
        if not sized and (size := self._size_of(path, raw, where)) is not None:
            width, height = size
        if width is not None and height is not None:
            self.positions[key] = len(self.entries)
            own = own_id(raw["id"])
            self.entries.append(ImageEntry(name, path, width, height, own, sized))

    def _size_of(self, path: Path, raw: dict[str, Any], where: str) -> tuple[int, int] | None:
        try:
            header = self._header(path)
        except (ImageError, OSError) as error:
            given = f"{shown(raw.get('width'))} and {shown(raw.get('height'))}"
            reason = str(error) if str(path) in str(error) else f"{path}: {error}"
            message = f"{where}: expected width and height, got {given}, and no image: {reason}"
            self._leave_out("missing-size", message, raw)
            return None
        size = (header.width, header.height) if self._stored else header.size
        self._report.add(
            "derived-size",
            f"{where}: {size[0]} x {size[1]}, read from {path}",
            image=_file_name(raw),
        )
        return size

    def _repeated(self, key: Id, raw: dict[str, Any], where: str) -> None:
        """A second image of one id: a repetition, or a contradiction."""
        position = self.positions[key]
        name = _file_name(raw)
        if position >= 0:
            entry = self.entries[position]
            size = as_side(raw.get("width")), as_side(raw.get("height"))
            try:
                same = relative_path(name, self._folder)[0] == entry.name
            except PathError:
                same = False
            if same and (None in size or not entry.sized or size == (entry.width, entry.height)):
                self._report.add("repeated-image", f"{where}: listed twice", image=entry.name)
                self._report.totals["images"] -= 1
                return
        self._report.add(
            "contradicting-ids",
            f"{where}: another image has the same id, and this one is {shown(name)}",
            image=_file_name(raw),
        )

    def _leave_out(self, kind: str, message: str, raw: dict[str, Any]) -> None:
        self._report.add(kind, message, image=_file_name(raw), leave_out="images")


def _file_name(raw: dict[str, Any]) -> str | None:
    """``file_name``, or ``coco_url`` where that is missing or empty."""
    for key in ("file_name", "coco_url"):
        name = raw.get(key)
        if isinstance(name, str) and name.strip():
            return name
    return None


def read_images(annotation_file: str | Path) -> dict[str, tuple[Id, tuple[int, int] | None]]:
    """The images of a COCO JSON file, which needs no annotations.

    Returns
    -------
    dict of str to (int or str, (int, int) or None)
        By file name, the id as the file spells it, and width and height where the file has them.
        File names have slashes.

    Raises
    ------
    ValueError, FileNotFoundError
        As :class:`CocoDetection`; also if two images have the same file name.
    """
    path = Path(annotation_file)
    report = DataReport(str(path))
    images: dict[str, tuple[Id, tuple[int, int] | None]] = {}
    names: dict[Id, str] = {}
    for position, raw in enumerate(read_json(path, ("images",))["images"]):
        key, name = as_id(raw.get("id")), _file_name(raw)
        if key is None or name is None:
            message = f"image number {position}: expected id and file_name, got {shown(raw)}"
            report.add("bad-id", message)
            continue
        name = name.replace("\\", "/")
        if name in images and names.get(key) != name:
            other = shown(images[name][0])
            message = f"image {shown(key)}: image {other} has the same file_name {shown(name)}"
            report.add("duplicate-image", message)
        elif names.setdefault(key, name) != name:
            message = f"image {shown(key)}: another image has the same id"
            report.add("contradicting-ids", f"{message}, and this one is {shown(name)}")
        else:
            width, height = as_side(raw.get("width")), as_side(raw.get("height"))
            size = None if width is None or height is None else (width, height)
            images[name] = (own_id(raw["id"]), size)
    report.resolve("raise")
    return images
