"""Data of a classifier's training: splits, classes and checks."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from lucid.data import Subset
from lucid.data.report import DataReport
from lucid.text import pluralize
from lucid.vision import CheckedImage, check_images, find_duplicates
from lucid_models_classification.class_folders import (
    ClassFolders,
    find_splits,
    holds_class_folders,
    normalize_name,
    quoted,
    read_class_folders,
)
from lucid_models_classification.image_folder import ImageFolder, stratified_split

__all__ = ["SKIP_HINT", "ClassifierData", "check_folders", "fits_folders"]

_VAL_FRACTION = 0.2

Transform: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]

SKIP_HINT = "\nPass --skip-invalid (in Python skip_invalid=True) to leave these out."


@dataclass(frozen=True)
class ClassifierData:
    """Images to train and to validate on, and the report on them.

    Attributes
    ----------
    train : ImageFolder
        All usable images of the training folder, held-out ones included.
    val : ImageFolder
        The validation folder; ``train`` if a part is held out.
    held_out : tuple of (list of int, list of int) or None
        Indices into ``train`` to train and to validate on; None with a validation folder.
    report : lucid.data.report.DataReport
        Counts and findings.
    """

    train: ImageFolder
    val: ImageFolder
    held_out: tuple[list[int], list[int]] | None
    report: DataReport

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes in the order of their labels."""
        return self.train.class_names

    @property
    def counts(self) -> dict[str, int]:
        """Number of images per class in the training folder."""
        return _counts(self.train)

    @property
    def validation(self) -> str:
        """Source of the validation images: a folder, or ``"held out"``."""
        return str(self.val.root) if self.held_out is None else "held out"

    @property
    def reports(self) -> tuple[DataReport]:
        """The report, which both folders share."""
        return (self.report,)

    @property
    def summary(self) -> str:
        """Numbers of classes and images, and the source of the validation images."""
        held = self.held_out
        sizes = (len(self.train), len(self.val)) if held is None else tuple(map(len, held))
        return (
            f"{pluralize(len(self.class_names), 'class', 'classes')}, "
            f"{pluralize(sizes[0], 'image')} to train on, {sizes[1]} to validate on "
            f"({self.validation})"
        )

    @property
    def folders(self) -> dict[str, tuple[list[Path], Path]]:
        """Images and root folder, by the option that names the folder."""
        folders = {"data": self.train}
        if self.held_out is None:
            folders["val"] = self.val
        return {
            name: ([path for path, _ in folder.samples], folder.root)
            for name, folder in folders.items()
        }

    def datasets(self, augment: Transform, plain: Transform) -> tuple[Any, Any]:
        """Return the datasets to train and to validate on, with these transforms."""
        train, val = copy.copy(self.train), copy.copy(self.val)  # shares the lists of samples
        train.transform, val.transform = augment, plain
        if self.held_out is None:
            return train, val
        return Subset(train, self.held_out[0]), Subset(val, self.held_out[1])

    @classmethod
    def read(
        cls,
        data: str | os.PathLike[str],
        val: str | os.PathLike[str] | None = None,
        *,
        val_fraction: float = _VAL_FRACTION,
        seed: int = 0,
        skip_invalid: bool = False,
        check: bool = True,
    ) -> ClassifierData:
        """Find the images, check them, and reject unusable data.

        Parameters
        ----------
        data : path-like
            Folder with one folder per class, or with ``train/`` and ``val/`` folders of them.
        val : path-like, optional
            Folder to validate on.  Default: the ``val`` (or ``test``) folder in ``data``, else a
            held-out part of every class.
        val_fraction : float, default 0.2
            Fraction of each class that is held out.
        seed : int, default 0
            Seed of its random choice.
        skip_invalid : bool, default False
            Leave out unreadable images and empty classes instead of raising.
        check : bool, default True
            Open every image, see :func:`lucid.vision.check_images`.

        Returns
        -------
        ClassifierData

        Raises
        ------
        ValueError
            If the data cannot be trained on; lists up to ten problems.
        FileNotFoundError, NotADirectoryError
            If there is no such folder.
        """
        reader = _Reader(Path(data), check)
        found = reader.read(None if val is None else Path(val), val_fraction, seed)
        reader.report.resolve("skip" if skip_invalid else "raise", hint=SKIP_HINT)
        assert found is not None  # otherwise the report raised
        return found


