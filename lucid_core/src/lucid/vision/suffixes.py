"""Suffixes of image files."""

from __future__ import annotations

__all__ = ["image_suffixes"]

#: Formats that Pillow identifies, but does not decode by itself, and those that are no pictures.
_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})

#: Formats that another format's decoder opens: a multi-picture file begins as a JPEG.
_OPENED_BY_OTHERS = frozenset({"MPO"})


def image_suffixes() -> tuple[str, ...]:
    """Suffixes of the image formats that Pillow reads.

    Folders of images are searched for these.  A format that another package has registered
    with Pillow, as ``pillow_heif`` does, counts too.

    Returns
    -------
    tuple of str
        Sorted, in lower case, such as ``".jpg"``.

    Examples
    --------
    >>> from lucid.vision.suffixes import image_suffixes
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
