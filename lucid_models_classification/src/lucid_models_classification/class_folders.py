"""Class folders: one folder of images per class, optionally inside ``train/`` and ``val/``."""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lucid.data.layout_hints import layout_hint
from lucid.text import pluralize
from lucid.vision import image_suffixes

__all__ = [
    "ClassFolders",
    "Splits",
    "find_splits",
    "match_classes",
    "read_class_folders",
]

#: Folder names of splits.
_ROLES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
#: Further names of splits, such as ``training_set`` and ``seg_test``.  They may be classes, so they
#: count only if every folder with images has such a name.
_LOOSE_ROLE = re.compile(
    r"(?:[a-z0-9]+[ _-])?(train|val|dev|eval|test)(?:ing|id|idation|uation)?"
    r"(?:[ _-]?(?:set|data|images?|imgs|split))?[ _-]?\d*"
)
#: Folders that operating systems and network drives add, in lower case.
_SYSTEM_FOLDERS = {
    "$recycle.bin",
    "@eadir",
    "__macosx",
    "__pycache__",
    "lost+found",
    "system volume information",
}
_LISTED = 8


@dataclass(frozen=True)
class ClassFolders:
    """Content of a folder with one folder per class.

    Attributes
    ----------
    root : pathlib.Path
        The folder.
    images : dict of str to list of pathlib.Path
        Sorted images by class, classes sorted as text ("10" before "2"); empty for a class folder
        without images.
    nested : dict of str to int
        Number of images in subfolders of a class folder, if any.
    beside : list of pathlib.Path
        Images next to the class folders, of no class.
    other_files : collections.Counter of str
        Number of other files by suffix, without hidden ones.
    passed_over : list of str
        Names of ignored folders: hidden and system folders.
    """

    root: Path
    images: dict[str, list[Path]]
    nested: dict[str, int] = field(default_factory=dict)
    beside: list[Path] = field(default_factory=list)
    other_files: Counter[str] = field(default_factory=Counter)
    passed_over: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Splits:
    """Training and validation folders in a data folder.

    Attributes
    ----------
    train : pathlib.Path
        Class folders to train on.
    val : pathlib.Path or None
        Class folders to validate on: the ``val`` folder, else the ``test`` folder.
    unused : tuple of str
        Names of the other folders.
    validates_on_test : bool
        Whether ``val`` is a ``test`` folder.
    """

    train: Path
    val: Path | None
    unused: tuple[str, ...] = ()
    validates_on_test: bool = False


def read_class_folders(root: str | os.PathLike[str]) -> ClassFolders:
    """Find the images of each class folder.

    Subfolders of a class folder belong to the class.  Links to folders are followed, each folder
    once per class.  Hidden files and folders are ignored.

    Parameters
    ----------
    root : path-like
        Folder with one folder per class.

    Returns
    -------
    ClassFolders

    Raises
    ------
    FileNotFoundError, NotADirectoryError, PermissionError
        If ``root`` or a folder in it cannot be read.
    ValueError
        If ``root`` has no folder, or has splits.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from lucid_models_classification.class_folders import read_class_folders
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("cat/1.png", "cat/more/2.png", "dog/1.jpg", "dog/notes.txt"):
    ...     (root / name).parent.mkdir(parents=True, exist_ok=True)
    ...     (root / name).touch()
    >>> found = read_class_folders(root)
    >>> {name: len(images) for name, images in found.images.items()}
    {'cat': 2, 'dog': 1}
    >>> found.nested, dict(found.other_files)
    ({'cat': 1}, {'.txt': 1})
    """
    root = Path(root)
    splits = find_splits(root)
    if splits is not None:
        raise ValueError(
            f"{root}: expected one folder per class, got the splits "
            f"{quoted(sorted(_class_candidates(root)))}; give the folder of one split, such as "
            f"{splits.train}"
        )
    found = ClassFolders(root, {})
    above = {_key(folder) for folder in (root.absolute(), *root.absolute().parents)}
    for entry in _entries(root):
        if _is(entry.is_dir):
            if _is_class_candidate(entry.name):
                _read_class(entry.path, found, above)
            else:
                found.passed_over.append(entry.name)
        elif is_image(entry):
            found.beside.append(Path(entry.path))
        elif not entry.name.startswith("."):
            found.other_files[_suffix(entry.name)] += 1
    if not found.images:
        number = len(found.beside)
        hint = f" but {pluralize(number, 'image')}" if number else ""
        raise ValueError(f"{root}: expected one folder per class, found no folder{hint}")
    return found


