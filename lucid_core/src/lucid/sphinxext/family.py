"""Page of a family of models: common introduction and table of the members."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lucid.sphinxext.docstring import Docstring, escape
from lucid.sphinxext.table import Row, list_table_row

__all__ = ["common_introduction", "family_page", "family_pages"]

#: Folder of the pages, in the folder of model pages.
_FOLDER = "families"


def family_pages(names: Iterable[str]) -> dict[str, str]:
    """Return a unique document name for each family, in the folder of model pages."""
    pages: dict[str, str] = {}
    for name in names:
        if name in pages:
            continue
        stem = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-") or "family"
        page = f"{_FOLDER}/{stem}"
        number = 2
        while page in pages.values():
            page, number = f"{_FOLDER}/{stem}-{number}", number + 1
        pages[name] = page
    return pages


def common_introduction(docstrings: Sequence[Docstring]) -> str:
    """Return the paragraphs common to the introductions of all members.

    Empty for a single member, whose own page has its introduction.
    """
    if len(docstrings) < 2:
        return ""
    first, *others = (doc.introduction.split("\n\n") for doc in docstrings)
    return "\n\n".join(text for text in first if all(text in other for other in others))


def family_page(name: str, introduction: str, members: Sequence[tuple[Row, str]]) -> str:
    """Return the page of a family: title, introduction, table of members and ``toctree``.

    `members` are the row and the plain-text summary of each model.
    """
    title = escape(name)
    plugins = sorted({row.plugin for row, _ in members})
    lines = [title, "=" * len(title), ""]
    if introduction:
        lines += [introduction, ""]
    count = f"{len(members)} model{'s' * (len(members) != 1)}"
    lines += [
        f"{count} from {escape(', '.join(plugins))}.",
        "",
        ".. list-table::",
        "   :class: lucid-family",
        "   :header-rows: 1",
        "",
    ]
    lines += list_table_row(("Model", "Parameters", "Multiply-adds", "Summary"))
    for row, summary in members:
        link = f":doc:`{row.name} <../{row.page}>`"
        lines += list_table_row((link, row.parameters, row.multiply_adds, escape(summary)))
    lines += ["", ".. toctree::", "   :hidden:", ""]
    lines += [f"   ../{row.page}" for row, _ in members]
    return "\n".join(lines) + "\n"
