"""Write the benchmark page's figures, tables and charts from the published results.

    python tests/benchmarks/publish.py

``run.py --publish`` does so by itself after it has put its results in
``docs/benchmarks/results.json``; alone, this is for a change of the page's form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.cases import load_cases
from harness.chart import THEMES, draw
from harness.page import PARTS, figures, parts_of, with_figures
from harness.report import Row, all_rows

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"


def rounded(value: Any) -> Any:
    """Times to four digits: more is noise, and long."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return value


def published(docs: Path) -> tuple[dict[str, Any] | None, list[Row]]:
    """The published report, if there is one, and its rows."""
    path = docs / "benchmarks" / "results.json"
    if not path.exists():
        return None, []
    report = json.loads(path.read_text())
    return report, all_rows(load_cases(HERE / "engines" / "cases.toml"), report["results"])


def one_line_lists(text: str) -> str:
    """JSON with each list of numbers on a line of its own, not each number."""
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
    folder = docs / "benchmarks"
    folder.mkdir(exist_ok=True)
    if report is not None:
        text = one_line_lists(json.dumps(rounded(report), indent=1))
        (folder / "results.json").write_text(text)
    stored, rows = published(docs)
    for title, members in parts_of(rows).items():
        for theme in THEMES:
            if members:
                draw(members, folder / f"{PARTS[title][0]}-{theme}.svg", theme)
    page = docs / "benchmarks.md"
    page.write_text(with_figures(page.read_text(), figures(stored, rows)))


if __name__ == "__main__":
    publish()
