"""Drawing of boxes: image types, positions of outlines and captions, errors."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from lucid_models_detection.draw import draw_boxes, label_color, to_pillow

NO_BOXES = np.zeros((0, 4), np.float32)
GRAY = np.full((3, 40, 60), 0.5, np.float32)


def test_image_forms_give_the_same_result() -> None:
    rng = np.random.default_rng(0)
    hwc = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    chw = hwc.transpose(2, 0, 1).astype(np.float32) / 255
    for image in (hwc, chw, chw.astype(np.float64), Image.fromarray(hwc), hwc.transpose(2, 0, 1)):
        picture = to_pillow(image)
        assert picture.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(picture), hwc)


def test_gray_image_forms_give_the_same_result() -> None:
    rng = np.random.default_rng(1)
    gray = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    expected = np.repeat(gray[:, :, None], 3, axis=2)
    as_float = gray.astype(np.float32) / 255
    for image in (gray, gray[:, :, None], as_float, as_float[None], Image.fromarray(gray)):
        np.testing.assert_array_equal(np.asarray(to_pillow(image)), expected)


def test_black_and_white_and_sixteen_bits() -> None:
    mask = np.array([[True, False], [False, True]])
    assert np.asarray(to_pillow(mask))[:, :, 0].tolist() == [[255, 0], [0, 255]]
    deep = Image.fromarray(np.array([[0, 65535]], np.uint16))
    assert np.asarray(to_pillow(deep))[0, :, 0].tolist() == [0, 255]


PILLOW_MODES = (
    "1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV",
    "I", "F", "I;16", "I;16L", "I;16B", "I;16N",
)  # fmt: skip


def in_mode(rgb: Image.Image, mode: str) -> Image.Image:
    """Convert an image to a mode, via another mode if necessary."""
    if mode == "LAB":
        profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
        converted = ImageCms.profileToProfile(rgb, *profiles, outputMode="LAB")
        assert converted is not None
        return converted
    if mode in ("La", "RGBa"):
        return rgb.convert(mode.upper()).convert(mode)
    if mode == "PA":
        return rgb.convert("P").convert("PA")
    if mode == "F":
        return Image.fromarray(np.asarray(rgb.convert("L"), np.float32) / np.float32(255))
    if mode == "I" or mode.startswith("I;16"):
        deep = np.asarray(rgb.convert("L")).astype(np.uint32) * 257
        kind = {"I": "=u4", "I;16": "<u2", "I;16L": "<u2", "I;16B": ">u2", "I;16N": "=u2"}[mode]
        return Image.frombytes(mode, rgb.size, deep.astype(kind).tobytes())
    return rgb.convert(mode)


@pytest.mark.parametrize("mode", PILLOW_MODES)
def test_pillow_modes(mode: str) -> None:
    """The background keeps its color or gray value, and the box has its own color."""
    rgb = Image.new("RGB", (40, 30), (204, 102, 51))  # of the palette that "P" has
    image = in_mode(rgb, mode)
    assert image.mode == mode
    picture = draw_boxes(image, [[8, 9, 28, 25]], [2], class_names={2: ""})
    assert (picture.mode, picture.size) == ("RGB", rgb.size)
    colored = mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV") or mode.startswith("RGB")
    if mode != "1":  # mode 1 is dithered
        ground = rgb if colored else rgb.convert("L").convert("RGB")
        np.testing.assert_allclose(picture.getpixel((36, 3)), ground.getpixel((0, 0)), atol=3)
    assert picture.getpixel((8, 20)) == label_color(2)


def test_layout_of_tiny_images_follows_dtype() -> None:
    image = np.arange(27).reshape(3, 3, 3)
    as_bytes = to_pillow(image.astype(np.uint8))
    as_floats = to_pillow((image / 255).astype(np.float32))
    np.testing.assert_array_equal(np.asarray(as_bytes), image)
    np.testing.assert_array_equal(np.asarray(as_floats), image.transpose(1, 2, 0))


def test_values_outside_the_range_by_rounding() -> None:
    image = np.array([[[-5e-5, 1 + 5e-5], [0.25, 0.5]]], np.float32)
    assert np.asarray(to_pillow(image))[:, :, 0].tolist() == [[0, 255], [64, 128]]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 0, 5), np.float32), "with pixels"),
        (np.zeros((4, 5, 6), np.float32), r"got \(4, 5, 6\)"),
        (np.zeros((1, 3, 5, 6), np.float32), r"got \(1, 3, 5, 6\)"),
        (np.full((3, 5, 6), 255.0, np.float32), r"\[255, 255\]; divide 8-bit values by 255"),
        (np.full((3, 5, 6), -2.0, np.float32), "before normalization"),
        (np.float32([[[-0.1, 1.2], [0.2, 0.5]]]), r"\[-0.1, 1.2\]"),
        (np.float32([[0, 1], [np.nan, 0.5]]), "1 of 4 values NaN or infinite"),
        (np.float32([[0, 1], [-np.inf, np.inf]]), "2 of 4 values NaN or infinite"),
    ],
)
def test_invalid_images_are_rejected(image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_boxes(image, NO_BOXES)


@pytest.mark.parametrize("image", [np.zeros((3, 5, 6), np.int64), "picture.png"])
def test_other_types_are_rejected(image: object) -> None:
    with pytest.raises(TypeError, match="expected an image"):
        draw_boxes(image, NO_BOXES)


@pytest.mark.parametrize("boxes", [NO_BOXES, np.zeros(0), []])
def test_no_boxes_returns_the_image(boxes: object) -> None:
    picture = draw_boxes(GRAY, boxes, labels=[], scores=[])
    np.testing.assert_array_equal(np.asarray(picture), 128)
    assert picture.size == (60, 40)


def test_outline_is_inside_the_box() -> None:
    picture = np.asarray(draw_boxes(GRAY, [[10, 5, 30, 25]], line_width=1))
    color = list(label_color(1))
    for y, x in ((5, 10), (5, 29), (24, 10), (24, 29), (15, 10), (5, 20)):
        assert picture[y, x].tolist() == color
    for y, x in ((4, 10), (25, 29), (15, 9), (15, 30)):  # the dark border
        assert picture[y, x].tolist() == [0, 0, 0]
    assert picture[15, 20].tolist() == [128, 128, 128]
    assert picture[15, 31].tolist() == [128, 128, 128]


def test_scale_enlarges_image_and_boxes() -> None:
    picture = draw_boxes(GRAY, [[10, 5, 30, 25]], line_width=1, scale=2)
    assert picture.size == (120, 80)
    assert np.asarray(picture)[10, 20].tolist() == list(label_color(1))
    assert np.asarray(picture)[49, 59].tolist() == list(label_color(1))


def test_input_image_is_not_modified() -> None:
    pillow = Image.new("RGB", (30, 20), (9, 9, 9))
    array = np.zeros((20, 30, 3), np.uint8)
    for image in (pillow, array):
        draw_boxes(image, [[2, 2, 20, 15]], [1], [0.5])
        assert np.asarray(image).min() == np.asarray(image).max()


def test_labels_select_colors_and_scores_the_order() -> None:
    boxes = [[10, 10, 40, 30], [10, 10, 40, 30]]
    above = np.asarray(draw_boxes(GRAY, boxes, [2, 3], [0.9, 0.1], line_width=1))
    assert above[20, 10].tolist() == list(label_color(2))
    above = np.asarray(draw_boxes(GRAY, boxes, [2, 3], [0.1, 0.9], line_width=1))
    assert above[20, 10].tolist() == list(label_color(3))


def test_score_threshold_removes_low_scores() -> None:
    boxes, labels = [[10, 20, 30, 35], [40, 20, 55, 35]], [1, 2]
    both = draw_boxes(GRAY, boxes, labels, [0.9, 0.4])
    one = draw_boxes(GRAY, boxes, labels, [0.9, 0.4], score_threshold=0.5)
    alone = draw_boxes(GRAY, boxes[:1], labels[:1], [0.9])
    assert np.asarray(one).tobytes() == np.asarray(alone).tobytes() != np.asarray(both).tobytes()


def test_names_from_sequence_mapping_or_label() -> None:
    box = [[5, 20, 50, 35]]

    def drawn(label: int, names: object) -> bytes:
        return draw_boxes(GRAY, box, [label], class_names=names).tobytes()

    assert drawn(1, ["background", "cat"]) == drawn(1, {1: "cat"}) != drawn(1, None)
    assert drawn(7, ["background", "cat"]) == drawn(7, {1: "cat"}) == drawn(7, None)


@pytest.mark.parametrize(
    "box", [[0, 0, 60, 40], [-20, -20, 90, 80], [50, 30, 60, 40], [0, 0, 3, 3], [-9, -9, -5, -5]]
)
def test_captions_stay_in_the_image(box: list[float]) -> None:
    picture = np.asarray(draw_boxes(GRAY, [box], [1], [0.5], class_names=["", "a long name"]))
    caption = (picture == label_color(1)).all(axis=2)
    assert caption.sum() > 100
    rows, columns = np.nonzero(caption.sum(axis=1) > 20)[0], np.nonzero(caption.sum(axis=0) > 5)[0]
    assert len(rows) >= 8  # the full height of the caption is visible
    assert len(columns) >= 30


def test_captions_of_neighbors_do_not_overlap() -> None:
    image = np.full((3, 200, 200), 0.5, np.float32)
    boxes = [[50, 80, 150, 120], [52, 82, 152, 122], [54, 84, 154, 124]]
    together = np.asarray(draw_boxes(image, boxes, [1, 2, 3], [0.9, 0.8, 0.7]))
    counts = [(together == label_color(i)).all(axis=2).sum() for i in (1, 2, 3)]
    alone = np.asarray(draw_boxes(image, boxes[:1], [1], [0.9]))
    caption = (alone == label_color(1)).all(axis=2).sum() - 280  # minus most of the outline
    assert min(counts) > caption * 0.8


def test_class_colors_are_distinct() -> None:
    colors = np.array([label_color(i) for i in range(1, 81)], float)
    assert len({tuple(c) for c in colors}) == 80
    palette = colors[:12]
    apart = np.abs(palette[:, None] - palette[None]).sum(axis=2) + 999 * np.eye(12)
    assert apart.min() > 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 2, 3]],), r"shape \(D, 4\), got \(1, 3\)"),
        (([[0, 0, 5, 5], [20, 20, 10, 10]],), "box 1: .*looks like xywh"),
        (([[0, 0, np.nan, 5]],), r"box 0: expected finite .* got \[0\.0, 0\.0, nan, 5\.0\]$"),
        (([[0, 0, 5, 5]], [1, 2]), r"labels: expected shape \(1,\)"),
        (([[0, 0, 5, 5]], [1], [0.1, 0.2]), r"scores: expected shape \(1,\)"),
    ],
)
def test_invalid_boxes_are_rejected(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_boxes(GRAY, *arguments)


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_scale_must_be_positive(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        draw_boxes(GRAY, NO_BOXES, scale=scale)
