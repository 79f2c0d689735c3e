"""Class names."""

from pathlib import Path

import pytest

from lucid.class_names import check_repeated_names, read_class_names


def test_read_class_names(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xef\xbb\xbfcat\r\n\r\n polar bear \nN/A\nN/A\n")
    assert read_class_names(path) == ("cat", "polar bear", "N/A", "N/A")


def test_repeated_name_raises(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("crane\ncat\nCrane\ncrane\ncrane \n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"names\.txt: .* got 'crane' for classes 0, 3, 4; rename"):
        read_class_names(path)
    assert read_class_names(path, unique=False) == ("crane", "cat", "Crane", "crane", "crane")


def test_at_most_five_repeated_names_are_listed() -> None:
    names = [str(number) for number in range(7)] * 2
    with pytest.raises(ValueError, match=r"'4' for classes 4, 11 and 2 more") as error:
        check_repeated_names(names, "class_names")
    assert "'5'" not in str(error.value)
