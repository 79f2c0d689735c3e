"""What transforms refuse, by the name of the argument."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lucid
from lucid.vision.arguments import as_image, as_size, numpy_generator
from lucid.vision.transforms import (
    CenterCrop,
    Compose,
    Normalize,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    build_transform,
    preprocessing,
)

IMAGE = np.zeros((3, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (Image.new("RGB", (6, 4)), r"got shape \(4, 6, 3\); .*to_array"),
        ("cat.png", "got str; .*read_image reads a file"),
        (Path("cat.png"), "got PosixPath; .*read_image reads a file"),
        (np.zeros((4, 6, 3)), r"got shape \(4, 6, 3\); .*transpose\(2, 0, 1\)"),
        (np.zeros((4, 6)), r"got shape \(4, 6\); .*np\.repeat\(image\[None\], 3, axis=0\)"),
        (np.zeros((4, 6, 7)), r"got shape \(4, 6, 7\); .*image\[:3\]"),
        (np.zeros((1, 3, 6, 7)), r"got shape \(1, 3, 6, 7\)$"),
        (np.zeros((3, 0, 7)), r"got shape \(3, 0, 7\)$"),
    ],
)
def test_image_of_another_form_is_rejected_with_the_conversion(image: object, text: str) -> None:
    for transform in (as_image, Resize(4), CenterCrop(4)):
        with pytest.raises(ValueError, match=text):
            transform(image)


def test_tensor_is_an_image() -> None:
    assert Resize(4)(lucid.zeros((3, 8, 8))).shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(4, 4), (np.int64(4), 4), ((4, 6), (4, 6)), ([4, np.int32(6)], (4, 6))],
)
def test_sizes_become_python_integers(size: object, expected: object) -> None:
    assert as_size(size) == expected
    assert json.loads(json.dumps(as_size(size))) == json.loads(json.dumps(expected))


@pytest.mark.parametrize("size", [0, -1, 4.0, True, "4", None, (4,), [4, 0], (4, 4, 4), (4, True)])
def test_other_sizes_are_rejected(size: object) -> None:
    with pytest.raises(ValueError, match="size: expected a positive integer or a tuple of two"):
        as_size(size)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Compose(None), "transforms: .* got None"),
        (lambda: Compose(Resize(4)), r"transforms: .* got Resize\(size=4"),
        (lambda: Compose([Resize(4), 3]), "transforms: .*, 3]"),
        (lambda: build_transform(None), "preprocessing: expected a mapping, got NoneType"),
        (lambda: numpy_generator(3), "generator: .* got 3; "),
        (
            lambda: RandomHorizontalFlip(generator=np.random.default_rng(0))(IMAGE),
            r"generator: expected a lucid\.random\.Generator, got Generator\(PCG64\)",
        ),
    ],
)
def test_other_types_are_rejected(make: Callable[[], object], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        make()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: RandomHorizontalFlip("a"), r"p: expected a number in \[0, 1\], got 'a'"),
        (lambda: RandomHorizontalFlip(float("nan")), r"p: .* got nan"),
        (lambda: RandomResizedCrop(4, scale=0.5), "scale: expected two numbers.* got 0.5"),
        (lambda: RandomResizedCrop(4, scale=(0.1, 0.2, 0.3)), "scale: expected two numbers"),
        (lambda: RandomResizedCrop(4, ratio=("a", "b")), "ratio: expected two numbers"),
        (lambda: RandomResizedCrop(4, ratio=(2, 1)), "ratio: expected 0 < low <= high"),
        (lambda: Normalize(0.5, 0.5), "mean: expected one finite number per channel, got 0.5"),
        (lambda: Normalize([0.5], "a"), "std: expected one finite number per channel, got 'a'"),
        (lambda: Normalize([np.nan], [1.0]), "mean: expected one finite number per channel"),
        (lambda: preprocessing(mean=0.5, std=0.5), "mean: .* got 0.5"),
        (lambda: preprocessing(mean="abc"), "mean: .* got 'abc'"),
        (lambda: preprocessing(resize_size="a"), "size: .* got 'a'"),
    ],
)
def test_other_numbers_are_rejected(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_description_with_height_and_width_from_json() -> None:
    description = preprocessing(resize_size=(8, 6), crop_size=np.int64(4))
    transform = build_transform(json.loads(json.dumps(description)))
    assert transform(np.zeros((3, 20, 30), np.float32)).shape == (3, 4, 4)
    assert Resize((8, 6)) in transform.transforms
