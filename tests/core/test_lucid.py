"""Lazy names of the ``lucid`` module."""

from __future__ import annotations

import pytest

import lucid


def test_every_public_name_exists() -> None:
    names = dir(lucid)
    assert names == sorted(set(names))
    assert set(lucid.__all__) <= set(names)
    assert len(set(lucid.__all__)) == len(lucid.__all__)
    for name in lucid.__all__:
        assert getattr(lucid, name) is getattr(lucid, name)


def test_unknown_name_raises() -> None:
    assert "relu6" not in dir(lucid)
    with pytest.raises(AttributeError, match="module 'lucid' has no attribute 'relu6'"):
        _ = lucid.relu6
