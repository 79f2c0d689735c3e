"""Text files with and without byte-order marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from lucid.text import decode_text, read_text, text_encoding


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_is_not_part_of_the_text(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("größe\r\nb\rc\n".encode(encoding))
    assert read_text(path) == "größe\nb\nc\n"
    assert text_encoding(path) == encoding
    with open(path, encoding=text_encoding(path)) as file:
        assert file.readline() == "größe\n"


@pytest.mark.parametrize("order", ["le", "be"])
def test_both_byte_orders(tmp_path: Path, order: str) -> None:
    for width in (16, 32):
        path = tmp_path / f"{width}.txt"
        path.write_bytes("\ufeffcat".encode(f"utf-{width}-{order}"))
        assert read_text(path) == "cat"


def test_an_empty_file_is_empty_text(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.touch()
    assert read_text(path) == ""


def test_another_encoding_is_named_with_its_place_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("dog\ncafé\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"names\.txt: expected UTF-8 .* offset 7 ") as caught:
        read_text(path)
    assert "caf\\xe9" in str(caught.value)
    assert "save the file as UTF-8" in str(caught.value)
    with pytest.raises(ValueError, match="x: expected UTF-16 text"):
        decode_text(b"\xff\xfe\x00", "x")
