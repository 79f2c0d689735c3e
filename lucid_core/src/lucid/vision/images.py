"""Image files and Pillow images as arrays, and back.

An image is an array (3, H, W), float32, red, green and blue in [0, 1], whatever
the file held.  Pillow decodes; it is imported when the first image is.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from lucid.errors import LucidError
from lucid.special_files import special_kind
from lucid.vision.image_limit import MAX_PIXELS_VARIABLE, max_pixels_set

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = [
    "Array",
    "ImageError",
    "ImageHeader",
    "PixelLimitError",
    "check_range",
    "read_header",
    "read_image",
    "to_array",
    "to_pil",
]

Array = np.ndarray[Any, np.dtype[Any]]

#: How far rounding may take floats beyond [0, 1].
_ROUNDING = 1e-4

#: Held while Pillow's limit, which belongs to the process, is another one.
_limit_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A child must inherit neither a lock that nobody releases nor the other limit.
    os.register_at_fork(
        before=_limit_lock.acquire,
        after_in_parent=_limit_lock.release,
        after_in_child=_limit_lock.release,
    )

# Stored values of the modes that Pillow's own conversion to RGB would clip instead of scale.
_FULL_SCALE = {
    "F": 1.0,
    **dict.fromkeys(("I", "I;16", "I;16B", "I;16L", "I;16N"), 65535.0),
}


#: The EXIF tag of the orientation.
_ORIENTATION = 0x0112


class ImageError(LucidError, ValueError):
    """An image cannot be read, or is not what it should be; names the file."""


class PixelLimitError(ImageError):
    """An image has more pixels than the limit."""


def check_range(image: Array, name: str = "image") -> None:
    """Refuse floats that are not pixels in [0, 1].

    Parameters
    ----------
    image : numpy.ndarray
        Floats of any shape, with at least one value.
    name : str, default "image"
        How the error names the image.

    Raises
    ------
    ImageError
        If a value is NaN, infinite, or outside [0, 1] by more than rounding (0.0001).
        Gives the range found and the remedy.
    """
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


def read_image(file: str | os.PathLike[str] | BinaryIO, *, max_pixels: int | None = None) -> Array:
    """Read an image file the way a viewer would show it.

    Parameters
    ----------
    file : path or binary file
        In any format that Pillow reads.  Of an animation, the first frame.
    max_pixels : int, optional
        Largest number of pixels that is decoded, a guard against decompression bombs.
        Default: the environment variable ``LUCID_MAX_PIXELS``, else
        ``PIL.Image.MAX_IMAGE_PIXELS``.  Threads with a limit of their own read one at
        a time.

    Returns
    -------
    numpy.ndarray
        (3, H, W), float32, values in [0, 1]; see :func:`to_array`.

    Raises
    ------
    ImageError
        If the file is no image, is truncated or damaged, declares more pixels than
        ``max_pixels`` (refused before they are decoded), or is a pipe, socket or device.
    OSError
        If the file cannot be opened, as ``FileNotFoundError`` for example.
    """
    with pixel_limit(max_pixels), opened(file) as image:
        image.load()
        return to_array(image)


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image file says of itself before any pixel is decoded.

    Attributes
    ----------
    width, height : int
        Pixels as stored, before the EXIF orientation is applied.
    orientation : int
        EXIF orientation, 1 to 8; 1 where the file has none or an invalid one.
    """

    width: int
    height: int
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as :func:`read_image` gives them: upright."""
        if self.orientation >= 5:
            return self.height, self.width
        return self.width, self.height


def read_header(file: str | os.PathLike[str] | BinaryIO) -> ImageHeader:
    """Read size and EXIF orientation of an image file without decoding it.

    Parameters
    ----------
    file : path or binary file
        In any format that Pillow reads.

    Returns
    -------
    ImageHeader
        Size as stored, and orientation.

    Raises
    ------
    ImageError, OSError
        As :func:`read_image`; damage behind the header is not seen.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> from lucid.vision import read_header
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (8, 6)).save(file, "PNG")
    >>> read_header(file).size
    (8, 6)
    """
    with pixel_limit(), opened(file) as image:
        return header_of(image)


def header_of(image: PillowImage) -> ImageHeader:
    """Header of an image that Pillow has opened and not decoded; see :func:`read_header`."""
    if 0 in image.size:
        raise ImageError(f"expected at least one pixel, got {image.width} x {image.height}")
    orientation = 1
    if image.format != "PNG" or _has_exif(image):
        # Broken metadata is no reason to refuse a picture, as in _upright.
        with suppress(Exception):
            orientation = image.getexif().get(_ORIENTATION, 1)
    if not (isinstance(orientation, int) and 1 <= orientation <= 8):
        orientation = 1
    # Pillow gives the size of a TIFF file upright; its tags have the stored one.
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(256, image.width), tags.get(257, image.height)
    return ImageHeader(int(width), int(height), orientation)


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Type and end position of each whole chunk of a PNG file, without reading its content."""
    size = file.seek(0, os.SEEK_END)
    position = 8
    while position + 12 <= size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        position += 12 + length
        if position > size:
            return
        yield kind, position
        if kind == b"IEND":
            return


def file_of(image: PillowImage) -> BinaryIO | None:
    """The open file of an image that has not been decoded."""
    return getattr(image, "fp", None)


def _has_exif(image: PillowImage) -> bool:
    """Whether a PNG image has EXIF data; Pillow would decode all of it to answer."""
    if {"exif", "Raw profile type exif"} & image.info.keys():
        return True
    file = file_of(image)
    if file is None:
        return False
    position = file.tell()
    try:
        return any(kind == b"eXIf" for kind, _ in png_chunks(file))
    finally:
        file.seek(position)


