"""The table of all models: useful as it stands, sorted and filtered in the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lucid.sphinxext.docstring import escape
from lucid.sphinxext.page import page_name

if TYPE_CHECKING:
    from lucid.models import ModelInfo
    from lucid.sphinxext.page import ModelFacts

__all__ = ["Row", "index_page", "list_table_row"]

_HEADER = ("Model", "Task", "Family", "Parameters", "Multiply-adds", "Plugin")


@dataclass(frozen=True)
class Row:
    """A line of the table; empty cells where a model could not be built."""

    name: str
    task: str
    family: str
    parameters: str
    multiply_adds: str
    plugin: str
    page: str

    @classmethod
    def of(cls, info: ModelInfo, facts: ModelFacts | None) -> Row:
        """The line of a model, from what was gathered by building it."""
        counted = facts.multiply_adds if facts else None
        return cls(
            name=info.name,
            task=info.task,
            family=info.family,
            parameters=f"{facts.parameters:,}" if facts else "",
            multiply_adds="" if counted is None else f"{counted:,}",
            plugin=info.origin,
            page=page_name(info),
        )


def index_page(rows: Sequence[Row], families: Mapping[str, str] | None = None) -> str:
    """The page that lists every model and holds their pages together.

    Parameters
    ----------
    rows : sequence of Row
        In the order of the table.
    families : mapping of str to str, optional
        The page of each family, below the folder of this one; these hold the pages
        of their members.  Without them this page does.

    Returns
    -------
    str
        The page, in reStructuredText.
    """
    if not rows:
        return (
            "Models\n======\n\nNo plugin is installed, so there are no models.  "
            "``pip install lucid-models-classification`` brings some.\n"
        )
    plugins = len({row.plugin for row in rows})
    count = f"{len(rows)} model{'s' * (len(rows) != 1)}"
    source = f"{plugins} plugin{'s' * (plugins != 1)}"
    lines = [
        "Models",
        "======",
        "",
        f"{count} from {source}.  Parameters are counted, and multiply-adds measured at the",
        "default input shape, on the models as this build made them.",
        "",
        ".. list-table::",
        "   :class: lucid-models",
        "   :header-rows: 1",
        "",
    ]
    families = families or {}
    lines += list_table_row(_HEADER)
    for row in rows:
        family = escape(row.family)
        if row.family in families:
            family = f":doc:`{family} <{families[row.family]}>`"
        link = f":doc:`{row.name} <{row.page}>`"
        shown = (link, escape(row.task), family, row.parameters, row.multiply_adds)
        lines += list_table_row((*shown, escape(row.plugin)))
    lines += ["", ".. toctree::", "   :hidden:", ""]
    lines += [f"   {page}" for page in families.values() or (row.page for row in rows)]
    return "\n".join(lines) + "\n"


def list_table_row(texts: Sequence[str]) -> list[str]:
    """The lines of one row of a ``list-table``."""
    return [f"   {'* -' if i == 0 else '  -'} {text}".rstrip() for i, text in enumerate(texts)]
