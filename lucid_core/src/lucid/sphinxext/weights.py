"""Published weights that plugins register: the directive ``lucid-weights`` and rows of tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from docutils.nodes import Node
from sphinx.util.docutils import SphinxDirective

from lucid.errors import PluginError, UnknownModelError
from lucid.sphinxext.docstring import escape
from lucid.sphinxext.page import page_name
from lucid.sphinxext.table import list_table_row

if TYPE_CHECKING:
    from lucid.models.discovery import Plugin
    from lucid.weights import CatalogEntry

__all__ = ["WeightsTable", "collect_weights", "weights_table"]

_HEADER = ("Model", "Tag", "Metrics", "MiB", "License", "Source")


class WeightsTable(SphinxDirective):
    """Directive ``lucid-weights``: table of the weights of ``lucid_models_plugins``."""

    def run(self) -> list[Node]:
        """Return the table; the page is read again at the next build."""
        self.env.note_reread()
        entries, _ = collect_weights(self.config.lucid_models_plugins)
        folder = self.config.lucid_models_dir.strip("/")
        pages = {entry.model: f"{folder}/{_page_of(entry.model)}" for entry in entries}
        found = {model: f"/{page}" for model, page in pages.items() if page in self.env.found_docs}
        nodes: list[Node] = self.parse_text_to_nodes(weights_table(entries, found))
        return nodes


def collect_weights(
    plugins: Collection[str] | None,
) -> tuple[list[CatalogEntry], list[tuple[Plugin, str]]]:
    """Return the weights of the distributions `plugins` (None: all), by model, and failed plugins.

    A failed plugin comes with the text of the error of its hook.
    """
    from lucid.models import zoo
    from lucid.models.discovery import describe_error
    from lucid.models.info import natural_key
    from lucid.weights.catalog import plugin_weights

    entries: list[CatalogEntry] = []
    failed: list[tuple[Plugin, str]] = []
    for plugin in zoo.registry.loaded_plugins():
        if plugins is not None and plugin.entry_point.distribution not in plugins:
            continue
        try:
            entries += plugin_weights(plugin)
        except Exception as error:  # errors in plugins must not end the build
            failed.append((plugin, describe_error(error)))
    return sorted(entries, key=lambda entry: natural_key(entry.model)), failed


def weights_table(entries: Sequence[CatalogEntry], pages: Mapping[str, str]) -> str:
    """Return the table in reStructuredText.

    `pages` maps names of models to documents; other names are not linked.
    """
    if not entries:
        return "No plugin registers weights."
    lines = [".. list-table::", "   :class: lucid-weights", "   :header-rows: 1", ""]
    lines += list_table_row(_HEADER)
    for entry in entries:
        name = escape(entry.model)
        lines += list_table_row(
            (
                f":doc:`{name} <{pages[entry.model]}>`" if entry.model in pages else name,
                f"``{entry.tag}``{' (default)' * entry.default}",
                # One per line, indented like the cell.
                "\n       ".join(f"| {escape(name)} {x}" for name, x in entry.metrics.items()),
                f"{entry.size / 2**20:,.1f}",
                escape(entry.license),
                f"`{escape(entry.source)} <{entry.url}>`__",
            )
        )
    return "\n".join(lines)


def _page_of(model: str) -> str:
    from lucid.models import model_info

    try:
        return page_name(model_info(model))
    except (UnknownModelError, PluginError):
        return ""
