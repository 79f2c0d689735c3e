"""Images in a folder for each class, the plainest form of a dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lucid.data import Dataset
from lucid_models_classification.images import Array, read_image
from lucid_models_classification.suffixes import image_suffixes

__all__ = ["ImageFolder", "split_by_class"]


class ImageFolder(Dataset[tuple[Any, int]]):
    """Images in one folder for each class, the folder's name being that of the class.

    ::

        root/cat/1.jpg
        root/cat/more/2.png
        root/dog/3.webp

    A sample is ``(image, label)``: the image a (3, H, W) float32 array in [0, 1], or what
    ``transform`` makes of it, the label the number of its class.

    Parameters
    ----------
    root : path-like
        The folder of folders.  Files and folders whose names begin with a dot are passed
        over, as are files without the suffix of an image format that Pillow reads.
    transform : callable, optional
        From array to array; see :mod:`lucid_models_classification.transforms`.
    class_names : sequence of str, optional
        The classes in order, for data that are to agree with other data; a class may have
        no folder then.  Default: the names of the folders, sorted.

    Attributes
    ----------
    class_names : tuple of str
        The name of each class.
    samples : list of (pathlib.Path, int)
        The images and their classes, sorted by class and path.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    ValueError
        If it has no folders, a class has no images, or a folder is none of
        ``class_names``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from lucid_models_classification import ImageFolder
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("dog", "cat"):
    ...     (root / name).mkdir()
    ...     Image.new("RGB", (8, 6)).save(root / name / "1.png")
    >>> dataset = ImageFolder(root)
    >>> dataset.class_names
    ('cat', 'dog')
    >>> image, label = dataset[1]
    >>> image.shape, label
    ((3, 6, 8), 1)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Array], Array] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.root = Path(root)
        self.transform = transform
        folders = sorted(
            entry.name
            for entry in self.root.iterdir()
            if entry.is_dir() and not entry.name.startswith(".")
        )
        if not folders:
            raise ValueError(f"{self.root}: expected a folder for each class in it, found none")
        if class_names is None:
            self.class_names = tuple(folders)
        else:
            self.class_names = tuple(class_names)
            if unknown := sorted(set(folders) - set(self.class_names)):
                raise ValueError(
                    f"{self.root}: expected folders named after the classes "
                    f"{_listed(self.class_names)}, found {_listed(unknown)} as well"
                )
        present = set(folders)
        self.samples: list[tuple[Path, int]] = []
        for label, name in enumerate(self.class_names):
            images = _images(self.root / name) if name in present else []
            if not images and class_names is None:
                raise ValueError(
                    f"{self.root / name}: expected at least one image of this class, found no "
                    "file with the suffix of an image format"
                )
            self.samples += [(path, label) for path in images]
        if not self.samples:
            raise ValueError(f"{self.root}: expected images, found none")

    @property
    def labels(self) -> list[int]:
        """The class of each sample, without reading the images."""
        return [label for _, label in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Array, int]:
        path, label = self.samples[index]
        image = read_image(path)
        return (image if self.transform is None else self.transform(image)), label


def split_by_class(
    labels: Sequence[int], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Part numbers of samples at random so that every class is in both parts.

    Parameters
    ----------
    labels : sequence of int
        The class of each sample.
    fraction : float
        Share of each class in the second part, rounded; but at least one sample, and one
        left over.  The only sample of a class stays in the first.
    seed : int
        Equal seeds part equal labels equally.

    Returns
    -------
    first, second : list of int
        Sorted.

    Raises
    ------
    ValueError
        If ``fraction`` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"expected a fraction between 0 and 1, got {fraction}")
    rng = np.random.default_rng(seed)
    classes = np.asarray(labels)
    second: list[int] = []
    for label in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == label))
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        second += members[:count].tolist()
    first = sorted(set(range(len(classes))) - set(second))
    return first, sorted(second)


def _images(folder: Path) -> list[Path]:
    found = []
    suffixes = image_suffixes()
    for directory, names, files in os.walk(folder):
        names[:] = [name for name in names if not name.startswith(".")]
        found += [
            Path(directory, name)
            for name in files
            if name.lower().endswith(suffixes) and not name.startswith(".")
        ]
    return sorted(found)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