def check_folders(data: Path, images: Path | None = None) -> DataReport:
    """Report on class folders for ``lucid check-data``; raise ``ValueError`` for ``--images``."""
    if images is not None:
        raise ValueError(f"{data}: expected no --images for class folders; leave it out")
    reader = _Reader(data, check=True)
    reader.read(None, _VAL_FRACTION, seed=0)
    return reader.report


def fits_folders(data: Path) -> int:
    """Return 1 if a path has folders with images, else 0."""
    return int(data.is_dir() and holds_class_folders(data))


class _Reader:
    """Reads the folders of a run into a report."""

    def __init__(self, data: Path, check: bool) -> None:
        self.data = data
        self.check = check
        self.report = DataReport(str(data), unit="images")
        self.checked: dict[Path, CheckedImage] = {}

    def read(self, val: Path | None, val_fraction: float, seed: int) -> ClassifierData | None:
        """Read the data; None if the report has a fatal finding."""
        report = self.report
        try:
            root, val_root = self._roots(val)
            folders = read_class_folders(root)
            val_folders = None if val_root is None else read_class_folders(val_root)
        except ValueError as error:
            report.add("layout", str(error))
            return None
        usable = self._usable(folders)
        if report.mostly_left_out():  # later findings would be consequences
            return None
        names = [name for name, images in usable.images.items() if images]
        if len(names) < 2:
            report.add("few-classes", _too_few(folders, names))
            return None
        for name in names:
            if not _is_text(name):
                report.add(
                    "class-name",
                    f"{folders.root}: expected folder names in UTF-8, got {os.fsencode(name)!r}; "
                    "rename the folder",
                )
        train = ImageFolder(usable, class_names=names)
        report.classes.update(_counts(train))
        self._note_similar(names)
        held_out, validated = None, train
        if val_folders is None:
            held_out = stratified_split(train.labels, val_fraction, seed)
            self._note_held_out(train, held_out[1])
        else:
            try:
                validated = ImageFolder(self._usable(val_folders), class_names=names)
            except ValueError as error:
                report.add("unknown-class", str(error))
                return None
            self._note_validation(train, validated)
        self._note_same(train, validated, held_out)
        headers = [c.header for c in self.checked.values() if c.header is not None]
        report.set_sizes(header.size for header in headers)
        return ClassifierData(train, validated, held_out, report)

    def _roots(self, val: Path | None) -> tuple[Path, Path | None]:
        splits = find_splits(self.data)
        if val is not None:
            val_splits = find_splits(val)
            if val_splits is not None:
                if val_splits.val is None:
                    raise ValueError(
                        f"{val}: expected a folder 'val' next to {val_splits.train.name!r}; pass "
                        "the validation folder as --val"
                    )
                val = val_splits.val
        if splits is None:
            return self.data, val
        for name in splits.unused:
            self.report.add("unused-folder", f"{self.data / name}")
        if val is not None and splits.val is not None and val.absolute() != splits.val.absolute():
            self.report.add("unused-folder", f"{splits.val}: overridden by --val {val}")
        if val is None and splits.validates_on_test:
            self.report.add(
                "test-folder",
                f"{splits.val}: used, since there is no val folder; pass another as --val to keep "
                "the test images for the final evaluation",
            )
        return splits.train, splits.val if val is None else val

    def _usable(self, folders: ClassFolders) -> ClassFolders:
        """Return the folders without unreadable images; report both."""
        report = self.report
        paths = [path for images in folders.images.values() for path in images]
        report.totals["images"] += len(paths)
        if self.check:
            self._open(paths, folders.root)
        usable: dict[str, list[Path]] = {}
        for name, images in folders.images.items():
            usable[name] = [path for path in images if not self._is_broken(path)]
            if not usable[name]:
                number = pluralize(len(images), "image")
                found = f"{number}, all unreadable" if images else "none"
                report.add(
                    "empty-class",
                    f"{folders.root / name}: expected images, found {found}; remove the folder if "
                    "it is not a class",
                )
        self._note_unused(folders)
        return ClassFolders(folders.root, usable)

    def _open(self, paths: Iterable[Path], root: Path) -> None:
        checked = check_images(paths, root)
        self.checked |= checked
        for path, result in checked.items():
            if result.header is None:
                kind = "missing-image" if result.missing else "unreadable-image"
                message = f"{path}: {result.problem}"
                self.report.add(kind, message, image=str(path), leave_out="images")
            elif result.header.orientation != 1:
                message = f"{path}: orientation {result.header.orientation}"
                self.report.add("turned", message, image=str(path))

    def _is_broken(self, path: Path) -> bool:
        result = self.checked.get(path)
        return result is not None and result.header is None

    def _note_unused(self, folders: ClassFolders) -> None:
        report, root = self.report, folders.root
        for name in folders.passed_over:
            if not name.startswith("."):
                report.add("unused-folder", f"{root / name}")
        for path in folders.beside:
            report.add("no-class", f"{path}", image=str(path))
        suffixes = folders.other_files.most_common()
        kinds = ", ".join(f"{number} {suffix}" for suffix, number in suffixes[:8])
        report.count("other-file", folders.other_files.total(), f"{root}: {kinds}")
        for name, number in folders.nested.items():
            report.count("nested", number, f"{root / name}: {number}, used for class {name!r}")

    def _note_similar(self, names: list[str]) -> None:
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(normalize_name(name), []).append(name)
        for group in groups.values():
            if len(group) > 1:
                self.report.add("similar-names", f"{quoted(group)}: merge them if they are one")

    def _note_held_out(self, train: ImageFolder, second: list[int]) -> None:
        report = self.report
        held = dict.fromkeys(train.class_names, 0)
        for index in second:
            held[train.class_names[train.labels[index]]] += 1
        report.columns["held out"] = held
        if not second:
            report.add(
                "no-validation",
                f"{self.data}: no class has two images to hold one out; pass --val",
            )
            return
        for name, number in held.items():
            if not number:
                report.add("single-image", f"class {name!r}")

    def _note_validation(self, train: ImageFolder, val: ImageFolder) -> None:
        report = self.report
        counts = report.columns["validation"] = _counts(val)
        for name, number in counts.items():
            if not number:
                report.add("unvalidated-class", f"{val.root}: no images of class {name!r}")
        for name, images in val.folders.images.items():
            if images and name not in counts:
                match = next(
                    n for n in train.class_names if normalize_name(n) == normalize_name(name)
                )
                report.add("renamed-class", f"{val.root / name}: used for class {match!r}")

    def _note_same(
        self,
        train: ImageFolder,
        val: ImageFolder,
        held_out: tuple[list[int], list[int]] | None,
    ) -> None:
        """Report equal images in two classes, or in training and validation."""
        labels = dict(train.samples) | dict(val.samples)
        first_part, second_part = held_out or (range(len(train)), range(len(val)))
        trained = {train.samples[index][0] for index in first_part}
        validated = {val.samples[index][0] for index in second_part}
        for path in trained & validated:
            self.report.add("leaked", f"{path}", image=str(path))
        for group in find_duplicates({p: c for p, c in self.checked.items() if p in labels}):
            first = group[0]
            for path in group[1:]:
                if labels[path] != labels[first]:
                    self.report.add("two-classes", f"{path} is the same image as {first}")
            seen = [path for path in group if path in trained]
            for path in group:
                if path in validated and path not in trained and seen:
                    self.report.add("leaked", f"{path} is the same image as {seen[0]}")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # surrogate escapes of other encodings
        return False
    return True


def _too_few(folders: ClassFolders, names: list[str]) -> str:
    found = f"only {names[0]!r}" if names else "none with a usable image"
    message = f"{folders.root}: expected the folders of at least two classes, found {found}"
    if len(names) == 1:
        inner = folders.root / names[0]
        parts = sorted(
            {
                path.relative_to(inner).parts[0]
                for path in folders.images[names[0]]
                if path.parent != inner
            }
        )
        if len(parts) > 1:
            return f"{message}, with the folders {quoted(parts)} in it; pass --data {inner}"
        return f"{message}; one class cannot be classified"
    return message


def _counts(dataset: ImageFolder) -> dict[str, int]:
    counts = dict.fromkeys(dataset.class_names, 0)
    for label in dataset.labels:
        counts[dataset.class_names[label]] += 1
    return counts
