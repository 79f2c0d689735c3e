"""Read image files and headers with Pillow."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from lucid.special_files import special_kind
from lucid.vision.arrays import Array, to_array
from lucid.vision.errors import ImageError, PixelLimitError
from lucid.vision.image_hints import conversion_hint
from lucid.vision.pixel_limit import MAX_PIXELS_VARIABLE, pixel_limit

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = ["ImageHeader", "read_header", "read_image"]

#: The EXIF tag of the orientation.
_ORIENTATION = 0x0112


def read_image(file: str | os.PathLike[str] | BinaryIO, *, max_pixels: int | None = None) -> Array:
    """Read an image file as a float array, with the EXIF orientation applied.

    Parameters
    ----------
    file : path or binary file
        Any format that Pillow reads; the first frame of animations.
    max_pixels : int, optional
        Maximum number of pixels, a guard against decompression bombs.  Default: the environment
        variable ``LUCID_MAX_PIXELS``, else ``PIL.Image.MAX_IMAGE_PIXELS``.  If set, the threads
        of a process read one image at a time.

    Returns
    -------
    numpy.ndarray
        (3, H, W), float32, values in [0, 1]; see :func:`to_array`.

    Raises
    ------
    TypeError
        If ``file`` is neither a path nor a file.
    ImageError
        If the file is not an image, is truncated or damaged, has more pixels than
        ``max_pixels`` (checked before decoding), or is a pipe, socket or device.
    OSError
        If the file cannot be opened, for example ``FileNotFoundError``.
    lucid.MissingPackageError
        If Pillow is not installed.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> from lucid.vision import read_image
    >>> file = io.BytesIO()
    >>> Image.new("L", (8, 6), 255).save(file, "PNG")
    >>> image = read_image(file)
    >>> image.shape, image.dtype, image.max()
    ((3, 6, 8), dtype('float32'), np.float32(1.0))
    """
    with pixel_limit(max_pixels), open_image(file) as image:
        image.load()
        return to_array(image)


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Size and orientation of an image file, read without decoding pixels.

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
        """Width and height after the EXIF orientation is applied, as :func:`read_image` does."""
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
        As :func:`read_image`; damage behind the header is not detected.

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
    with pixel_limit(), open_image(file) as image:
        return parse_header(image)


def parse_header(image: PillowImage) -> ImageHeader:
    """Return the header of an open image that is not decoded; see :func:`read_header`."""
    if 0 in image.size:
        raise ImageError(f"expected at least one pixel, got {image.width} x {image.height}")
    orientation = 1
    if image.format != "PNG" or _has_exif(image):
        with suppress(Exception):  # invalid EXIF data
            orientation = image.getexif().get(_ORIENTATION, 1)
    if not (isinstance(orientation, int) and 1 <= orientation <= 8):
        orientation = 1
    # Pillow swaps the size of a rotated TIFF file; its tags have the stored size.
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(256, image.width), tags.get(257, image.height)
    return ImageHeader(int(width), int(height), orientation)


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield type and end offset of each complete chunk of a PNG file."""
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


def open_file(image: PillowImage) -> BinaryIO | None:
    """Return the open file of an image that is not decoded."""
    return getattr(image, "fp", None)


def _has_exif(image: PillowImage) -> bool:
    """Whether a PNG image has EXIF data; ``getexif`` would decode the image."""
    if {"exif", "Raw profile type exif"} & image.info.keys():
        return True
    file = open_file(image)
    if file is None:
        return False
    position = file.tell()
    try:
        return any(kind == b"eXIf" for kind, _ in png_chunks(file))
    finally:
        file.seek(position)


@contextmanager
def open_image(file: str | os.PathLike[str] | BinaryIO) -> Iterator[PillowImage]:
    """Open an image; errors in the block become an ImageError with the file name.

    Use it inside :func:`pixel_limit`.
    """
    from lucid.vision.pillow import Image, UnidentifiedImageError

    path = os.fspath(file) if isinstance(file, str | os.PathLike) else None
    if path is None and not hasattr(file, "read"):
        raise TypeError(
            f"expected a path or a binary file, got {type(file).__name__}{conversion_hint(file)}"
        )
    name = getattr(file, "name", "file") if path is None else path
    try:
        if path is not None and (kind := special_kind(os.stat(path).st_mode)) is not None:
            raise ImageError(f"expected an image file, got {kind}")
        with Image.open(file) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's message may have twice the actual limit.
        size = str(error).partition(" exceeds ")[0]
        raise PixelLimitError(
            f"{name}: {size} exceeds the limit of {Image.MAX_IMAGE_PIXELS}; if you trust "
            "the file, raise it: --max-pixels on the command line, the argument max_pixels, or "
            f"{MAX_PIXELS_VARIABLE} in the environment"
        ) from error
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:
        # Decoders raise SyntaxError, struct.error, EOFError and others for damaged files.  An
        # errno marks OS errors, except EINVAL, from a seek before the start of a truncated file.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ImageError(
            f"{name}: expected a whole image in a format that Pillow reads, got a file that "
            f"cannot be decoded ({reason or type(error).__name__})"
        ) from error
