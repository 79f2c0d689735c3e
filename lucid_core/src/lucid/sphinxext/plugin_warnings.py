"""Sphinx warnings about pages of plugins, reported with the plugin's name.

An invalid docstring of any installed plugin must not fail a site, so warnings about plugins that
are not in ``lucid_models_strict`` become reports.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import Any

from docutils import nodes
from sphinx.util.logging import get_node_location, getLogger

__all__ = ["PluginWarnings"]

_log = getLogger(__name__)


class PluginWarnings(logging.Filter):
    """Logging filter that turns warnings about plugins that are not strict into reports.

    Parameters
    ----------
    directory : str
        Folder of the pages, the first part of their document names.
    strict : collection of str
        Distributions whose warnings stay warnings.
    """

    def __init__(self, directory: str, strict: Collection[str]) -> None:
        super().__init__()
        self.strict = set(strict)
        self.plugins: dict[str, tuple[str, str]] = {}
        self.reports: list[str] = []
        # Document name or path of a page, or autodoc's location of a docstring.
        self._page = re.compile(
            rf"(?:^|/){re.escape(directory)}/(?P<page>(?:families/)?[^/]+?)(?:\.rst(?::.*)?)?$"
            r"|docstring of lucid\.models\.(?P<name>\w+)",
            re.DOTALL,
        )

    def add_page(self, model: str, distribution: str, version: str) -> None:
        """Record the plugin of a page."""
        self.plugins[model] = (distribution, version)

    def install(self) -> None:
        """Filter all warnings before Sphinx counts them."""
        for handler in logging.getLogger("sphinx").handlers:
            if handler.level == logging.WARNING:
                handler.filters.insert(0, self)

    def report(self, distribution: str, version: str, message: str, *, where: Any = None) -> None:
        """Report a problem of a plugin: a warning if the plugin is strict, else an info message.

        `where` is a location for Sphinx's loggers; `version` may be empty.
        """
        text = f"plugin {f'{distribution} {version}'.rstrip()}: {message}"
        if distribution in self.strict:
            _log.warning(text, type="lucid", subtype="plugin", location=where)
        else:
            self.reports.append(text)
            _log.info(text, color="red")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a warning stays a warning."""
        location = _text(getattr(record, "location", None))
        match = self._page.search(location)
        if match is None:
            return True
        name = match["page"] or match["name"]
        distribution, version = self.plugins.get(name, ("", ""))
        if not distribution or distribution in self.strict:
            return True
        self.report(distribution, version, f"page of {name}: {record.getMessage()}")
        return False


def _text(location: Any) -> str:
    if isinstance(location, nodes.Node):
        location = get_node_location(location)
    elif isinstance(location, tuple):
        location = location[0]
    return str(location or "").replace("\\", "/")
