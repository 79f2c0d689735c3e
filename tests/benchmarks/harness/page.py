"""The generated section of ``docs/benchmarks.md``: results of the published runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.report import HEADER, LABELS, Row, cells, environment_text, summary

BEGIN = "<!-- figures: written by tests/benchmarks/publish.py, changes here are lost -->"
END = "<!-- end of figures -->"
_NOTHING = "No run has been published yet."
#: A report and its rows.
Published = tuple[Mapping[str, Any], Sequence[Row]]
#: Title of a section, name of its chart, and the chart's alt text.
PARTS = {
    "Networks, operators and startup": (
        "networks",
        "Lucid's time as a share of each peer's, with the range over the rounds and the targets",
    ),
    "Layers alone": (
        "layers",
        "Lucid's time as a share of PyTorch's for single layers, with the range over the rounds",
    ),
}


def parts_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Group rows by section: cases with a target, and the others."""
    held = {row.case for row in rows if row.checks}
    first, second = PARTS
    return {
        first: [row for row in rows if row.case in held],
        second: [row for row in rows if row.case not in held],
    }


def markdown_table(rows: Sequence[Row]) -> str:
    lines = [HEADER, ("---", "---", *["--:"] * 6, "---")]
    previous = None
    for row in rows:
        name, *others, verdict = cells(row)
        # Missed targets are bold.
        shown = f"**{verdict}**" if verdict.startswith("missed") else verdict
        lines.append(("" if name == previous else name, *others, shown))
        previous = name
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def about(report: Mapping[str, Any]) -> str:
    versions = {}
    for engine, found in report["versions"].items():
        if engine in LABELS:
            versions |= found
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured on {report['date'][:10]}: {environment_text(report)}. {listed}. "
        f"The whole run took {report['minutes']:.0f} minutes."
    )


def folder_name(report: Mapping[str, Any]) -> str:
    """Folder of a processor's results: its name in lowercase, joined by hyphens."""
    name = re.sub(r"\((R|TM)\)", "", report["machine"]["processor"])
    return re.sub(r"\W+", "-", name.lower()).strip("-")


def charts(folder: str, name: str, alt: str) -> str:
    return "\n\n".join(
        f"```{{image}} benchmarks/{folder}/{name}-{theme}.svg\n"
        f":class: only-{theme}\n:alt: {alt}\n```"
        for theme in ("light", "dark")
    )


def figures(reports: Sequence[Published]) -> str:
    """Markdown between the two markers: one section per processor."""
    text = []
    for report, rows in reports:
        text += [f"### {report['machine']['processor']}"]
        text += [f"{about(report)} {summary(rows).capitalize()}."]
        for title, members in parts_of(rows).items():
            if members:
                images = charts(folder_name(report), *PARTS[title])
                text += [f"#### {title}", images, markdown_table(members)]
    return "\n\n".join(text) or _NOTHING


def with_figures(page: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """Replace the text between the two markers of a page.

    Raises
    ------
    ValueError
        If the page lacks the marks.
    """
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise ValueError(f"the page should have {begin!r} and {end!r}, once each")
    return pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", page)
