"""Reading of text files: UTF-8, or UTF-16 and UTF-32 with a byte-order mark."""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Container, Iterable, Sequence
from typing import TextIO

from lucid.file_types import HEADER_SIZE, FileType, detect_file_type

__all__ = [
    "align_columns",
    "decode_text",
    "format_size",
    "kind_of_binary",
    "list_some",
    "open_text",
    "pluralize",
    "read_text",
]

#: UTF-32 before UTF-16, since its mark starts with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Remedy for each group of :class:`lucid.file_types.FileType`.
_REMEDIES = {
    "archive": "; unpack it and give the file in it",
    "pointer": "; run git lfs pull",
    "zeros": "; copy or download it again",
}
#: Bytes shown before and after an undecodable one.
_CONTEXT_BYTES = 12


def align_columns(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """Format rows as lines with aligned columns; those in `right` are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def pluralize(number: int, noun: str, plural: str | None = None) -> str:
    """Format a number with its noun: ``1 image``, ``1,200 images``.

    Parameters
    ----------
    number : int
        Count.
    noun : str
        Singular of the noun.
    plural : str, optional
        Plural of the noun.  Default: ``noun + "s"``.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_size(size: int) -> str:
    """Return a number of bytes in MiB, such as ``"97.8 MiB"``."""
    return f"{size / 2**20:,.1f} MiB"


def list_some(names: Iterable[str], limit: int = 3, *, quote: bool = True) -> str:
    """Join the first names for a message: ``'a', 'b', 'c' and 2 more``.

    Parameters
    ----------
    names : iterable of str
        All names.
    limit : int, default 3
        Maximum number of names listed.
    quote : bool, default True
        Whether to quote the names, and cut them to 80 characters.
    """
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(f"{name!r:.80}" if quote else name for name in names[:limit]) + more


def open_text(path: str | os.PathLike[str], errors: str = "strict") -> TextIO:
    r"""Open a text file for reading; a byte-order mark is skipped.

    The file is opened once, so it may be a pipe.

    Parameters
    ----------
    path : path-like
        A file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark.
    errors : str, default "strict"
        Error handling for UTF-8, as in :func:`open`; other encodings are decoded strictly.

    Returns
    -------
    text file
        Text file with universal newlines.
    """
    file = open(path, "rb")  # noqa: SIM115 - closed with the text file
    encoding = _encoding_of(file.peek(4)[:4])
    return io.TextIOWrapper(file, encoding, errors if encoding.startswith("utf-8") else "strict")


def read_text(path: str | os.PathLike[str]) -> str:
    r"""Read a text file; a byte-order mark is skipped.

    Parameters
    ----------
    path : path-like
        A file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark.

    Returns
    -------
    str
        Contents with ``\n`` line endings.

    Raises
    ------
    ValueError
        If the file has another encoding, or is a binary file such as a gzip archive.
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
    """Decode the contents of a text file.

    Parameters
    ----------
    content : bytes
        Contents of the file.
    name : str
        File name, for the error message.
    encoding : str, optional
        Encoding.  Default: that of the byte-order mark, else UTF-8.

    Returns
    -------
    str
        Decoded text without byte-order mark.

    Raises
    ------
    ValueError
        As for :func:`read_text`.
    """
    if (kind := kind_of_binary(content)) is not None:
        raise ValueError(f"{name}: expected text, got {kind}")
    encoding = encoding or _encoding_of(content[:4])
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if (guess := detect_file_type(content[:HEADER_SIZE])) is not None:
            raise ValueError(f"{name}: expected text, got {_with_remedy(guess)}") from None
        start = max(error.start - _CONTEXT_BYTES, 0)
        near = content[start : error.end + _CONTEXT_BYTES]
        known = encoding.removesuffix("-sig").upper()
        raise ValueError(
            f"{name}: expected {known} text, got bytes that are not {known} at offset "
            f"{error.start} ({near!r}); save the file as UTF-8 (Latin-1 or Windows-1252 text: "
            f"iconv -f WINDOWS-1252 -t UTF-8)"
        ) from None


def kind_of_binary(content: bytes) -> str | None:
    """Return the kind of a binary file with a remedy, None for text and unknown files.

    Parameters
    ----------
    content : bytes
        Contents of the file, or its first 512 bytes.

    Returns
    -------
    str or None
        Such as ``"a gzip archive; unpack it and give the file in it"``.

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
    return next((name for mark, name in _BYTE_ORDER_MARKS if start.startswith(mark)), "utf-8")
