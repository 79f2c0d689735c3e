"""Files of a Pascal VOC dataset: XML files, image sets, and the image of each."""

from __future__ import annotations

import codecs
import os
import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path, PurePosixPath

from lucid.data.report import DataReport
from lucid.text import decode_text, kind_of_binary, read_text
from lucid.vision import image_suffixes
from lucid_models_detection.data.field_parsing import brief
from lucid_models_detection.data.image_paths import PathError, is_absolute, is_file, relative_path

__all__ = [
    "IMAGE_FOLDERS",
    "ImageFinder",
    "annotation_files",
    "is_annotation",
    "parse",
    "voc_folders",
]

_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: Multibyte encodings that expat does not support; all are supersets of ASCII.
_MULTIBYTE = {"gbk", "gb2312", "gb18030", "big5", "shift_jis", "shift-jis", "euc-jp", "euc-kr"}
_DECLARED = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_FLAGS = ("1", "0", "-1")
#: Image folders to look for beside the annotations; the first that exists is used.
IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "imgs", "img")


def voc_folders(data: Path) -> tuple[Path, Path]:
    """Return the annotation and image folders of a VOC dataset.

    ``data`` has the XML files or a folder ``Annotations``.  The image folder is the first of
    :data:`IMAGE_FOLDERS` beside the annotations, else the annotation folder.
    """
    folder = data / "Annotations" if (data / "Annotations").is_dir() else data
    candidates = (parent / name for parent in (data, folder.parent) for name in IMAGE_FOLDERS)
    return folder, next((path for path in candidates if path.is_dir()), folder)


def annotation_files(folder: Path, image_set: Path | None, report: DataReport) -> list[Path]:
    """Return the XML files of a folder and its subfolders, or those of an image set.

    An image set has one image name per line, without suffix; flags (1, 0 or -1), as in the image
    set of a class, are ignored.  Names without an XML file are reported.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such directory")
    if image_set is None:
        found = sorted(path for path in folder.rglob("*") if is_annotation(path, folder))
        if not found:
            raise ValueError(f"{folder}: expected VOC annotations (*.xml), got none")
        return found
    lines = [line.strip() for line in read_text(image_set).splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{image_set}: expected one image name per line, got an empty file")
    flagged = all(len(line.split()) > 1 and line.split()[-1] in _FLAGS for line in lines)
    files: dict[Path, None] = {}
    for line in lines:
        whole = _xml(folder, _stem(line))
        short = _xml(folder, _stem(line.rsplit(None, 1)[0])) if flagged else whole
        if short != whole and is_file(short) and is_file(whole):
            raise ValueError(
                f"{image_set}: line {line!r} fits {short.name} and {whole.name}; rename one of them"
            )
        path = whole if is_file(whole) else short
        if path in files:
            report.add("repeated-image", f"{image_set}: {line!r}: listed twice", image=line)
        elif is_file(path):
            files[path] = None
        else:
            report.totals["images"] += 1
            message = f"{image_set}: {line!r}: no annotation {path.name} in {folder}"
            report.add("missing-annotation", message, image=line, leave_out="images")
    return list(files)


def _xml(folder: Path, stem: str) -> Path:
    """Return the XML file of a name; the suffix may be uppercase."""
    capitals = folder / f"{stem}.XML"
    path = folder / f"{stem}.xml"
    return capitals if is_file(capitals) and not is_file(path) else path


def is_annotation(path: Path, folder: Path) -> bool:
    """Return whether a path is an XML file, excluding hidden files as macOS creates."""
    if path.suffix.lower() != ".xml" or path.is_dir():
        return False
    parts = path.relative_to(folder).parts
    return not any(part.startswith(".") or part == "__MACOSX" for part in parts)


@cache
def _suffixes() -> frozenset[str]:
    return frozenset(image_suffixes())


def _stem(name: str) -> str:
    """Remove the suffix of an image or annotation."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in _suffixes() or suffix.lower() == ".xml" else name


