"""Tests of ratios, targets, tables and the page, with values computed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import publish
import pytest
from harness.cases import Case
from harness.page import BEGIN, END, figures, parts_of, with_figures
from harness.report import Row, rows_of, summary, table, time_text

ROOT = Path(__file__).parents[2]


def times(seconds: list[float], apart: float = 0.0, peak: int | None = None) -> dict[str, Any]:
    return {"seconds": seconds, "apart": [apart] * len(seconds), "peak_bytes": peak}


TIMES = {
    "lucid": times([3.0, 4.0, 8.0], apart=1.0, peak=300),
    "pytorch": times([6.0, 10.0, 9.0], apart=2.0, peak=200),
    "onnxruntime": times([6.0, 5.0, 4.0], peak=600),
}
CASE = Case(
    "work",
    at_most={"pytorch": 0.5, "onnxruntime": 0.5},
    peak={"pytorch": 1.0},
    without=["pytorch"],
)


def test_ratios_within_rounds() -> None:
    pytorch, onnxruntime = rows_of(CASE, TIMES)
    # 2/4, 3/8, 7/7 without excluded seconds; 3/6, 4/5, 8/4 with them
    assert pytorch.ratio == (0.5, 0.375, 1.0)
    assert (pytorch.seconds, pytorch.peer_seconds) == (3.0, 7.0)
    assert onnxruntime.ratio == (0.8, 0.5, 2.0)
    assert (onnxruntime.seconds, onnxruntime.peer_seconds) == (4.0, 5.0)
    assert (pytorch.peak, onnxruntime.peak) == (1.5, 0.5)


def test_targets_met_and_missed() -> None:
    pytorch, onnxruntime = rows_of(CASE, TIMES)
    assert pytorch.checks == {"time": True, "memory": False}
    assert pytorch.verdict == "missed: memory"
    assert onnxruntime.verdict == "missed: time"
    assert summary([pytorch, onnxruntime]) == "1 of 3 targets met"
    (free,) = rows_of(Case("work"), {name: TIMES[name] for name in ("lucid", "pytorch")})
    assert free.verdict == ""
    assert summary([free]) == "0 of 0 targets met"


def test_unmeasured_peak_is_neither_met_nor_missed() -> None:
    (row,) = rows_of(CASE, {"lucid": times([1.0]), "pytorch": times([4.0])})
    assert row.peak is None
    assert row.checks == {"time": True}


def test_no_rows_without_lucid_or_peer() -> None:
    assert rows_of(CASE, {"pytorch": TIMES["pytorch"]}) == []
    assert rows_of(CASE, {"lucid": TIMES["lucid"]}) == []


def test_table_names_a_case_once() -> None:
    lines = table(rows_of(CASE, TIMES)).splitlines()
    assert lines[0].split()[:3] == ["case", "compared", "with"]
    assert lines[1].startswith(
        "work  PyTorch, without NMS and RoIAlign  3.00 s  7.00 s  0.50 (0.38"
    )
    assert lines[2].startswith("      ONNX Runtime")
    assert lines[2].endswith("missed: time")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.345, "12.35 s"), (0.25, "250 ms"), (0.0993, "99.3 ms"), (0.0001, "0.1 ms")],
)
def test_units_of_times(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def report_of(results: dict[str, Any]) -> dict[str, Any]:
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "minutes": 7.6,
        "machine": {"processor": "Abacus", "cores": 2, "load_average": [0.25, 0.5, 0.5]},
        "threads": 2,
        "versions": {"lucid": {"numpy": "2.0"}, "pytorch": {"torch": "2.13.0"}},
        "results": results,
    }


def test_page_has_sections_with_and_without_targets() -> None:
    rows: list[Row] = rows_of(CASE, TIMES) + rows_of(Case("layer"), TIMES)
    held, free = parts_of(rows).values()
    assert [row.case for row in held] == ["work"] * 2
    assert [row.case for row in free] == ["layer"] * 2
    text = figures([(report_of({}), rows)])
    assert "Measured on 2026-01-02: Abacus, 2 cores, 2 threads each, load average 0.25" in text
    assert "numpy 2.0, torch 2.13.0. The whole run took 8 minutes. 1 of 3 targets met." in text
    assert "| **missed: memory** |" in text
    assert text.index("networks-light.svg") < text.index("| work |") < text.index("| layer |")


def test_only_text_between_the_markers_is_replaced() -> None:
    page = f"before\n\n{BEGIN}\n\nold\n\n{END}\n\nafter\n"
    assert with_figures(page, "new \\1") == f"before\n\n{BEGIN}\n\nnew \\1\n\n{END}\n\nafter\n"
    with pytest.raises(ValueError, match="once each"):
        with_figures("no marks", "new")


def test_published_run_is_read_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the charts need matplotlib")
    name = "ResNet-50 prediction, 1 x 3 x 224 x 224"
    layer = "average pool, 2048, of 8 x 7 x 7"
    results = {name: TIMES, layer: {**TIMES, "lucid": times([0.123456, 0.2, 0.3])}}
    (tmp_path / "benchmarks.md").write_text(f"{BEGIN}{END}")
    publish.publish(report_of(results), tmp_path)
    folder = tmp_path / "benchmarks" / "abacus"
    stored = json.loads((folder / "results.json").read_text())
    assert stored["results"][layer]["lucid"]["seconds"] == [0.1235, 0.2, 0.3]
    assert stored["results"][name] == TIMES
    assert f"| {name} |" in (tmp_path / "benchmarks.md").read_text()
    for chart in ("networks-light", "networks-dark", "layers-light", "layers-dark"):
        drawn = (folder / f"{chart}.svg").read_text()
        assert "PyTorch" in drawn
        assert "below 1: Lucid is faster" in drawn


def test_publishing_keeps_results_of_other_processors(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the charts need matplotlib")
    (tmp_path / "benchmarks.md").write_text(f"{BEGIN}{END}")
    results = {"average pool, 2048, of 8 x 7 x 7": TIMES}
    later = report_of(results) | {"date": "2026-02-03T04:05:06+00:00"}
    later["machine"] = {**later["machine"], "processor": "Slide(R) Rule 2"}
    publish.publish(later, tmp_path)
    publish.publish(report_of(results), tmp_path)
    found = [report["machine"]["processor"] for report, _ in publish.published(tmp_path)]
    assert found == ["Slide(R) Rule 2", "Abacus"]
    assert (tmp_path / "benchmarks" / "slide-rule-2" / "layers-dark.svg").exists()
    page = (tmp_path / "benchmarks.md").read_text()
    assert page.index("### Slide(R) Rule 2") < page.index("### Abacus")


def test_page_matches_the_published_results() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert page == with_figures(page, figures(publish.published(ROOT / "docs")))
