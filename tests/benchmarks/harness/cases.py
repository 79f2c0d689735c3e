"""Benchmark cases, read from ``engines/cases.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

KINDS = ("calls", "first_prediction", "startup")


@dataclass(frozen=True)
class Case:
    """A benchmark case; the file documents the fields."""

    name: str
    kind: str = "calls"
    calls: int = 1
    rounds: int = 9
    processes: int = 1
    at_most: dict[str, float] = field(default_factory=dict)
    peak: dict[str, float] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: kind must be one of {KINDS}, got {self.kind!r}")


def load_cases(path: Path) -> dict[str, Case]:
    """Read all cases by name, in the order of the file.

    Raises
    ------
    TypeError, ValueError
        For a key that there is not, or a value that cannot be; names the case.
    """
    result = {}
    for name, values in tomllib.loads(path.read_text()).items():
        try:
            result[name] = Case(name, **values)
        except TypeError as error:
            raise TypeError(f"{path.name}, {name}: {error}") from None
    return result
