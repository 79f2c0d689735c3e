from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lucid.data.fingerprint import (
    content_hashes,
    file_sha256,
    file_sizes,
    fingerprint,
)


def test_file_sizes_by_relative_path(tmp_path: Path) -> None:
    for root in (tmp_path / "here", tmp_path / "moved"):
        (root / "cat" / "more").mkdir(parents=True)
        (root / "cat" / "more" / "1.png").write_bytes(b"12345")
        (root / "dog.png").write_bytes(b"1")
        paths = [root / "dog.png", root / "cat" / "more" / "1.png", root / "dog.png"]
        assert file_sizes(paths, root) == {"dog.png": 1, "cat/more/1.png": 5}
    with pytest.raises(ValueError, match="elsewhere"):
        file_sizes([tmp_path / "here" / "dog.png"], tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="absent"):
        file_sizes([tmp_path / "absent.png"], tmp_path)


def test_symlink_has_the_size_of_its_target(tmp_path: Path) -> None:
    (tmp_path / "target.png").write_bytes(b"123")
    (tmp_path / "link.png").symlink_to("target.png")
    assert file_sizes([tmp_path / "link.png"], tmp_path) == {"link.png": 3}


def test_fingerprint_ignores_order() -> None:
    digest = fingerprint({"a": 1, "b": 2})
    assert digest == fingerprint({"b": 2, "a": 1})
    assert digest == hashlib.sha256(b"a\x001\x00b\x002\x00").hexdigest()
    others = [{"a": 1}, {"a": 2, "b": 1}, {"a": 1, "c": 2}, {"a": 12, "b": 2}, {}]
    assert len({digest, *map(fingerprint, others)}) == 6


def test_file_sha256(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    assert file_sha256(tmp_path / "a.json") == hashlib.sha256(b"{}").hexdigest()


def test_content_hashes_cover_both_ends(tmp_path):
    whole = bytes(range(256)) * 100
    variants = {
        "a": whole,
        "same": whole,
        "head": b"x" + whole[1:],
        "tail": whole[:-1] + b"x",
        "empty": b"",
        "short": b"x",
    }
    for name, content in variants.items():
        (tmp_path / name).write_bytes(content)
    found = content_hashes([tmp_path / name for name in variants], tmp_path)
    assert list(found) == list(variants)
    assert found["a"] == found["same"]
    assert len(set(found.values())) == len(variants) - 1
    with pytest.raises(FileNotFoundError, match="gone"):
        content_hashes([tmp_path / "gone"], tmp_path)
