"""Dataset of images in one folder per class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucid.data import Dataset
from lucid.vision import read_image
from lucid_models_classification.class_folders import (
    ClassFolders,
    match_classes,
    quoted,
    read_class_folders,
)

__all__ = ["ImageFolder", "stratified_split"]


class ImageFolder(Dataset[tuple[Any, int]]):
    """Images in one folder per class; folder names are class names.

    ::

        root/cat/1.jpg
        root/cat/more/2.png
        root/dog/3.webp

    A sample is ``(image, label)``: a (3, H, W) float32 array in [0, 1], or the result of
    ``transform``, and the class index.

    Parameters
    ----------
    root : path-like or ClassFolders
        Folder with one folder per class, or its content.  Subfolders belong to the class, links to
        folders are followed.  Hidden files and folders are ignored, as are files without an image
        suffix of Pillow.
    transform : callable, optional
        From array to array; see :mod:`lucid.vision.transforms`.
    class_names : sequence of str, optional
        Classes in order.  A class may then have no folder, and folder names may differ in case.
        Default: the folder names, sorted as text ("10" before "2").

    Attributes
    ----------
    class_names : tuple of str
        Name of each class.
    samples : list of (pathlib.Path, int)
        Images and class indices, sorted by class and path.
    folders : ClassFolders
        Content of ``root``, other files included.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    ValueError
        If ``root`` has no folders or has splits, a class has no images, or a folder is not in
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
        root: str | os.PathLike[str] | ClassFolders,
        transform: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.folders = root if isinstance(root, ClassFolders) else read_class_folders(root)
        self.root = self.folders.root
        self.transform = transform
        images = self.folders.images
        if class_names is None:
            if empty := [name for name, found in images.items() if not found]:
                raise ValueError(
                    f"{self.root}: expected at least one image per class folder, found none in "
                    f"{quoted(empty)}; remove folders that are not classes"
                )
            self.class_names = tuple(images)
        else:
            self.class_names = tuple(class_names)
        filled = [name for name, found in images.items() if found]
        labels = match_classes(filled, self.class_names, self.root)
        self.samples: list[tuple[Path, int]] = sorted(
            ((path, labels[name]) for name in filled for path in images[name]),
            key=lambda sample: (sample[1], sample[0]),
        )
        if not self.samples:
            raise ValueError(f"{self.root}: expected images, found none")

    @property
    def labels(self) -> list[int]:
        """Class index of each sample."""
        return [label for _, label in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], int]:
        path, label = self.samples[index]
        image = read_image(path)
        return (image if self.transform is None else self.transform(image)), label


def stratified_split(
    labels: Sequence[int], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Split sample indices at random so that every class is in both parts.

    Parameters
    ----------
    labels : sequence of int
        Class of each sample.
    fraction : float
        Fraction of each class in the second part, rounded, with at least one sample in either part.
        The only sample of a class stays in the first.
    seed : int
        Seed of the random split.

    Returns
    -------
    first, second : list of int
        Sorted indices.

    Raises
    ------
    ValueError
        If ``fraction`` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: expected a number between 0 and 1, got {fraction}")
    rng = np.random.default_rng(seed)
    classes = np.asarray(labels)
    second: list[int] = []
    for label in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == label))
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        second += members[:count].tolist()
    first = sorted(set(range(len(classes))) - set(second))
    return first, sorted(second)
