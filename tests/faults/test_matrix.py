"""The table of faults in the documentation refers to existing tests."""

from __future__ import annotations

import ast

import pytest
from matrix import ROOT, rows

ROWS = rows()


def defined(file: str) -> set[str]:
    """Return the test names of a file; methods as ``Class::name``."""
    names = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        # Some are defined only where the system can do what they test.
        for inner in (node, *(node.body if isinstance(node, ast.ClassDef | ast.If) else ())):
            if isinstance(inner, ast.FunctionDef):
                within = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
                names.add(within + inner.name)
    return names


def test_faults_page_has_rows() -> None:
    assert len(ROWS) >= 40


@pytest.mark.parametrize("fault", ROWS)
def test_each_fault_has_existing_tests(fault: str) -> None:
    assert ROWS[fault], "no test"
    for file, name in ROWS[fault]:
        assert name in defined(file), f"{file} has no {name}"
