"""Convert Pillow images to arrays and back; check that values are in [0, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from lucid.vision.errors import ImageError
from lucid.vision.image_hints import conversion_hint, shape_hint

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = ["Array", "check_range", "to_array", "to_pil"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Tolerance for rounding beyond [0, 1].
_ROUNDING = 1e-4

#: Largest value of the modes that Pillow's conversion to RGB clips instead of scaling.
_FULL_SCALE = {"F": 1.0, **dict.fromkeys(("I", "I;16", "I;16B", "I;16L", "I;16N"), 65535.0)}


def check_range(image: ArrayLike, name: str = "image") -> None:
    """Check that the values of an image are in [0, 1].

    Parameters
    ----------
    image : array-like
        Floats of any shape, with at least one value.
    name : str, default "image"
        Name of the image in the error.

    Raises
    ------
    ImageError
        If the image is empty, or a value is NaN, infinite or outside [0, 1] by more than 0.0001.
    """
    image = np.asarray(image)
    if not image.size:
        raise ImageError(f"{name}: expected at least one pixel, got shape {image.shape}")
    low, high = image.min(), image.max()
    if low >= -_ROUNDING and high <= 1 + _ROUNDING:  # False for NaN
        return
    finite = np.isfinite(image)
    if not finite.all():
        count = image.size - int(np.count_nonzero(finite))
        found = "none is finite"
        if finite.any():
            found = f"the others in [{image[finite].min():.5g}, {image[finite].max():.5g}]"
        raise ImageError(
            f"{name}: expected finite floats in [0, 1], got {count} of {image.size} values NaN or "
            f"infinite, {found}; check how the image was read or computed"
        )
    if low < -_ROUNDING:
        remedy = (
            "give the image before normalization, which the model's preprocessing does; "
            "np.clip(image, 0, 1) removes what interpolation overshoots"
        )
    elif high > 2:
        remedy = "divide 8-bit values by 255 (16-bit by 65535)"
    else:
        remedy = "np.clip(image, 0, 1) removes what interpolation overshoots"
    raise ImageError(
        f"{name}: expected floats in [0, 1], got values in [{low:.5g}, {high:.5g}]; {remedy}"
    )


def to_array(image: PillowImage) -> Array:
    """Convert a Pillow image to an array.

    The EXIF orientation is applied.  Gray becomes three equal channels, palettes and CMYK
    are converted to RGB, the alpha channel is dropped, and 16 bits keep their precision.

    Parameters
    ----------
    image : PIL.Image.Image
        In any mode.  Values of mode "I" must be in [0, 65535], those of mode "F" in [0, 1].

    Returns
    -------
    numpy.ndarray
        (3, H, W), float32, C-contiguous, values in [0, 1].

    Raises
    ------
    TypeError
        If the image is not a Pillow image.
    ImageError
        If the image has no pixels, a mode that does not convert to RGB, or values
        outside the range of its mode.

    Examples
    --------
    >>> from PIL import Image
    >>> from lucid.vision import to_array
    >>> to_array(Image.new("CMYK", (2, 1), (0, 255, 255, 0))).tolist()  # red
    [[[1.0, 1.0]], [[0.0, 0.0]], [[0.0, 0.0]]]
    """
    from lucid.vision.pillow import Image

    if not isinstance(image, Image.Image):
        raise TypeError(
            f"expected a Pillow image, got {type(image).__name__}{conversion_hint(image)}"
        )
    image = _apply_orientation(image)
    if 0 in image.size:
        raise ImageError(f"expected at least one pixel, got {image.width} x {image.height}")
    if image.mode in _FULL_SCALE:
        gray = np.asarray(image).astype(np.float32) / np.float32(_FULL_SCALE[image.mode])
        if not (gray.min() >= 0 and gray.max() <= 1):  # False for NaN
            top = _FULL_SCALE[image.mode]
            raise ImageError(
                f"mode {image.mode!r}: expected values in [0, {top:g}], got values in "
                f"[{gray.min() * top:g}, {gray.max() * top:g}]; save the image with 8 or 16 bits"
            )
        return np.repeat(gray[None], 3, axis=0)
    pixels = np.asarray(_as_rgb(image)).transpose(2, 0, 1)
    planes = np.empty(pixels.shape, np.float32)
    np.divide(pixels, np.float32(255), out=planes)
    return planes


def to_pil(array: Any) -> PillowImage:
    """Convert an array to a Pillow image.

    Parameters
    ----------
    array : array-like
        (3, H, W), (1, H, W) or (H, W); floats in [0, 1], uint8, or bool (0 and 255).

    Returns
    -------
    PIL.Image.Image
        In mode "RGB", or "L" for one channel; floats are rounded to 8 bits.

    Raises
    ------
    ImageError
        If the array has another shape or type, or floats outside [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from lucid.vision import to_pil
    >>> image = to_pil(np.full((1, 4, 6), 0.5, np.float32))
    >>> image.mode, image.size, image.getpixel((0, 0))
    ('L', (6, 4), 128)
    """
    from lucid.vision.pillow import Image

    pixels = np.asarray(array)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape:
        found = str(np.shape(array)) if pixels.ndim else type(array).__name__
        raise ImageError(
            f"expected an array of shape (3, H, W), (1, H, W) or (H, W), got {found}"
            f"{conversion_hint(array) or shape_hint(pixels.shape, 3)}"
        )
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "f":
        check_range(pixels)
        pixels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise ImageError(f"expected floats in [0, 1], uint8 or bool, got {pixels.dtype}")
    if pixels.shape[0] == 1:
        return Image.fromarray(np.ascontiguousarray(pixels[0]))
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _apply_orientation(image: PillowImage) -> PillowImage:
    from lucid.vision.pillow import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        # The pixels are decoded; invalid EXIF data is ignored, as in image viewers.
        return image


def _as_rgb(image: PillowImage) -> PillowImage:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns about a direct conversion to RGB
    elif image.mode == "La":
        image = image.convert("LA")  # Pillow cannot convert it to RGB directly
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(
            f"expected a mode that converts to RGB, got {image.mode!r} ({error})"
        ) from error
