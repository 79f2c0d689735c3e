"""Text files with and without byte-order marks."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from lucid.text import decode_text, format_size, kind_of_binary, open_text, pluralize, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_mark_is_removed(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("größe\r\nb\rc\n".encode(encoding))
    assert read_text(path) == "größe\nb\nc\n"
    with open_text(path) as file:
        assert list(file) == ["größe\n", "b\n", "c\n"]


@pytest.mark.parametrize("order", ["le", "be"])
def test_both_byte_orders(tmp_path: Path, order: str) -> None:
    for width in (16, 32):
        path = tmp_path / f"{width}.txt"
        path.write_bytes("\ufeffcat".encode(f"utf-{width}-{order}"))
        assert read_text(path) == "cat"


def test_empty_file_is_empty_text(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.touch()
    assert read_text(path) == ""


def test_other_encoding_error_names_offset_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("dog\ncafé\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"names\.txt: expected UTF-8 .* offset 7 ") as caught:
        read_text(path)
    assert "caf\\xe9" in str(caught.value)
    assert "save the file as UTF-8" in str(caught.value)
    with pytest.raises(ValueError, match="x: expected UTF-16 text"):
        decode_text(b"\xff\xfe\x00", "x")


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.json", content)
    return buffer.getvalue()


def tarred(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("a.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (gzip.compress(b"{}", mtime=0), "a gzip archive; unpack it"),
        (zipped(b"{}"), "a zip archive; unpack it"),
        (tarred(b"{}"), "a tar archive; unpack it"),
        (bz2.compress(b"{}"), "a bzip2 archive; unpack it"),
        (lzma.compress(b"{}"), "an xz archive; unpack it"),
        (b"\x89PNG\r\n\x1a\n" + bytes(9), "a PNG image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer.*git lfs pull"),
        (bytes(99), "nothing but zero bytes"),
    ],
)
def test_binary_files_are_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "annotations.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"s\.json: expected text, got {expected}") as caught:
        read_text(path)
    assert "UTF-8" not in str(caught.value)


@pytest.mark.parametrize("text", ["BMW\nMZ\n", "MZ-80", "GIF89", "%PDF is a format", "BZhang"])
def test_text_that_starts_like_a_binary_format_is_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "names.txt"
    path.write_text(text, encoding="utf-8")
    assert read_text(path) == text
    assert kind_of_binary(text.encode()) is None


def test_pluralize() -> None:
    assert [pluralize(n, "image") for n in (0, 1, 1200)] == ["0 images", "1 image", "1,200 images"]
    assert pluralize(2, "class", "classes") == "2 classes"


def test_format_size() -> None:
    assert format_size(1_500_000) == "1.4 MiB"
    assert format_size(3 << 30) == "3,072.0 MiB"
