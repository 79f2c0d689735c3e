"""Write the tables and charts of the benchmark page from the published results.

    python tests/benchmarks/publish.py

``run.py --publish`` calls this after writing ``docs/benchmarks/PROCESSOR/results.json``.  Run it
alone after changing the format of the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.cases import load_cases
from harness.chart import THEMES, draw
from harness.page import PARTS, Published, figures, folder_name, parts_of, with_figures
from harness.report import all_rows

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"


def rounded(value: Any) -> Any:
    """Round times to four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return value


def published(docs: Path) -> list[Published]:
    """Published reports with rows, one per processor, latest first."""
    cases = load_cases(HERE / "engines" / "cases.toml")
    reports = [json.loads(path.read_text()) for path in docs.glob("benchmarks/*/results.json")]
    reports.sort(key=lambda report: report["date"], reverse=True)
    return [(report, all_rows(cases, report["results"])) for report in reports]


def one_line_lists(text: str) -> str:
    """Format JSON with each list of numbers on one line."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if inside:
            lines[-1] += line.strip() + ("" if line.strip().startswith("]") else " ")
        else:
            lines.append(line)
        if line.rstrip().endswith("["):
            inside = True
        elif line.strip().rstrip(",") == "]":
            inside = False
    return "\n".join(line.replace(" ]", "]") for line in lines) + "\n"


def publish(report: Mapping[str, Any] | None = None, docs: Path = DOCS) -> None:
    """Write results (if given), charts and page."""
    if report is not None:
        folder = docs / "benchmarks" / folder_name(report)
        folder.mkdir(parents=True, exist_ok=True)
        text = one_line_lists(json.dumps(rounded(report), indent=1))
        (folder / "results.json").write_text(text)
    reports = published(docs)
    for stored, rows in reports:
        for title, members in parts_of(rows).items():
            for theme in THEMES:
                if members:
                    chart = f"{folder_name(stored)}/{PARTS[title][0]}-{theme}.svg"
                    draw(members, docs / "benchmarks" / chart, theme)
    page = docs / "benchmarks.md"
    page.write_text(with_figures(page.read_text(), figures(reports)))


if __name__ == "__main__":
    publish()