def parse(path: Path) -> ET.Element:
    """Return the root element of a VOC file."""
    content = path.read_bytes()
    if (kind := kind_of_binary(content)) is not None:
        raise ValueError(f"{path}: expected an XML file, got {kind}")
    try:
        declared = _DECLARED.match(content[:200].lstrip())
        text: bytes | str = content
        if content.startswith(_BOMS):
            text = decode_text(content, "byte-order mark")
        elif declared and (name := declared[1].decode().lower()) in _MULTIBYTE:
            text = decode_text(content, "declared encoding", name)
        parser = ET.XMLParser(target=_Builder())
        parser.feed(text.lstrip())
        root: ET.Element = parser.close()
    except (ET.ParseError, LookupError, ValueError) as error:  # the latter two: encodings
        hint = ""
        if "not well-formed" in str(error) and not _is_utf8(content):
            hint = "; its bytes are not UTF-8: save it as UTF-8, or declare its encoding"
        raise ValueError(f"{path}: not a supported XML file: {error}{hint}") from None
    if root.tag != "annotation":
        raise ValueError(f"{path}: expected a VOC <annotation>, got <{root.tag}>")
    return root


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Builder(ET.TreeBuilder):
    """Reject document types, whose entities can expand without bound; drop namespaces."""

    def start(self, tag: str, attributes: dict[str, str], /) -> ET.Element:
        return super().start(tag.rpartition("}")[2], attributes)

    def end(self, tag: str, /) -> ET.Element:
        return super().end(tag.rpartition("}")[2])

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("expected no document type declaration")


class ImageFinder:
    """Find the image of each annotation file, given the annotation and image folders."""

    def __init__(self, annotations: Path, images: Path) -> None:
        self._annotations, self._images = annotations, images
        self._stems: dict[str, dict[str, list[str]]] = {}

    def find(self, path: Path, filename: str) -> tuple[str, bool]:
        """Return the path of an image relative to the image folder, and whether it was renamed.

        A ``<filename>`` with a folder is searched in that folder only.  A plain one is searched
        in the image folder and, for an annotation in a subfolder, in the same subfolder; with
        another image suffix if its own does not exist; then under the name of the annotation.
        """
        own = PurePosixPath(path.relative_to(self._annotations).as_posix())
        mirror = "" if str(own.parent) == "." else f"{own.parent}/"
        if not filename:
            found = self._with_stem(own.stem, mirror)
            if found is None:
                raise FileNotFoundError(f"{path}: no image {own.stem}.* in {self._images}")
            return found, False
        try:
            name, moved = relative_path(filename, self._images)
        except PathError as error:
            if error.ambiguous or not is_absolute(filename):
                raise
            name, moved = re.split(r"[\\/]", filename)[-1], True  # renamed after it was annotated
        if is_file(self._images / name):
            beside = f"{mirror}{name}"
            if not mirror or "/" in name or not is_file(self._images / beside):
                return name, moved
            if is_file(self._annotations / f"{_stem(name)}.xml"):
                return beside, False  # the other image has its own annotation
            raise PathError(f"several images fit: {name}, {beside}", ambiguous=True)
        if "/" not in name:
            if mirror and is_file(self._images / f"{mirror}{name}"):
                return f"{mirror}{name}", False
            for stem in (_stem(name), own.stem):
                if (found := self._with_stem(stem, mirror)) is not None:
                    return found, True
        else:
            given = PurePosixPath(name)
            found = self._with_stem(_stem(given.name), f"{given.parent}/", exact_folder=True)
            if found is not None:
                return found, True
        raise FileNotFoundError(f"{path}: no image {brief(name)} in {self._images}")

    def _with_stem(self, stem: str, mirror: str, exact_folder: bool = False) -> str | None:
        """Find an image by its stem, in the subfolder or else in the image folder."""
        for folder in dict.fromkeys((mirror,) if exact_folder else (mirror, "")):
            found = self._list_stems(folder).get(stem, [])
            if len(found) > 1:
                names = ", ".join(f"{folder}{name}" for name in found)
                raise PathError(f"several images fit: {names}", ambiguous=True)
            if found:
                return f"{folder}{found[0]}"
        return None

    def _list_stems(self, folder: str) -> dict[str, list[str]]:
        """Return the image names of a folder by stem."""
        if folder not in self._stems:
            stems: dict[str, list[str]] = {}
            try:
                names = sorted(os.listdir(self._images / folder))
            except OSError:
                names = []
            for name in names:
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in _suffixes():
                    stems.setdefault(stem, []).append(name)
            self._stems[folder] = stems
        return self._stems[folder]
