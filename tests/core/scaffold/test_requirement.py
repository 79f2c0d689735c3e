"""The range of cores for a plugin written today."""

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
def test_up_to_the_next_that_may_break_something(version, expected) -> None:
    assert core_requirement(version) == expected


def test_the_running_version_is_in_its_range() -> None:
    requirement = Requirement(core_requirement(lucid.__version__))
    assert requirement.specifier.contains(lucid.__version__, prereleases=True)
