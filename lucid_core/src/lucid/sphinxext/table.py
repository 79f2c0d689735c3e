"""The table of all models: useful as it stands, sorted and filtered in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lucid.sphinxext.page import page_name

if TYPE_CHECKING:
    from lucid.models import ModelInfo
    from lucid.sphinxext.page import ModelFacts

__all__ = ["Row", "index_page"]

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


def index_page(rows: Sequence[Row]) -> str:
    """The page that lists every model and holds their pages together.

    Parameters
    ----------
    rows : sequence of Row
        In the order of the table.

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
    lines += _cells(_HEADER)
    for row in rows:
        link = f":doc:`{row.name} <{row.page}>`"
        cells = (link, row.task, row.family, row.parameters, row.multiply_adds, row.plugin)
        lines += _cells(cells)
    lines += ["", ".. toctree::", "   :hidden:", ""]
    lines += [f"   {row.page}" for row in rows]
    return "\n".join(lines) + "\n"


def _cells(cells: Sequence[str]) -> list[str]:
    return [f"   {'* -' if i == 0 else '  -'} {cell}".rstrip() for i, cell in enumerate(cells)]
