"""Text files as editors write them: UTF-8, or UTF-16 and UTF-32 with a byte-order mark."""

from __future__ import annotations

import codecs
import io
import os
from typing import TextIO

from lucid.file_types import HEADER_SIZE, FileType, detect_file_type

__all__ = ["decode_text", "kind_of_binary", "open_text", "pluralize", "read_text"]

#: UTF-32 before UTF-16: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: What to do with a file of each group of :class:`lucid.file_types.FileType`.
_REMEDIES = {
    "archive": "; unpack it and give the file in it",
    "pointer": "; run git lfs pull",
    "zeros": "; copy or download it again",
}
#: Bytes shown on each side of one that cannot be decoded.
_SHOWN = 12


def pluralize(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: ``1 image``, ``1,200 images``.

    Parameters
    ----------
    number : int
        What was counted.
    noun : str
        Singular.
    plural : str, optional
        Default: the singular and "s".
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def open_text(path: str | os.PathLike[str], errors: str = "strict") -> TextIO:
    r"""Open a text file to be read line by line; a byte-order mark is not part of the text.

    The file is opened once, so it may be a pipe.

    Parameters
    ----------
    path : path-like
        A file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark.
    errors : str, default "strict"
        How bytes that are not UTF-8 are decoded, as in :func:`open`; other encodings are
        decoded strictly.

    Returns
    -------
    text file
        Line endings are read as ``\n``.
    """
    file = open(path, "rb")  # noqa: SIM115 - closed with the text file
    encoding = _encoding_of(file.peek(4)[:4])
    return io.TextIOWrapper(file, encoding, errors if encoding.startswith("utf-8") else "strict")


def read_text(path: str | os.PathLike[str]) -> str:
    r"""Read a whole text file; a byte-order mark is not part of the text.

    Parameters
    ----------
    path : path-like
        A file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark.

    Returns
    -------
    str
        Line endings are ``\n``.

    Raises
    ------
    ValueError
        If the file is in another encoding, or no text, such as a gzip archive; names
        the file, the byte or what it is, and the remedy.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from lucid.text import read_text
    >>> path = Path(tempfile.mkdtemp()) / "names.txt"
    >>> _ = path.write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\n")
    >>> read_text(path).splitlines()
    ['cat', 'dog']
    """
    with open(path, "rb") as file:
        text = decode_text(file.read(), os.fspath(path))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode_text(content: bytes, name: str, encoding: str | None = None) -> str:
    """Decode the content of a text file.

    Parameters
    ----------
    content : bytes
        The whole file.
    name : str
        The file, for the error.
    encoding : str, optional
        By default that of the byte-order mark, else UTF-8.

    Returns
    -------
    str
        Without a byte-order mark.

    Raises
    ------
    ValueError
        As :func:`read_text`.
    """
    if (kind := kind_of_binary(content)) is not None:
        raise ValueError(f"{name}: expected text, it is {kind}")
    encoding = encoding or _encoding_of(content[:4])
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if (guess := detect_file_type(content[:HEADER_SIZE])) is not None:
            raise ValueError(f"{name}: expected text, it is {_with_remedy(guess)}") from None
        start = max(error.start - _SHOWN, 0)
        near = content[start : error.end + _SHOWN]
        known = encoding.removesuffix("-sig").upper()
        raise ValueError(
            f"{name}: expected {known} text, got bytes that are not {known} at offset "
            f"{error.start} ({near!r}); save the file as UTF-8 (Latin-1 or Windows-1252 text: "
            f"iconv -f WINDOWS-1252 -t UTF-8)"
        ) from None


def kind_of_binary(content: bytes) -> str | None:
    """Name what a file that should be text is instead, with the remedy.

    Parameters
    ----------
    content : bytes
        The file, or its first 512 bytes.

    Returns
    -------
    str or None
        Such as ``"a gzip archive; unpack it and give the file in it"``.  None for text and
        for what is not known.

    Examples
    --------
    >>> import gzip
    >>> from lucid.text import kind_of_binary
    >>> kind_of_binary(gzip.compress(b"{}"))
    'a gzip archive; unpack it and give the file in it'
    """
    kind = detect_file_type(content[:HEADER_SIZE])
    return _with_remedy(kind) if kind is not None and kind.certain else None


def _with_remedy(kind: FileType) -> str:
    return kind.name + _REMEDIES.get(kind.group, "")


def _encoding_of(start: bytes) -> str:
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
