"""Diagrams and tables of the documentation match the code."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from lucid.torch_names import ATTRIBUTES

DOCS = Path(__file__).parents[2] / "docs"


def extension(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_architecture_diagram_matches_import_contracts():
    module = extension("architecture")
    assert set(module.PACKAGES) == set(module.layers())
    drawn = module.DIAGRAM.read_text(encoding="utf-8")
    assert drawn == module.diagram(), "run: python docs/_ext/architecture.py"


def resolve(name: str) -> object:
    """Resolve a dotted name to a module or attribute."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:cut]))
        except ImportError:  # lucid.models raises its own ImportError for unknown models
            continue
        for part in parts[cut:]:
            value = getattr(value, part)
        return value
    raise AssertionError(f"{name} is nowhere")


def names_for_those_who_come() -> list[str]:
    """Return the names of Lucid in docs/migration.md."""
    tables = extension("torch_names").table([*ATTRIBUTES, "keywords"])
    text = (DOCS / "migration.md").read_text(encoding="utf-8") + "\n".join(tables)
    return sorted(set(re.findall(r"\]\((lucid[\w.]+)\)", text)))


@pytest.mark.parametrize("name", names_for_those_who_come())
def test_names_of_the_migration_page_exist(name):
    assert resolve(name) is not None


def test_migration_page_has_many_names():
    assert len(names_for_those_who_come()) > 70


def test_migration_tables_match_the_error_hints():
    page = (DOCS / "migration.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```\{torch-names\} (.+)$", page, re.M)
    assert sorted(" ".join(shown).split()) == sorted([*ATTRIBUTES, "keywords"])
    lines = extension("torch_names").table(["Tensor"])
    assert "| `x.dim`, `x.ndimension` | `x.ndim` |" in lines
    assert all(line.count("|") == 3 for line in lines)
    assert len(lines) > 40
