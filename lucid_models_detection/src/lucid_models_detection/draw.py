"""Draw boxes, class names and scores on images."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lucid.vision import to_array, to_pil
from lucid_models_detection.fonts import choose_font

__all__ = ["class_name", "draw_boxes", "label_color", "to_pillow"]

Color: TypeAlias = tuple[int, int, int]
Rectangle: TypeAlias = tuple[float, float, float, float]

#: Distinct colors, visible on light and dark backgrounds.
PALETTE: tuple[Color, ...] = (
    (230, 57, 70),
    (46, 134, 222),
    (38, 166, 91),
    (255, 159, 28),
    (155, 89, 222),
    (0, 188, 188),
    (240, 98, 178),
    (166, 214, 8),
    (161, 110, 60),
    (255, 221, 51),
    (108, 122, 224),
    (120, 144, 156),
)
BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)


def label_color(label: int) -> Color:
    """Return the color of a class.

    Labels 1 to 12 have a fixed palette; further hues are spaced by the golden angle.

    Parameters
    ----------
    label : int
        Label of the class.

    Returns
    -------
    (int, int, int)
        Red, green and blue, from 0 to 255.
    """
    if 1 <= label <= len(PALETTE):
        return PALETTE[label - 1]
    hue = (label * 0.618034) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.45 + 0.15 * (label % 2), 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)


def class_name(label: int, class_names: Sequence[str] | Mapping[int, str] | None = None) -> str:
    """Return the name of a class, or its label if ``class_names`` does not have it.

    Parameters
    ----------
    label : int
        Label of the class.
    class_names : sequence or mapping of str, optional
        Name of each label, ``class_names[label]``.

    Returns
    -------
    str
        Name to show beside a box.
    """
    if isinstance(class_names, Mapping):
        return str(class_names.get(label, label))
    if class_names is not None and 0 <= label < len(class_names):
        return str(class_names[label])
    return str(label)


def to_pillow(image: Any) -> Image.Image:
    """Convert an image to a new RGB Pillow image.

    Parameters
    ----------
    image : array, Tensor or PIL.Image.Image
        Floats in [0, 1] as ``(3, H, W)``, ``(1, H, W)`` or ``(H, W)``; uint8 as
        ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W)``.  The channel axis is the one of length 1 or
        3; if both ends qualify, the first for floats and the last for uint8.  Or a Pillow image
        of any mode, whose EXIF orientation is applied.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``, size (W, H).

    Raises
    ------
    ValueError
        If the shape is not one of these, the image is empty, or floats are not in [0, 1]
        (within rounding) or not finite.
    TypeError
        If the type is not one of these.
    """
    if isinstance(image, Image.Image):
        image = to_array(image)  # upright, 8 bits, as the detector sees it
    array = np.asarray(image)
    is_float = array.dtype.kind == "f"
    if not is_float and array.dtype not in (np.uint8, np.bool_):
        raise TypeError(
            "expected an image as floats in [0, 1], as uint8 or as a Pillow image, "
            f"got {type(image).__name__} of dtype {array.dtype}"
        )
    return to_pil(_channels_first(array, preferred=is_float)).convert("RGB")


def _channels_first(array: NDArray[Any], preferred: bool) -> NDArray[Any]:
    """Convert to (1 or 3, H, W); ``preferred`` if the first and last axis qualify."""
    if array.size == 0:
        raise ValueError(f"expected an image with pixels, got shape {array.shape}")
    if array.ndim == 2:
        return array[None]
    if array.ndim == 3:
        first, last = array.shape[0] in (1, 3), array.shape[2] in (1, 3)
        if first and (preferred or not last):
            return array
        if last:
            return array.transpose(2, 0, 1)
    raise ValueError(
        f"expected an image of shape (3, H, W), (1, H, W), (H, W, 3) or (H, W), got {array.shape}"
    )


def draw_boxes(
    image: Any,
    boxes: Any,
    labels: Any = None,
    scores: Any = None,
    *,
    class_names: Sequence[str] | Mapping[int, str] | None = None,
    score_threshold: float = 0.0,
    scale: float = 1.0,
    line_width: int | None = None,
    font_size: int | None = None,
) -> Image.Image:
    """Draw boxes with class names and scores on a copy of an image.

    ``draw_boxes(image, **prediction)`` draws the result of ``model.predict`` for an image.

    Parameters
    ----------
    image : array, Tensor or PIL.Image.Image
        As for :func:`to_pillow`: floats ``(3, H, W)`` in [0, 1], uint8 ``(H, W, 3)``, gray
        images, Pillow images.
    boxes : (D, 4) array
        xyxy in pixels of ``image``; D may be 0.  Parts outside the image are clipped.
    labels : (D,) array of int, optional
        Select the color and name of each box.
    scores : (D,) array of float, optional
        Shown with two decimals; boxes with higher scores are drawn on top.
    class_names : sequence or mapping of str, optional
        Name of each label, ``class_names[label]`` (background first in a sequence).  Default:
        the label.  Characters missing in Pillow's font are drawn in a system font.
    score_threshold : float, default 0
        Minimum score of the drawn boxes.
    scale : float, default 1
        Scale factor of the image, for legible text on small images.
    line_width, font_size : int, optional
        In pixels of the result.  Default: depends on its size.

    Returns
    -------
    PIL.Image.Image
        RGB; ``scale`` times the size of ``image``.

    Raises
    ------
    ValueError
        If the numbers of boxes, labels and scores differ, a box is not finite or has swapped
        corners (names its index), or :func:`to_pillow` rejects the image.
    """
    picture = to_pillow(image)
    if not scale > 0:
        raise ValueError(f"scale: expected a number greater than 0, got {scale}")
    if scale != 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    xyxy = _checked_boxes(boxes) * scale
    classes = _checked_values("labels", labels, len(xyxy))
    values = _checked_values("scores", scores, len(xyxy))

    order = np.arange(len(xyxy)) if values is None else np.argsort(values, kind="stable")
    if values is not None:
        order = order[values[order] >= score_threshold]
    shorter = min(picture.size)
    width = (
        line_width
        if line_width is not None
        else max(2 if shorter >= 100 else 1, round(shorter / 250))
    )
    text_size = font_size or max(11, round(shorter / 32))
    draw = ImageDraw.Draw(picture)
    for i in order:
        color = label_color(1 if classes is None else int(classes[i]))
        _draw_rectangle(draw, xyxy[i], color, width, picture.size)
    taken: list[Rectangle] = []
    for i in order[::-1]:  # highest scores first, so their captions are placed first
        text = _caption(i, classes, values, class_names)
        if text:
            color = label_color(1 if classes is None else int(classes[i]))
            text, font = choose_font(text, text_size)
            taken.append(_draw_caption(draw, text, xyxy[i], color, font, picture.size, taken))
    return picture


def _checked_boxes(boxes: Any) -> NDArray[np.float64]:
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"expected boxes of shape (D, 4), got {array.shape}")
    wrong = ~np.isfinite(array).all(axis=1) | (array[:, 2:] < array[:, :2]).any(axis=1)
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f"box {i}: expected finite x1 <= x2 and y1 <= y2, got {array[i].tolist()}"
            + (" (looks like xywh)" if np.isfinite(array[i]).all() else "")
        )
    return array


def _checked_values(name: str, values: Any, count: int) -> NDArray[Any] | None:
    if values is None:
        return None
    array = np.asarray(values)
    if array.size == 0:
        array = array.reshape(0)
    if array.shape != (count,):
        raise ValueError(f"{name}: expected shape ({count},), one per box, got {array.shape}")
    return array


def _caption(
    i: int,
    labels: NDArray[Any] | None,
    scores: NDArray[Any] | None,
    class_names: Sequence[str] | Mapping[int, str] | None,
) -> str:
    parts = []
    if labels is not None:
        parts.append(class_name(int(labels[i]), class_names))
    if scores is not None:
        parts.append(f"{scores[i]:.2f}")
    return "  ".join(parts)  # a single space is narrow in a proportional font


def _draw_rectangle(
    draw: ImageDraw.ImageDraw,
    box: NDArray[np.float64],
    color: Color,
    width: int,
    size: tuple[int, int],
) -> None:
    """Draw the outline, with a dark border for contrast."""
    # Boxes are edges between pixels; Pillow's rectangle takes the first and last pixel.
    limit = np.array([*size, *size])
    x1, y1, x2, y2 = np.clip(box, -2.0 * width, limit + 2.0 * width).round().astype(int).tolist()
    x2, y2 = max(x1, x2 - 1), max(y1, y2 - 1)
    draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=BLACK, width=1)
    draw.rectangle((x1, y1, x2, y2), outline=color, width=width)


def _draw_caption(
    draw: ImageDraw.ImageDraw,
    text: str,
    box: NDArray[np.float64],
    color: Color,
    font: Any,
    size: tuple[int, int],
    taken: Sequence[Rectangle],
) -> Rectangle:
    """Draw the text on a background of the box color; return the background rectangle."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    area = _caption_area(box, width, height, size, taken)
    draw.rectangle((area[0], area[1], area[2] - 1, area[3] - 1), fill=color)
    # Relative luminance (ITU-R BT.709) selects black or white text.
    luminance = 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2]
    ink = BLACK if luminance > 120 else WHITE
    draw.text((area[0] + 2 - left, area[1] + 2 - top), text, fill=ink, font=font)
    return area


def _caption_area(
    box: NDArray[np.float64],
    width: float,
    height: float,
    size: tuple[int, int],
    taken: Sequence[Rectangle],
) -> Rectangle:
    """Return the first free area for a caption above, below or inside the box."""
    x1, y1, x2, y2 = box
    corners = (
        (x1, y1 - height),
        (x1, y2),
        (x2 - width, y1 - height),
        (x2 - width, y2),
        (x1, y1),
        (x1, y2 - height),
    )
    areas: list[Rectangle] = []
    for left, top in corners:
        # A caption wider than the image starts at the left edge.
        left = round(max(0.0, min(left, size[0] - width)))
        top = round(max(0.0, min(top, size[1] - height)))
        area = (left, top, left + width, top + height)
        if not any(_overlap(area, other) for other in taken):
            return area
        areas.append(area)
    return areas[0]


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
