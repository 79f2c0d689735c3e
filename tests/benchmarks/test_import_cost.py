"""Tests of the import benchmark; no time of Lucid is asserted."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def cost() -> ModuleType:
    path = Path(__file__).parent / "import_cost.py"
    spec = importlib.util.spec_from_file_location("import_cost", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_statements_take_turns_and_ratios_are_relative_to_numpy(
    cost: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    taken = dict(zip(cost.LIMITS, (2.0, 3.0, 5.0), strict=True))
    statements: list[str] = []

    def seconds(statement: str, folder: str) -> float:
        statements.append(statement)
        return taken[statement]

    monkeypatch.setattr(cost, "seconds", seconds)
    rows = cost.main(["--rounds", "3", "--json", str(tmp_path / "times.json")])
    assert [row["ratio_of_medians"] for row in rows] == [1.0, 1.5, 2.5]
    assert [row["median_ratio"] for row in rows] == [1.0, 1.5, 2.5]
    first, second, third = taken
    assert statements[3:] == [first, second, third, second, third, first, third, first, second]
    written = json.loads((tmp_path / "times.json").read_text())
    assert written["seconds"][second] == [3.0, 3.0, 3.0]
    assert "medians of 3 interleaved runs" in capsys.readouterr().out


def test_statement_runs_in_its_own_process(cost: ModuleType, tmp_path: Path) -> None:
    napped = cost.seconds("time.sleep(0.05)", str(tmp_path))
    assert 0.05 <= napped < 30
