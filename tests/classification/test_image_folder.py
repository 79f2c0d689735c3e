from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lucid.data import DataLoader
from lucid.vision import ImageError
from lucid.vision.transforms import Compose, Resize
from lucid_models_classification import ImageFolder
from lucid_models_classification.image_folder import stratified_split


def draw(path: Path, color: tuple[int, int, int] = (255, 0, 0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), color).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for name in ("dog/2.png", "dog/10.JPG", "cat/more/1.webp", "cat/1.png", ".git/1.png"):
        draw(root / name)
    (root / "cat" / "notes.txt").write_text("no image")
    draw(root / "cat" / ".hidden.png")
    draw(root / "cat" / ".thumbnails" / "1.png")
    draw(root / "cover.png")
    (root / "Ärzte").mkdir()
    draw(root / "Ärzte" / "1.png", (0, 0, 255))
    return root


def test_folders_are_classes_and_files_are_samples(root: Path) -> None:
    dataset = ImageFolder(root)
    assert dataset.class_names == ("cat", "dog", "Ärzte")
    names = [(str(path.relative_to(root)), label) for path, label in dataset.samples]
    assert names == [
        ("cat/1.png", 0),
        ("cat/more/1.webp", 0),
        ("dog/10.JPG", 1),
        ("dog/2.png", 1),
        ("Ärzte/1.png", 2),
    ]
    assert dataset.labels == [0, 0, 1, 1, 2]
    assert len(dataset) == 5
    image, label = dataset[-1]
    assert (image.shape, image.dtype, label) == ((3, 4, 6), np.float32, 2)
    np.testing.assert_array_equal(image[:, 0, 0], [0, 0, 1])
    with pytest.raises(IndexError):
        dataset[5]


def test_batches_of_transformed_images(root: Path) -> None:
    dataset = ImageFolder(str(root), Compose([Resize((2, 2))]))
    images, labels = next(iter(DataLoader(pickle.loads(pickle.dumps(dataset)), 4)))
    assert images.shape == (4, 3, 2, 2)
    assert labels.tolist() == [0, 0, 1, 1]


def test_classes_of_other_data(root: Path) -> None:
    dataset = ImageFolder(root, class_names=("Ärzte", "dog", "fox", "cat"))
    assert dataset.labels == [0, 1, 1, 3, 3]
    with pytest.raises(ValueError, match=r"classes 'dog', 'fox', got 'cat', 'Ärzte'"):
        ImageFolder(root, class_names=("dog", "fox"))


def test_invalid_roots_are_rejected(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        ImageFolder(tmp_path / "absent")
    with pytest.raises(NotADirectoryError):
        ImageFolder(root / "cover.png")
    with pytest.raises(ValueError, match=r"found no folder but 2 images"):
        ImageFolder(root / "dog")
    (root / "empty").mkdir()
    with pytest.raises(ValueError, match=r"at least one image .* 'empty'"):
        ImageFolder(root)
    (tmp_path / "val" / "dog").mkdir(parents=True)
    with pytest.raises(ValueError, match="val: expected images, found none"):
        ImageFolder(tmp_path / "val", class_names=("dog",))


def test_corrupt_image_is_named(root: Path) -> None:
    (root / "cat" / "1.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ImageError, match=r"cat.1\.png"):
        ImageFolder(root)[0]


def test_splitting_takes_a_share_of_every_class() -> None:
    labels = [0] * 10 + [1] * 4 + [2] * 2 + [3]
    first, second = stratified_split(labels, 0.3, seed=0)
    assert sorted(first + second) == list(range(17))
    # round(3), round(1.2), at least one of two, and the only one stays.
    assert [sum(labels[i] == c for i in second) for c in range(4)] == [3, 1, 1, 0]
    assert (first, second) == stratified_split(labels, 0.3, seed=0)
    assert (first, second) != stratified_split(labels, 0.3, seed=1)
    assert stratified_split([0, 0], 0.99, seed=0)[0]
    for fraction in (0, 1, -0.5, 2):
        with pytest.raises(ValueError, match="between 0 and 1"):
            stratified_split(labels, fraction, seed=0)
