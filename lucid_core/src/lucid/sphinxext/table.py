"""Table of all models; a script adds sorting and filtering in the browser."""

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
    """Row of the table; counts are empty if the model could not be built."""

    name: str
    task: str
    family: str
    parameters: str
    multiply_adds: str
    plugin: str
    page: str

    @classmethod
    def of(cls, info: ModelInfo, facts: ModelFacts | None) -> Row:
        """Return the row of a model."""
        multiply_adds = facts.multiply_adds if facts else None
        return cls(
            name=info.name,
            task=info.task,
            family=info.family,
            parameters=f"{facts.parameters:,}" if facts else "",
            multiply_adds="" if multiply_adds is None else f"{multiply_adds:,}",
            plugin=info.origin,
            page=page_name(info),
        )


def index_page(rows: Sequence[Row], families: Mapping[str, str] | None = None) -> str:
    """Return the page with the table of all models and the ``toctree``.

    `families` maps families to their pages, which are in the ``toctree`` in place of the models'
    pages.
    """
    if not rows:
        return (
            "Models\n======\n\nNo models are installed.  Install some with "
            "``pip install lucid-models-classification``.\n"
        )
    plugins = len({row.plugin for row in rows})
    count = f"{len(rows)} model{'s' * (len(rows) != 1)}"
    source = f"{plugins} plugin{'s' * (plugins != 1)}"
    lines = [
        "Models",
        "======",
        "",
        f"{count} from {source}.  Parameters and multiply-adds (at the default input shape) are",
        "counted on the models when the documentation is built.",
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
        cells = (link, escape(row.task), family, row.parameters, row.multiply_adds)
        lines += list_table_row((*cells, escape(row.plugin)))
    lines += ["", ".. toctree::", "   :hidden:", ""]
    lines += [f"   {page}" for page in families.values() or (row.page for row in rows)]
    return "\n".join(lines) + "\n"


def list_table_row(texts: Sequence[str]) -> list[str]:
    """Return the lines of one row of a ``list-table``."""
    return [f"   {'* -' if i == 0 else '  -'} {text}".rstrip() for i, text in enumerate(texts)]
