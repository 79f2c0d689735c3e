from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lucid.data.identity import (
    file_digest,
    identities_digest,
    image_contents,
    image_identities,
    image_identity,
)


def test_an_image_is_its_relative_path_and_its_size(tmp_path: Path) -> None:
    for root in (tmp_path / "here", tmp_path / "moved"):
        (root / "cat" / "more").mkdir(parents=True)
        (root / "cat" / "more" / "1.png").write_bytes(b"12345")
        (root / "dog.png").write_bytes(b"1")
        assert image_identity(root / "cat" / "more" / "1.png", root) == ("cat/more/1.png", 5)
        paths = [root / "dog.png", root / "cat" / "more" / "1.png", root / "dog.png"]
        assert image_identities(paths, root) == {"dog.png": 1, "cat/more/1.png": 5}
    with pytest.raises(ValueError, match="elsewhere"):
        image_identity(tmp_path / "here" / "dog.png", tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="absent"):
        image_identity(tmp_path / "absent.png", tmp_path)


def test_a_link_has_the_size_of_its_target(tmp_path: Path) -> None:
    (tmp_path / "target.png").write_bytes(b"123")
    (tmp_path / "link.png").symlink_to("target.png")
    assert image_identity(tmp_path / "link.png", tmp_path) == ("link.png", 3)


def test_digests_of_identities() -> None:
    digest = identities_digest({"a": 1, "b": 2})
    assert digest == identities_digest({"b": 2, "a": 1})
    assert digest == hashlib.sha256(b"a\x001\x00b\x002\x00").hexdigest()
    others = [{"a": 1}, {"a": 2, "b": 1}, {"a": 1, "c": 2}, {"a": 12, "b": 2}, {}]
    assert len({digest, *map(identities_digest, others)}) == 6


def test_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    assert file_digest(tmp_path / "a.json") == hashlib.sha256(b"{}").hexdigest()


def test_contents_are_told_apart_by_their_ends(tmp_path):
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
    found = image_contents([tmp_path / name for name in variants], tmp_path)
    assert list(found) == list(variants)
    assert found["a"] == found["same"]
    assert len(set(found.values())) == len(variants) - 1
    with pytest.raises(FileNotFoundError, match="gone"):
        image_contents([tmp_path / "gone"], tmp_path)