def find_splits(root: str | os.PathLike[str]) -> Splits | None:
    """Find ``train/`` and ``val/`` folders with one folder per class.

    ``training``, ``valid``, ``validation``, ``test`` and ``testing`` are recognized too, in any
    case; names such as ``training_set`` and ``dev`` if all folders with images have one.  A class
    may have such a name if its folder has images and no folders.

    Parameters
    ----------
    root : path-like
        The data folder.

    Returns
    -------
    Splits or None
        None if the folders in ``root`` are classes.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    ValueError
        If ``root`` is a detection data set, mixes splits and classes, has a split twice or no
        training folder, or the splits have images but no class folders.
    """
    root = Path(root)
    names = _class_candidates(root)
    if hint := layout_hint(root):
        raise ValueError(f"{root}: expected one folder of images per class; {hint}")
    by_role = _by_role(root, names)
    split_names = [name for found in by_role.values() for name in found]
    others = [name for name in names if name not in split_names]
    if not any(_class_candidates(root / name) for name in split_names):
        if split_names and not others and len(split_names) > 1:
            raise ValueError(
                f"{root}: expected one folder per class in {quoted(split_names)}, found "
                f"images only; move them into folders named after their classes, such as "
                f"{root / split_names[0] / 'cat'}"
            )
        return None
    if mixed := [name for name in others if _holds_images(root / name)]:
        raise ValueError(
            f"{root}: expected either class folders or splits with class folders, found the "
            f"splits {quoted(split_names)} beside {quoted(mixed)}; give the folder of one split "
            f"({root / split_names[0]}), or rename the folder of a class with such a name"
        )
    for role, found in by_role.items():
        if len(found) > 1:
            raise ValueError(
                f"{root}: expected one {role} folder, found {quoted(found)}; merge them, or pass "
                "--data and --val"
            )
    if "train" not in by_role:
        raise ValueError(
            f"{root}: expected a folder 'train' beside {quoted(split_names)}; rename the folder "
            f"to train on, or pass it as --data {root / split_names[0]}"
        )
    val = by_role.get("val") or by_role.get("test")
    used = {by_role["train"][0], *(val or ())}
    return Splits(
        root / by_role["train"][0],
        root / val[0] if val else None,
        tuple(name for name in names if name not in used),
        validates_on_test="val" not in by_role and "test" in by_role,
    )


def _by_role(root: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Names of the folders of each split."""
    loose = [_LOOSE_ROLE.fullmatch(name.lower()) for name in names]
    parts = [match and {"dev": "val", "eval": "val"}.get(match[1], match[1]) for match in loose]
    distinct = {part for part in parts if part is not None}
    others = (name for name, part in zip(names, parts, strict=True) if part is None)
    if (
        "train" not in distinct
        or len(distinct) < 2
        or any(_holds_images(root / name) for name in others)
    ):
        parts = [_ROLES.get(name.lower()) for name in names]
    found: dict[str, list[str]] = {}
    for name, role in zip(names, parts, strict=True):
        if role is not None:
            found.setdefault(role, []).append(name)
    return found


def holds_class_folders(root: Path) -> bool:
    """Whether a folder in ``root`` has images, directly or deeper."""
    return any(_holds_images(root / name) for name in _class_candidates(root))


def match_classes(
    folders: Sequence[str], class_names: Sequence[str], root: str | os.PathLike[str]
) -> dict[str, int]:
    """Return the class index of each folder name.

    Case, surrounding spaces and Unicode form are ignored if only one class matches.

    Parameters
    ----------
    folders : sequence of str
        Folder names.
    class_names : sequence of str
        Class names.
    root : path-like
        Parent of the folders, for the error.

    Returns
    -------
    dict of str to int
        Class index by folder name.

    Raises
    ------
    ValueError
        If a folder matches no class; names it.
    """
    exact = {name: index for index, name in enumerate(class_names)}
    similar: dict[str, list[int]] = {}
    for index, name in enumerate(class_names):
        similar.setdefault(normalize_name(name), []).append(index)
    found: dict[str, int] = {}
    unknown: list[str] = []
    for name in folders:
        near = similar.get(normalize_name(name), [])
        if name in exact:
            found[name] = exact[name]
        elif len(near) == 1:
            found[name] = near[0]
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(
            f"{root}: expected folders named after the classes {quoted(class_names)}, got "
            f"{quoted(unknown)} as well; rename or remove them, or train on these classes too"
        )
    return found


def normalize_name(name: str) -> str:
    """Normalize Unicode form, surrounding spaces and case."""
    return unicodedata.normalize("NFC", name).strip().casefold()


def quoted(names: Sequence[str]) -> str:
    """Quote names for a message, at most eight of them."""
    shown = ", ".join(map(repr, names[:_LISTED]))
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


def is_image(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is read as an image; so is a broken link with an image suffix."""
    if entry.name.startswith(".") or not entry.name.lower().endswith(_suffixes()):
        return False
    return _is(entry.is_file) or (entry.is_symlink() and not os.path.exists(entry.path))


def _is(kind: Callable[[], bool]) -> bool:
    """Call ``is_dir`` or ``is_file`` of an entry; False for a link to itself."""
    try:
        return kind()
    except OSError:
        return False


def _read_class(folder: str, found: ClassFolders, above: set[tuple[int, int]]) -> None:
    name = os.path.basename(folder)
    images: list[Path] = []
    for entry in _files(folder, set(above)):
        if is_image(entry):
            images.append(Path(entry.path))
        elif not entry.name.startswith("."):
            found.other_files[_suffix(entry.name)] += 1
    found.images[name] = sorted(images)
    direct = Path(folder)
    if nested := sum(image.parent != direct for image in images):
        found.nested[name] = nested


def _files(folder: str, seen: set[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
    """Yield all files below a folder; a folder with several links is read once."""
    key = _key(folder)
    if key in seen:
        return
    seen.add(key)
    for entry in _entries(folder):
        if not _is(entry.is_dir):
            yield entry
        elif _is_class_candidate(entry.name):
            yield from _files(entry.path, seen)


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    with os.scandir(os.fspath(folder)) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _class_candidates(folder: Path) -> list[str]:
    return [e.name for e in _entries(folder) if _is(e.is_dir) and _is_class_candidate(e.name)]


def _is_class_candidate(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _SYSTEM_FOLDERS


def _holds_images(folder: Path) -> bool:
    return any(is_image(entry) for entry in _files(str(folder), set()))


def _key(folder: str | os.PathLike[str]) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


@functools.cache
def _suffixes() -> tuple[str, ...]:
    return image_suffixes()


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower() or "(no suffix)"
