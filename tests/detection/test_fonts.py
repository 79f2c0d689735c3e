"""Class names with characters missing in Pillow's own font."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from lucid.errors import LucidWarning
from lucid_models_detection import fonts
from lucid_models_detection.draw import draw_boxes


@pytest.fixture
def font_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """List of system fonts, initially empty."""
    files: list[str] = []
    monkeypatch.setattr(fonts, "_system_fonts", lambda: tuple(files))
    caches = (fonts._find_font, fonts._warn, fonts._open)
    for cache in caches:
        cache.cache_clear()
    yield files
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def dejavu(font_files: list[str], tmp_path: Path) -> str:
    matplotlib = pytest.importorskip("matplotlib")
    path = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    damaged = tmp_path / "damaged.ttf"
    damaged.write_bytes(b"no font")
    font_files += [str(damaged), path]
    return path


def drawn(name: str) -> np.ndarray:
    image = np.full((3, 40, 160), 0.4, np.float32)
    box, label, score = np.array([[5, 25, 150, 38.0]]), np.array([1]), np.array([0.9])
    options = {"class_names": ("background", name), "font_size": 14}
    return np.asarray(draw_boxes(image, box, label, score, **options))


def test_latin_text_uses_pillows_font(font_files: list[str]) -> None:
    text, font = fonts.choose_font("cat (big)  0.90", 12)
    assert text == "cat (big)  0.90"
    assert font.getname() == ImageFont.load_default(12).getname()


@pytest.mark.parametrize(("one", "other"), [("éüñ", "àöß"), ("αβγ", "δεζ"), ("абв", "где")])
def test_font_with_the_characters_is_selected(dejavu: str, one: str, other: str) -> None:
    text, font = fonts.choose_font(one, 14)
    assert (text, font.path) == (one, dejavu)
    assert not np.array_equal(drawn(one), drawn(other))


def test_missing_characters_become_escapes_with_one_warning(font_files: list[str]) -> None:
    with pytest.warns(LucidWarning, match=r"no font of this system has 犬 猫"):
        assert fonts.choose_font("猫犬 cat", 14)[0] == r"\u732b\u72ac cat"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.array_equal(drawn("猫犬"), drawn("犬猫"))


def test_font_with_most_characters_is_selected(dejavu: str) -> None:
    with pytest.warns(LucidWarning, match="has 猫;"):
        text, font = fonts.choose_font("猫 é", 14)
    assert (text, font.path) == (r"\u732b é", dejavu)


def test_combining_and_control_characters(dejavu: str) -> None:
    assert fonts.choose_font("cafe\u0301", 14)[0] == "café"
    assert fonts.choose_font("a\nb\x1b[31m\udcff", 14)[0] == r"a\nb\x1b[31m\udcff"


def test_system_fonts_are_sorted_upright_sans_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("XSans-Bold.ttf", "YSans.TTF", "deep/Z.otc", "deep/Serif.otf", "NotoColorEmoji.ttf",
             "LastResort.otf", "A.ttf")  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(fonts, "_font_folders", lambda: iter([str(tmp_path), "/nonexistent"]))
    found = fonts._system_fonts.__wrapped__()
    assert [Path(path).name for path in found] == [
        "YSans.TTF", "A.ttf", "XSans-Bold.ttf", "Serif.otf",
    ]  # fmt: skip


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_font_folders_per_platform(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr("sys.platform", platform)
    assert any("ont" in folder for folder in fonts._font_folders())
