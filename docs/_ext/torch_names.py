"""Sphinx directive ``{torch-names}``: tables of PyTorch names and their equivalents in Lucid.

Arguments are keys of :data:`lucid.torch_names.ATTRIBUTES`, or ``keywords``.  The run-time hints
use the same data.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from lucid.torch_names import ATTRIBUTES, KEYWORDS, ORIGINS, ORIGINS_OF

_NAME = re.compile(r"lucid(?:\.\w+)+")


def table(owners: list[str]) -> list[str]:
    """Return the lines of a Markdown table with one row per remedy."""
    rows: dict[str, list[str]] = {}
    for owner in owners:
        if owner == "keywords":
            for name, remedy in KEYWORDS.items():
                shown = f"`{remedy}=`" if remedy.isidentifier() else remedy
                rows.setdefault(shown, []).append(f"`{name}=`")
            continue
        for name, remedy in ATTRIBUTES[owner].items():
            origin = ORIGINS_OF.get((owner, name), ORIGINS[owner])
            rows.setdefault(remedy, []).append(f"`{origin}.{name}`")
    lines = ["| PyTorch | Lucid |", "|---|---|"]
    return lines + [f"| {', '.join(names)} | {linked(text)} |" for text, names in rows.items()]


def linked(remedy: str) -> str:
    """Link code in a remedy to the page of the Lucid name that it begins with."""

    def link(match: re.Match[str]) -> str:
        name = _NAME.match(match[1])
        return f"[{match[0]}]({name[0]})" if name else match[0]

    return re.sub(r"`([^`]+)`", link, remedy)


class TorchNames(SphinxDirective):
    """Directive ``{torch-names} OWNER ...``."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        lines = table(self.arguments[0].split())
        parent = nodes.container(classes=["torch-names"])
        self.state.nested_parse(StringList(lines, source="names"), self.content_offset, parent)
        return parent.children


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("torch-names", TorchNames)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
