from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid.testing import gradcheck
from lucid_models_detection.parts.roi_align import (
    MultiScaleRoIAlign,
    assign_levels,
    roi_align,
    to_rois,
)


def ramp(n: int = 1, height: int = 16, width: int = 20) -> Tensor:
    """Channel 0 is x, channel 1 is y, channel 2 the image's index: its samples are known."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    planes = [np.stack([x, y, np.full_like(x, i)]) for i in range(n)]
    return Tensor(np.stack(planes).astype(np.float32))


def test_linear_ramp_gives_bin_centers() -> None:
    # Without alignment pixel i sits at coordinate i; a 6 x 4 region in 2 x 2 bins.
    pooled = roi_align(ramp(), [np.array([[2, 3, 8, 7]], np.float32)], 2, sampling_ratio=2)
    np.testing.assert_allclose(pooled.data[0, 0], [[3.5, 6.5], [3.5, 6.5]], rtol=1e-6)
    np.testing.assert_allclose(pooled.data[0, 1], [[4, 4], [6, 6]], rtol=1e-6)


def test_aligned_shifts_by_half_a_pixel_and_scale_is_one_over_the_stride() -> None:
    pooled = roi_align(ramp(), np.array([[0, 8, 12, 32, 28]]), (2, 2), 0.25, 2, aligned=True)
    np.testing.assert_allclose(pooled.data[0, 0], [[3, 6], [3, 6]], rtol=1e-6)


def test_regions_of_several_images() -> None:
    boxes = [np.zeros((0, 4)), np.array([[1, 1, 5, 5]]), np.array([[1, 1, 5, 5], [2, 2, 9, 9]])]
    rois = to_rois(boxes)
    np.testing.assert_array_equal(rois[:, 0], [1, 2, 2])
    pooled = roi_align(ramp(3), boxes, 1)
    np.testing.assert_allclose(pooled.data[:, 2, 0, 0], [1, 2, 2], rtol=1e-6)


def test_no_regions() -> None:
    pooled = roi_align(ramp(), np.zeros((0, 5)), 7)
    assert pooled.shape == (0, 3, 7, 7)


def test_bad_regions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"boxes: .*per image \(1\), got 2"):
        roi_align(ramp(), [np.zeros((0, 4))] * 2, 7)
    with pytest.raises(ValueError, match=r"expected \(R, 5\) regions .* got \(1, 4\)"):
        roi_align(ramp(), np.ones((1, 4)), 7)
    with pytest.raises(ValueError, match=r"boxes\[1\]: .*image index .*got 3"):
        roi_align(ramp(), np.array([[0, 1, 1, 2, 2], [3, 1, 1, 2, 2]]), 7)


def test_gradient() -> None:
    x = lucid.random.randn(2, 2, 6, 7, dtype=lucid.float64).requires_grad_()
    rois = np.array([[0, 0.3, 0.7, 5.1, 4.9], [1, -2, -2, 30, 30], [1, 1, 1, 1.5, 4]])
    gradcheck(lambda t: roi_align(t, rois, (2, 3), 0.5, 2), [x])


@pytest.mark.parametrize(
    ("side", "level"),
    [
        (1, 2),
        (55, 2),
        (111, 2),
        (112, 3),
        (223, 3),
        (224, 4),
        (447, 4),
        (448, 5),
        (3000, 5),
        (0, 2),
    ],
)
def test_levels_by_the_size_of_a_region(side: float, level: int) -> None:
    box = np.array([[5, 5, 5 + side, 5 + side]], np.float32)
    np.testing.assert_array_equal(assign_levels(box, 2, 5), [level])


def test_levels_go_by_area() -> None:
    box = np.array([[0, 0, 112, 448]], np.float32)
    np.testing.assert_array_equal(assign_levels(box, 2, 5), [4])


def pyramid(dtype: type = np.float32) -> list[Tensor]:
    """One channel that says which level it is, and one that varies."""
    rng = np.random.default_rng(0)
    sizes = [(160, 160), (80, 80), (40, 40), (20, 20)]
    return [
        Tensor(np.stack([np.full((2, *s), i), rng.random((2, *s))], axis=1).astype(dtype))
        for i, s in enumerate(sizes)
    ]


ROIS = np.array(
    [
        [1, 0, 0, 300, 300],
        [0, 0, 0, 10, 10],
        [1, 0, 0, 600, 600],
        [0, 3, 3, 20, 30],
        [0, 0, 0, 120, 120],
    ],
    np.float32,
)


def test_each_region_reads_its_level_and_keeps_its_row() -> None:
    levels = pyramid()
    pooled = MultiScaleRoIAlign(3)(levels, ROIS, [4, 8, 16, 32])
    assert pooled.shape == (5, 2, 3, 3)
    np.testing.assert_allclose(pooled.data[:, 0, 0, 0], [2, 0, 3, 0, 1], atol=1e-6)
    for i, level in enumerate([2, 0, 3, 0, 1]):
        alone = roi_align(levels[level], ROIS[i : i + 1], 3, 1 / (4 * 2**level), 2)
        np.testing.assert_allclose(pooled.data[i], alone.data[0], rtol=1e-6)


def test_each_level_gets_the_gradient_of_its_regions() -> None:
    levels = [level.requires_grad_() for level in pyramid(np.float64)]
    rois = ROIS.astype(np.float64)
    weight = lucid.random.randn(5, 2, 3, 3, dtype=lucid.float64)
    (MultiScaleRoIAlign(3)(levels, rois, [4, 8, 16, 32]) * weight).sum().backward()
    got = [level.grad for level in levels]
    for level in levels:
        level.grad = None
    for i, level in enumerate([2, 0, 3, 0, 1]):
        alone = roi_align(levels[level], rois[i : i + 1], 3, 1 / (4 * 2**level), 2)
        (alone * weight[i : i + 1]).sum().backward()
    for level, gradient in zip(levels, got, strict=True):
        assert gradient is not None
        assert level.grad is not None
        np.testing.assert_allclose(gradient.data, level.grad.data, atol=1e-12)


def test_a_level_without_regions_gets_no_gradient() -> None:
    levels = [level.requires_grad_() for level in pyramid()]
    MultiScaleRoIAlign(2)(levels, ROIS[1:2], [4, 8, 16, 32]).sum().backward()
    assert levels[0].grad is not None
    assert [level.grad for level in levels[1:]] == [None, None, None]


def test_no_regions_on_any_level() -> None:
    assert MultiScaleRoIAlign(7)(pyramid(), ROIS[:0], [4, 8, 16, 32]).shape == (0, 2, 7, 7)


@pytest.mark.parametrize(
    ("strides", "message"),
    [
        ((4, 8, 16, 16), "got 16 after 16"),
        ((4, 12, 24, 48), "got 12 after 4"),
        ((3, 6, 12, 24), "a power of two as the first stride, got 3"),
    ],
)
def test_invalid_strides_are_rejected(strides: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiScaleRoIAlign(3)(pyramid(), ROIS, strides)
