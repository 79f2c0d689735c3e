"""Boxes, class names and scores drawn on images."""

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

#: Colors that stay apart from one another on light and on dark ground.
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
    """The color of a class; the same in every picture.

    The first twelve are a fixed palette; later ones step round the color circle by
    the golden angle, which keeps any run of them apart.

    Parameters
    ----------
    label : int
        Number of the class; the palette begins at 1.

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
    """The name of a class; its number where ``class_names`` does not have it.

    Parameters
    ----------
    label : int
        Number of the class.
    class_names : sequence or mapping of str, optional
        The name of each label, ``class_names[label]``.

    Returns
    -------
    str
        To be shown beside a box.
    """
    if isinstance(class_names, Mapping):
        return str(class_names.get(label, label))
    if class_names is not None and 0 <= label < len(class_names):
        return str(class_names[label])
    return str(label)


def to_pillow(image: Any) -> Image.Image:
    """Convert an image of any accepted form to a new RGB Pillow image.

    Parameters
    ----------
    image : array, Tensor or PIL.Image.Image
        Floats in [0, 1] as ``(3, H, W)``, ``(1, H, W)`` or ``(H, W)``; uint8 as
        ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W)``.  The channels are the axis of length 1
        or 3; where both ends could be, floats have channels first, uint8 last.  Or a Pillow
        image of any mode, whose EXIF orientation is applied.

    Returns
    -------
    PIL.Image.Image
        Of mode ``"RGB"``, W pixels wide and H high.

    Raises
    ------
    ValueError
        Another shape, an image without pixels, or floats outside [0, 1] by more than
        rounding, NaN and infinity included.
    TypeError
        Another kind of value.
    """
    if isinstance(image, Image.Image):
        image = to_array(image)  # upright and of 8 bits, as the detector saw it
    array = np.asarray(image)
    is_float = array.dtype.kind == "f"
    if not is_float and array.dtype not in (np.uint8, np.bool_):
        raise TypeError(
            "expected an image as floats in [0, 1], as uint8 or as a Pillow image, "
            f"got {type(image).__name__} of dtype {array.dtype}"
        )
    return to_pil(_channels_first(array, preferred=is_float)).convert("RGB")


def _channels_first(array: NDArray[Any], preferred: bool) -> NDArray[Any]:
    """(1 or 3, H, W) from any accepted shape; ``preferred`` where both ends could be channels."""
    if array.size == 0:
        raise ValueError(f"cannot draw on an image without pixels, of shape {array.shape}")
    if array.ndim == 2:
        return array[None]
    if array.ndim == 3:
        at_front, at_end = array.shape[0] in (1, 3), array.shape[2] in (1, 3)
        if at_front and (preferred or not at_end):
            return array
        if at_end:
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
    """Draw boxes, with class name and score, on a copy of an image.

    ``draw_boxes(image, **prediction)`` draws what ``model.predict`` gives for one image.

    Parameters
    ----------
    image : array, Tensor or PIL.Image.Image
        As :func:`to_pillow` takes it: floats ``(3, H, W)`` in [0, 1], uint8
        ``(H, W, 3)``, gray images, Pillow images.
    boxes : (D, 4) array
        As xyxy in pixels of ``image``; D may be 0.  Parts outside the image are cut off.
    labels : (D,) array of int, optional
        Choose color and name of each box.
    scores : (D,) array of float, optional
        Printed with two digits; better boxes are drawn over worse ones.
    class_names : sequence or mapping of str, optional
        The name of each label, ``class_names[label]`` (for a sequence, the first
        is the background's).  Default: the label's number.  Letters that Pillow's own font
        lacks are drawn in a font of the system that has them.
    score_threshold : float, default 0
        Leaves out boxes that score less.
    scale : float, default 1
        Enlarges the picture before drawing, so that text is legible on small images.
    line_width, font_size : int, optional
        In pixels of the result.  Default: by the size of the result.

    Returns
    -------
    PIL.Image.Image
        RGB; ``scale`` times the size of ``image``.

    Raises
    ------
    ValueError
        Boxes, labels and scores disagree in number, a box is not finite or has its
        corners swapped (named by its number), or the image is refused by :func:`to_pillow`.
    """
    picture = to_pillow(image)
    if not scale > 0:
        raise ValueError(f"scale must be greater than 0, got {scale}")
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
    canvas = ImageDraw.Draw(picture)
    for i in order:
        color = label_color(1 if classes is None else int(classes[i]))
        _draw_rectangle(canvas, xyxy[i], color, width, picture.size)
    taken: list[Rectangle] = []
    for i in order[::-1]:  # the best choose their place for the text first
        text = _caption(i, classes, values, class_names)
        if text:
            color = label_color(1 if classes is None else int(classes[i]))
            text, font = choose_font(text, text_size)
            taken.append(_draw_caption(canvas, text, xyxy[i], color, font, picture.size, taken))
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
        raise ValueError(f"expected one of {name} for each of {count} boxes, got {array.shape}")
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
    return "  ".join(parts)  # one space of a proportional font is hardly one


def _draw_rectangle(
    canvas: ImageDraw.ImageDraw,
    box: NDArray[np.float64],
    color: Color,
    width: int,
    size: tuple[int, int],
) -> None:
    """Outline the box; a dark line beside the colored one shows it on ground of its color."""
    # The box gives edges between pixels; Pillow's rectangle takes the first and last pixel.
    limit = np.array([*size, *size])
    x1, y1, x2, y2 = np.clip(box, -2.0 * width, limit + 2.0 * width).round().astype(int).tolist()
    x2, y2 = max(x1, x2 - 1), max(y1, y2 - 1)
    canvas.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=BLACK, width=1)
    canvas.rectangle((x1, y1, x2, y2), outline=color, width=width)


def _draw_caption(
    canvas: ImageDraw.ImageDraw,
    text: str,
    box: NDArray[np.float64],
    color: Color,
    font: Any,
    size: tuple[int, int],
    taken: Sequence[Rectangle],
) -> Rectangle:
    """Write the text on a plate of the box's color, where it hides least; return the plate."""
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    plate = _place(box, width, height, size, taken)
    canvas.rectangle((plate[0], plate[1], plate[2] - 1, plate[3] - 1), fill=color)
    # Relative luminance after ITU-R BT.709 decides which of black and white is legible.
    luminance = 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2]
    ink = BLACK if luminance > 120 else WHITE
    canvas.text((plate[0] + 2 - left, plate[1] + 2 - top), text, fill=ink, font=font)
    return plate


def _place(
    box: NDArray[np.float64],
    width: float,
    height: float,
    size: tuple[int, int],
    taken: Sequence[Rectangle],
) -> Rectangle:
    """Where a plate goes: above the box, below it, or inside; the first that covers no other."""
    x1, y1, x2, y2 = box
    corners = (
        (x1, y1 - height),
        (x1, y2),
        (x2 - width, y1 - height),
        (x2 - width, y2),
        (x1, y1),
        (x1, y2 - height),
    )
    plates: list[Rectangle] = []
    for left, top in corners:
        # A plate wider than the picture starts at its left edge, so the name is read first.
        left = round(max(0.0, min(left, size[0] - width)))
        top = round(max(0.0, min(top, size[1] - height)))
        plate = (left, top, left + width, top + height)
        if not any(_overlap(plate, other) for other in taken):
            return plate
        plates.append(plate)
    return plates[0]


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
