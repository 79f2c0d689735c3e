"""The directive ``{spellings}``: tables of the names of PyTorch and what to type in Lucid.

Its arguments are keys of :data:`lucid.torch_names.ATTRIBUTES`, or ``keywords``; the rows are
those that the errors at run time come from.
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
    """The lines of a Markdown table, one row for each remedy."""
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
    """A remedy whose code leads to the page of the Lucid name that it begins with."""

    def link(match: re.Match[str]) -> str:
        name = _NAME.match(match[1])
        return f"[{match[0]}]({name[0]})" if name else match[0]

    return re.sub(r"`([^`]+)`", link, remedy)


class Spellings(SphinxDirective):
    """``{spellings} OWNER ...``."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        lines = table(self.arguments[0].split())
        parent = nodes.container(classes=["spellings"])
        self.state.nested_parse(StringList(lines, source="spellings"), self.content_offset, parent)
        return parent.children


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("spellings", Spellings)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
