"""Suffixes of image files."""

from __future__ import annotations

__all__ = ["image_suffixes"]

#: Formats that Pillow identifies but does not decode, and formats that are not images.
_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})

#: Formats opened by another decoder: an MPO file starts with a JPEG image.
_OPENED_BY_OTHERS = frozenset({"MPO"})


def image_suffixes() -> tuple[str, ...]:
    """Return the suffixes of the image formats that Pillow reads.

    Includes formats that other packages, such as ``pillow_heif``, registered with Pillow.

    Returns
    -------
    tuple of str
        Sorted, in lower case, such as ``".jpg"``.

    Examples
    --------
    >>> from lucid.vision import image_suffixes
    >>> {".jpeg", ".jpg", ".png", ".tiff", ".webp"} <= set(image_suffixes())
    True
    >>> ".pdf" in image_suffixes()
    False
    """
    from lucid.vision.pillow import Image

    Image.init()
    readable = (Image.OPEN.keys() | _OPENED_BY_OTHERS) - _NOT_DECODED
    suffixes = Image.registered_extensions().items()
    return tuple(sorted(suffix.lower() for suffix, form in suffixes if form in readable))
