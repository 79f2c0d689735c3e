"""Requirement of a new plugin on ``lucid-core``."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

import lucid
from lucid.scaffold import core_requirement


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.2.0.dev0", "lucid-core>=0.2.0.dev0,<0.3"),
        ("0.9", "lucid-core>=0.9,<0.10"),
        ("1.4.2", "lucid-core>=1.4.2,<2"),
        ("2.0.0rc1+local.7", "lucid-core>=2.0.0rc1,<3"),
    ],
)
def test_requirement_ends_before_next_breaking_version(version, expected) -> None:
    assert core_requirement(version) == expected


def test_requirement_includes_current_version() -> None:
    requirement = Requirement(core_requirement(lucid.__version__))
    assert requirement.specifier.contains(lucid.__version__, prereleases=True)
