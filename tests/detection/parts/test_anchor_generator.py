from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid_models_detection.faster_rcnn import FasterRCNNConfig
from lucid_models_detection.parts.anchor_generator import AnchorGenerator


def test_cells_by_hand() -> None:
    generator = AnchorGenerator([(32, 64)], [(0.5, 1.0, 2.0)])
    # Ratio 0.5: 32 * sqrt(2) = 45.25 wide, 22.63 high; halves 22.63 and 11.31, rounded.
    expected = [
        [-23, -11, 23, 11],
        [-45, -23, 45, 23],
        [-16, -16, 16, 16],
        [-32, -32, 32, 32],
        [-11, -23, 11, 23],
        [-23, -45, 23, 45],
    ]
    np.testing.assert_array_equal(generator.cell_anchors[0], expected)
    assert generator.num_anchors_per_location == 6


def test_corners_round_half_to_even() -> None:
    # Half of 5 is 2.5, half of 7 is 3.5.
    cell = AnchorGenerator([(5, 7)], [(1.0,)]).cell_anchors[0]
    np.testing.assert_array_equal(cell, [[-2, -2, 2, 2], [-4, -4, 4, 4]])


def test_anchors_run_along_rows_and_all_of_a_location_stand_together() -> None:
    generator = AnchorGenerator([(2,), (8,)], [(1.0,), (1.0,)])
    fine, coarse = generator([(2, 3), (1, 1)], (8, 12))
    centers = [[0, 0], [4, 0], [8, 0], [0, 4], [4, 4], [8, 4]]
    np.testing.assert_array_equal(fine, [[x - 1, y - 1, x + 1, y + 1] for x, y in centers])
    np.testing.assert_array_equal(coarse, [[-4, -4, 4, 4]])
    assert fine.dtype == np.float32


def test_strides_are_whole_pixels_of_each_direction() -> None:
    # 65 // 8 = 8 down, 40 // 5 = 8 across; 17 // 3 = 5.
    (level,) = AnchorGenerator([(2,)], [(1.0,)])([(8, 3)], (65, 17))
    assert level[:, 1].max() + 1 == 7 * 8
    assert level[:, 0].max() + 1 == 2 * 5


def test_default_anchors_are_nine_at_each_location_in_octaves() -> None:
    config = FasterRCNNConfig().for_levels((4, 8, 16, 32, 64), ("P2", "P3", "P4", "P5", "P6"))
    generator = AnchorGenerator(config.anchor_sizes, config.aspect_ratios)
    assert generator.num_anchors_per_location == 9
    assert [sizes[0] for sizes in generator.sizes] == [32, 64, 128, 256, 512]
    np.testing.assert_allclose(generator.sizes[0], [32, 32 * 2 ** (1 / 3), 32 * 2 ** (2 / 3)])
    levels = generator([(56, 56), (28, 28), (14, 14), (7, 7), (4, 4)], (224, 224))
    assert [len(level) for level in levels] == [9 * n * n for n in (56, 28, 14, 7, 4)]


def test_levels_of_sizes_and_ratios_must_agree() -> None:
    with pytest.raises(ValueError, match=r"sizes and aspect_ratios .*got 2 and 1"):
        AnchorGenerator([(32,), (64,)], [(1.0,)])
    with pytest.raises(ValueError, match="at least one, got 0 and 0"):
        AnchorGenerator([], [])


@pytest.mark.parametrize(
    ("sizes", "aspect_ratios", "message"),
    [
        (
            [(32,)],
            (0.5, 1.0),
            r"^aspect_ratios: .* got 0\.5 for a level",
        ),
        ([32], [(1.0,)], "^sizes: .* got 32 for a level"),
        (32, [(1.0,)], "^sizes: .* got 32$"),
        (["32"], [(1.0,)], "^sizes: .* got '32' for a level"),
        ([("32",)], [(1.0,)], "^sizes: .* got '32' in "),
    ],
)
def test_numbers_are_given_level_by_level(sizes: Any, aspect_ratios: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        AnchorGenerator(sizes, aspect_ratios)


def test_arrays_give_the_anchors_of_lists() -> None:
    made = AnchorGenerator(np.array([[8], [16]]), np.ones((2, 1)))
    assert made.sizes == ((8.0,), (16.0,))
    assert made.cell_anchors[1].tolist() == [[-8, -8, 8, 8]]


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_sizes_and_ratios_are_positive_numbers(value: float) -> None:
    with pytest.raises(ValueError, match=r"^sizes: expected positive numbers, got"):
        AnchorGenerator([(32, value)], [(1.0,)])
    with pytest.raises(ValueError, match=r"^aspect_ratios: expected positive numbers, got"):
        AnchorGenerator([(32,)], [(value,)])


@pytest.mark.parametrize("size", [(9, 4), (4, 17), (0, 4)])
def test_maps_are_not_larger_than_the_image(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"image \(8, 16\), got \({size[0]}, "):
        AnchorGenerator([(8,)], [(1.0,)])([size], (8, 16))


def test_levels_must_have_equally_many_anchors() -> None:
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        AnchorGenerator([(32,), (64, 80)], [(1.0,), (1.0,)])


def test_anchors_without_area_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"size 3, aspect ratio 0\.1"):
        AnchorGenerator([(32, 3)], [(1.0, 0.1)])


def test_number_of_maps_must_match_levels() -> None:
    with pytest.raises(ValueError, match=r"per level \(1\), got 2"):
        AnchorGenerator([(32,)], [(1.0,)])([(1, 1), (1, 1)], (8, 8))
