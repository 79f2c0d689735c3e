"""The page of a family of models: what its members have in common, and in what they differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lucid.sphinxext.docstring import Docstring, escape
from lucid.sphinxext.table import Row, list_table_row

__all__ = ["common_introduction", "family_page", "family_pages"]

#: Folder of these pages, below that of the models' pages.
_FOLDER = "families"


def family_pages(names: Iterable[str]) -> dict[str, str]:
    """Choose a page for every family.

    Parameters
    ----------
    names : iterable of str
        Families, with repetitions; any text is a name.

    Returns
    -------
    dict of str to str
        For each family its page, below the folder of the models' pages, in the
        order in which they came; no two families have the same one.
    """
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
    """The paragraphs that stand in the introduction of every member of a family.

    Parameters
    ----------
    docstrings : sequence of Docstring
        Those of the members.

    Returns
    -------
    str
        The paragraphs in their order; empty for a family of one, whose own page
        says it all.
    """
    if len(docstrings) < 2:
        return ""
    first, *others = (doc.introduction.split("\n\n") for doc in docstrings)
    return "\n\n".join(text for text in first if all(text in other for other in others))


def family_page(name: str, introduction: str, members: Sequence[tuple[Row, str]]) -> str:
    """The page of one family, in reStructuredText.

    Parameters
    ----------
    name : str
        Of the family.
    introduction : str
        What holds for all members, in reStructuredText; may be empty.
    members : sequence of (Row, str)
        Each model's line of the table, and its summary as plain text.

    Returns
    -------
    str
        Title, introduction, a table of the members, and the ``toctree`` that holds
        their pages.
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
    lines += list_table_row(("Model", "Parameters", "Multiply-adds", "In a line"))
    for row, summary in members:
        link = f":doc:`{row.name} <../{row.page}>`"
        lines += list_table_row((link, row.parameters, row.multiply_adds, escape(summary)))
    lines += ["", ".. toctree::", "   :hidden:", ""]
    lines += [f"   ../{row.page}" for row, _ in members]
    return "\n".join(lines) + "\n"
