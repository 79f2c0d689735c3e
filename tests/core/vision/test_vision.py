"""The public names of lucid.vision."""

from __future__ import annotations

import pytest

import lucid
from lucid import vision


def test_public_names_can_be_imported_and_are_listed() -> None:
    for name in vision.__all__:
        assert getattr(vision, name) is not None
    assert set(vision.__all__) <= set(dir(vision))
    assert "vision" in dir(lucid)


def test_unknown_attribute_raises() -> None:
    with pytest.raises(AttributeError, match=r"lucid\.vision.* no attribute 'read_video'"):
        vision.read_video  # noqa: B018
