"""Images are checked by their headers and ends, and results are kept until files change."""

from __future__ import annotations

import io
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lucid.vision import (
    CheckedImage,
    ImageHeader,
    check,
    check_images,
    find_duplicates,
    read_image,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUCID_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def noise(path: Path, seed: int = 0, size: tuple[int, int] = (64, 48), **save: object) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, **save)
    return path


def checked(path: Path) -> CheckedImage:
    return check_images([path], path.parent)[path]


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "bmp", "tif", "ppm", "jp2"])
def test_truncated_files_are_detected(tmp_path: Path, suffix: str) -> None:
    whole = noise(tmp_path / f"whole.{suffix}")
    result = checked(whole)
    assert (result.header, result.problem) == (ImageHeader(64, 48), None)
    assert result.bytes == whole.stat().st_size
    content = whole.read_bytes()
    for share in (0.5, 0.9):
        cut = tmp_path / f"cut{share}.{suffix}"
        cut.write_bytes(content[: int(len(content) * share)])
        problem = None
        try:
            read_image(cut)
        except ValueError as error:
            problem = str(error).removeprefix(f"{cut}: ")
        assert checked(cut).problem == problem
    padded = tmp_path / f"padded.{suffix}"
    padded.write_bytes(content + b"\0" * 100 + b"trailer")
    assert checked(padded).problem is None


def test_only_files_with_an_odd_end_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import ImageFile

    decoded: list[str] = []
    load = ImageFile.ImageFile.load

    def counting(self: ImageFile.ImageFile) -> object:
        decoded.append(str(self.format))
        return load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counting)
    paths = [noise(tmp_path / f"a.{suffix}") for suffix in ("jpg", "png", "gif", "webp", "bmp")]
    check_images(paths, tmp_path)
    assert decoded == []
    with open(paths[0], "ab") as file:
        file.write(b"trailer")
    assert checked(paths[0]).problem is None
    assert decoded == ["JPEG"]


def test_orientation_and_mode(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = checked(noise(tmp_path / "a.jpg", exif=exif))
    assert turned.header == ImageHeader(64, 48, 6)
    assert turned.header is not None
    assert turned.header.size == (48, 64)
    Image.new("I;16", (4, 4)).save(tmp_path / "b.png")
    assert checked(tmp_path / "b.png").mode == "I;16"


def test_late_exif_of_a_png_is_found(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    early = noise(tmp_path / "early.png", exif=exif).read_bytes()
    start = early.index(b"eXIf") - 4
    length = 12 + int.from_bytes(early[start : start + 4])
    chunk, end = early[start : start + length], early[-12:]
    late = tmp_path / "late.png"
    late.write_bytes(early[:start] + early[start + length : -12] + chunk + end)
    result = checked(late)
    assert result.header is not None
    assert result.header.size == (48, 64) == read_image(late).shape[:0:-1]


def test_unreadable_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "folder.png").mkdir()
    paths = [tmp_path / name for name in ("empty.png", "text.png", "absent.png", "folder.png")]
    paths.append(tmp_path / ("x" * 300 + ".png"))
    results = check_images(paths, tmp_path)
    assert [result.header for result in results.values()] == [None] * 5
    assert [result.missing for result in results.values()] == [False, False, True, False, True]
    problems = [str(result.problem) for result in results.values()]
    assert problems[0] == "an empty file"
    assert "not an image" in problems[1]
    assert problems[2] == "no such file"


def test_limit_on_pixels_is_not_kept_with_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = noise(tmp_path / "large.png")
    for limit in ("1000", "10000", "1000"):
        monkeypatch.setenv("LUCID_MAX_PIXELS", limit)
        problem = check_images([large], tmp_path)[large].problem
        assert (problem is None) == (limit == "10000")
        assert problem is None or "--max-pixels" in problem


def test_cached_results_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = noise(tmp_path / "a.png"), tmp_path / "b.png"
    bad.write_bytes(good.read_bytes()[:100])
    first = check_images([good, bad], tmp_path)
    opened: list[Path] = []
    original = check._checked_header

    def counting(file: io.BufferedReader) -> object:
        opened.append(Path(file.name))
        return original(file)

    monkeypatch.setattr(check, "_checked_header", counting)
    assert check_images([good, bad], tmp_path) == first
    assert opened == []
    noise(bad, seed=1)
    assert check_images([good, bad], tmp_path)[bad].problem is None
    assert opened == [bad]
    os.utime(good, ns=(0, time.time_ns() - 10**9))  # the same size
    check_images([good, bad], tmp_path)
    assert opened == [bad, good]


def test_damaged_or_unwritable_cache_is_ignored(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = noise(tmp_path / "a.png")
    expected = checked(path)
    (file,) = (cache / "image-headers-1").iterdir()
    for content in (b"{", b"[]", b'{"files": 1}', file.read_bytes().replace(b"64", b'"x"')):
        file.write_bytes(content)
        assert checked(path) == expected
    monkeypatch.setenv("LUCID_CACHE_DIR", str(path))  # no folder
    assert checked(path) == expected


def test_equal_files_are_found(tmp_path: Path) -> None:
    large = noise(tmp_path / "a.png", size=(200, 200))
    content = large.read_bytes()
    near = bytearray(content)
    near[8000] ^= 1  # between the parts that a fingerprint is made of
    (tmp_path / "b.png").write_bytes(content)
    (tmp_path / "c.png").write_bytes(near)
    small = [noise(tmp_path / f"{i}.png", seed=i % 2, size=(8, 8)) for i in range(3)]
    paths = [large, tmp_path / "b.png", tmp_path / "c.png", *small]
    groups = [set(group) for group in find_duplicates(check_images(paths, tmp_path))]
    assert groups == [{large, tmp_path / "b.png"}, {small[0], small[2]}]


def test_filters_of_warnings_stay_as_they_were(tmp_path: Path) -> None:
    before = list(warnings.filters)
    check_images([noise(tmp_path / f"{i}.png", seed=i) for i in range(100)], tmp_path)
    assert warnings.filters == before


def test_links_to_missing_files_and_pipes(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link.png", tmp_path / "pipe.png"
    link.symlink_to("nowhere.png")
    os.mkfifo(pipe)
    found = checked(link)
    assert (found.missing, found.problem) == (True, "broken symlink")
    found = checked(pipe)
    assert (found.header, found.problem) == (None, "expected an image file, got a named pipe")


def test_one_path_in_place_of_several_is_rejected(tmp_path: Path) -> None:
    for path in (tmp_path / "1.png", "1.png"):
        with pytest.raises(TypeError, match=r"paths: expected an iterable of paths, .*1\.png"):
            check_images(path, tmp_path)
