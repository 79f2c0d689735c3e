"""File types by their magic numbers, to name a wrong file in an error message."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["HEADER_SIZE", "FileType", "detect_file_type"]

#: Number of leading bytes that :func:`detect_file_type` reads.
HEADER_SIZE = 512
_MIN_ZEROS = 64
_MIN_CERTAIN = 10
_TAR_MAGIC = slice(257, 262)


class FileType(NamedTuple):
    """A detected file type.

    Attributes
    ----------
    name : str
        Name with its article, such as ``"a gzip archive"``.
    group : str
        ``"archive"``, ``"model"`` (weights of another program), ``"array"``, ``"pointer"``
        (Git LFS), ``"zeros"`` or ``"other"``.
    certain : bool
        False if a text file could begin with the same bytes.
    """

    name: str
    group: str = "other"
    certain: bool = True


#: Magic number, name and group.
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "pointer"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", "other"),
    (b"\xff\xd8\xff", "a JPEG image", "other"),
    (b"GIF8", "a GIF image", "other"),
    (b"BM", "a BMP image", "other"),
    (b"II*\0", "a TIFF image", "other"),
    (b"MM\0*", "a TIFF image", "other"),
    (b"%PDF", "a PDF document", "other"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes", "model"),
    (b"GGUF", "a GGUF file", "model"),
    (b"ggml", "a GGML file", "model"),
    (b"\x93NUMPY", "a single NumPy array (.npy)", "array"),
    (b"(dp", "a pickle of protocol 0", "model"),
    (b"ccopy_reg", "a pickle of protocol 0", "model"),
    (b"MATLAB 5.0", "a MATLAB file", "other"),
    (b"SQLite format 3", "an SQLite database", "other"),
    (b"\x7fELF", "a program", "other"),
    (b"MZ", "a program", "other"),
    (b"PK\3\4", "a zip archive", "archive"),
    (b"PK\5\6", "an empty zip archive", "archive"),
    (b"\x1f\x8b", "a gzip archive", "archive"),
    (b"BZh", "a bzip2 archive", "archive"),
    (b"\xfd7zXZ\0", "an xz archive", "archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "archive"),
    (b"Rar!\x1a\x07", "a RAR archive", "archive"),
)


def detect_file_type(start: bytes) -> FileType | None:
    """Detect the type of a binary file by its magic number.

    Parameters
    ----------
    start : bytes
        First :data:`HEADER_SIZE` bytes, or all of a shorter file.

    Returns
    -------
    FileType or None
        None for text and for unknown types.

    Examples
    --------
    >>> import gzip
    >>> from lucid.file_types import detect_file_type
    >>> detect_file_type(gzip.compress(b"{}")).name
    'a gzip archive'
    >>> detect_file_type(b'{"images": []}')
    """
    for magic, name, group in _MAGIC:
        if start.startswith(magic):
            printable = magic.decode("latin-1").isprintable()
            return FileType(name, group, not printable or len(magic) >= _MIN_CERTAIN)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return FileType("a WebP image")
    if start[4:8] == b"TFL3":
        return FileType("a TensorFlow Lite model", "model")
    if start[_TAR_MAGIC] == b"ustar":
        return FileType("a tar archive", "archive")
    if len(start) >= _MIN_ZEROS and not start.strip(b"\0"):
        return FileType("nothing but zero bytes, an interrupted copy or download", "zeros")
    return None
