"""What the site says of the code in a picture or a table is so."""

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
    """What a dotted name stands for, a module or an attribute however deep."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:cut]))
        except ImportError:  # lucid.models explains itself for what is no model of its
            continue
        for part in parts[cut:]:
            value = getattr(value, part)
        return value
    raise AssertionError(f"{name} is nowhere")


def names_for_those_who_come() -> list[str]:
    """Every name of Lucid's that docs/migration.md leads to."""
    tables = extension("torch_names").table([*ATTRIBUTES, "keywords"])
    text = (DOCS / "migration.md").read_text(encoding="utf-8") + "\n".join(tables)
    return sorted(set(re.findall(r"\]\((lucid[\w.]+)\)", text)))


@pytest.mark.parametrize("name", names_for_those_who_come())
def test_a_name_that_those_who_come_from_elsewhere_are_told_is_there(name):
    assert resolve(name) is not None


def test_there_are_many_of_them():
    assert len(names_for_those_who_come()) > 70


def test_the_tables_of_the_migration_page_are_those_of_the_errors():
    page = (DOCS / "migration.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```\{torch-names\} (.+)$", page, re.M)
    assert sorted(" ".join(shown).split()) == sorted([*ATTRIBUTES, "keywords"])
    lines = extension("torch_names").table(["Tensor"])
    assert "| `x.dim`, `x.ndimension` | `x.ndim` |" in lines
    assert all(line.count("|") == 3 for line in lines)
    assert len(lines) > 40
