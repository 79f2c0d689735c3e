from __future__ import annotations

import os
from pathlib import Path

import pytest

from lucid.data.file_cache import FileCache


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUCID_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_result_is_valid_for_one_size_and_time(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_text("abc")
    other.write_text("abcd")
    FileCache("k", tmp_path).update({file: (file.stat(), [1, "x"])})
    FileCache("k", tmp_path).update({other: (other.stat(), None)})
    again = FileCache("k", tmp_path)
    assert again.get(file, file.stat()) == [1, "x"]
    assert again.get(other, other.stat()) is None
    assert FileCache("l", tmp_path).get(file, file.stat()) is None
    assert again.get(file, other.stat()) is None
    os.utime(file, ns=(0, 1))
    assert again.get(file, file.stat()) is None


def test_old_caches_are_removed(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    for number in range(70):
        FileCache("k", tmp_path / str(number)).update({file: (file.stat(), number)})
    assert len(list((cache / "k").glob("*.json"))) == 65
    assert FileCache("k", tmp_path / "69").get(file, file.stat()) == 69


def test_store_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    file.touch()
    monkeypatch.setenv("LUCID_CACHE_DIR", str(file))
    FileCache("k", tmp_path).update({file: (file.stat(), 1)})
    assert FileCache("k", tmp_path).get(file, file.stat()) is None