@contextmanager
def pixel_limit(max_pixels: int | None = None) -> Iterator[None]:
    """Refuse images of more pixels, before they are decoded, inside of the block.

    Pillow's limit and the filters of warnings belong to the whole process: where several
    threads open images, enter this once around all of them.

    Parameters
    ----------
    max_pixels : int, optional
        As of :func:`read_image`.
    """
    from lucid.vision.pillow import Image

    limit = max_pixels_set() if max_pixels is None else max_pixels
    with warnings.catch_warnings():
        # Pillow only warns up to twice its limit; here the limit is the limit.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if limit is None:
            yield
            return
        with _limit_lock:
            before = Image.MAX_IMAGE_PIXELS
            Image.MAX_IMAGE_PIXELS = limit
            try:
                yield
            finally:
                Image.MAX_IMAGE_PIXELS = before


@contextmanager
def opened(file: str | os.PathLike[str] | BinaryIO) -> Iterator[PillowImage]:
    """Open an image; errors inside of the block become an ImageError that names the file.

    The limit on pixels is that of :func:`pixel_limit` around it.
    """
    from lucid.vision.pillow import Image, UnidentifiedImageError

    path = os.fspath(file) if isinstance(file, str | os.PathLike) else None
    name = getattr(file, "name", "file") if path is None else path
    try:
        if path is not None and (kind := special_kind(os.stat(path).st_mode)) is not None:
            raise ImageError(f"expected an image file, got {kind}")
        with Image.open(file) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's text gives twice the limit, from where on it raises by itself.
        size = str(error).partition(" exceeds ")[0]
        raise PixelLimitError(
            f"{name}: {size} exceeds the limit of {Image.MAX_IMAGE_PIXELS}; if you trust "
            "the file, raise it: --max-pixels on the command line, the argument max_pixels, or "
            f"{MAX_PIXELS_VARIABLE} in the environment"
        ) from error
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:
        # Decoders meet damaged bytes with whatever their parsing runs into (SyntaxError,
        # struct.error, EOFError, ...).  An errno marks the operating system's own errors, but
        # for that of a decoder which looks before the beginning of a file that is cut.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ImageError(
            f"{name}: expected a whole image in a format that Pillow reads, got a file that "
            f"cannot be decoded ({reason or type(error).__name__})"
        ) from error


def to_array(image: PillowImage) -> Array:
    """Turn a Pillow image into an array.

    The orientation that EXIF data asks for is applied.  Grey becomes three equal
    channels, palettes and CMYK are converted, transparency is dropped (the colours
    beneath it remain), 16 bits keep their precision.

    Parameters
    ----------
    image : PIL.Image.Image
        Of any mode.  Mode "I" must hold 0..65535, mode "F" 0..1.

    Returns
    -------
    numpy.ndarray
        (3, H, W), float32, C-contiguous, values in [0, 1].

    Raises
    ------
    ImageError
        If the image has no pixels, a mode that has no red, green and blue, or
        values outside the range of its mode.
    """
    image = _upright(image)
    if 0 in image.size:
        raise ImageError(f"expected at least one pixel, got {image.width} x {image.height}")
    if image.mode in _FULL_SCALE:
        grey = np.asarray(image).astype(np.float32) / np.float32(_FULL_SCALE[image.mode])
        # Written so that NaN fails too.
        if not (grey.min() >= 0 and grey.max() <= 1):
            top = _FULL_SCALE[image.mode]
            raise ImageError(
                f"mode {image.mode!r}: expected values in [0, {top:g}], got values in "
                f"[{grey.min() * top:g}, {grey.max() * top:g}]; save the image with 8 or 16 bits"
            )
        return np.repeat(grey[None], 3, axis=0)
    pixels = np.asarray(_as_rgb(image)).transpose(2, 0, 1)
    planes = np.empty(pixels.shape, np.float32)
    np.divide(pixels, np.float32(255), out=planes)
    return planes


def to_pil(array: Any) -> PillowImage:
    """Turn an array into a Pillow image.

    Parameters
    ----------
    array : array-like
        (3, H, W), (1, H, W) or (H, W); uint8, or float with values in [0, 1].

    Returns
    -------
    PIL.Image.Image
        Mode "RGB", or "L" where there is one channel; floats rounded to 8 bits.

    Raises
    ------
    ImageError
        If shape, kind or values are others.
    """
    from lucid.vision.pillow import Image

    pixels = np.asarray(array)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape:
        raise ImageError(
            f"expected an array of shape (3, H, W), (1, H, W) or (H, W), got {np.shape(array)}"
        )
    if pixels.dtype.kind == "f":
        check_range(pixels)
        pixels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise ImageError(f"expected floats in [0, 1] or uint8, got {pixels.dtype}")
    if pixels.shape[0] == 1:
        return Image.fromarray(np.ascontiguousarray(pixels[0]))
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _upright(image: PillowImage) -> PillowImage:
    from lucid.vision.pillow import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        # The pixels are decoded by now.  A camera's broken notes about them are no reason to
        # refuse a picture that every viewer shows.
        return image


def _as_rgb(image: PillowImage) -> PillowImage:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the direct way is ambiguous, and Pillow warns of it
    elif image.mode == "La":
        image = image.convert("LA")  # there is no direct way
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(
            f"expected a mode that converts to RGB, got {image.mode!r} ({error})"
        ) from error
