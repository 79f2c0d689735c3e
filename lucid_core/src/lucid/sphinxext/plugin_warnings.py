"""Whose fault it is: warnings about a plugin's pages, reported under the plugin's name.

A site must not fail because some installed plugin has a docstring that is not
valid markup, so Sphinx's warnings about the page of a plugin that is not among
``lucid_models_strict`` are turned into reports.
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
    """Collects the faults of plugins, and takes those of lenient ones off the warning stream.

    Parameters
    ----------
    directory : str
        Where the pages are, as the first part of their document names.
    strict : collection of str
        Distributions whose faults stay warnings.
    """

    def __init__(self, directory: str, strict: Collection[str]) -> None:
        super().__init__()
        self.strict = set(strict)
        self.plugins: dict[str, tuple[str, str]] = {}
        self.reports: list[str] = []
        # A page by its document name or path, or what autodoc says of a docstring.
        self._page = re.compile(
            rf"(?:^|/){re.escape(directory)}/(?P<page>(?:families/)?[^/]+?)(?:\.rst(?::.*)?)?$"
            r"|docstring of lucid\.models\.(?P<name>\w+)",
            re.DOTALL,
        )

    def add_page(self, model: str, distribution: str, version: str) -> None:
        """Say whose model this is; its page's warnings are looked at from now on."""
        self.plugins[model] = (distribution, version)

    def install(self) -> None:
        """Look at every warning before Sphinx counts it."""
        for handler in logging.getLogger("sphinx").handlers:
            if handler.level == logging.WARNING:
                handler.filters.insert(0, self)

    def report(self, distribution: str, version: str, message: str, *, where: Any = None) -> None:
        """Report a fault of a plugin: a warning if the plugin is strict, else a line of output.

        Parameters
        ----------
        distribution, version : str
            The plugin; its version may be empty.
        message : str
            What is wrong, with the model's name.
        where : optional
            Location in the sense of Sphinx's loggers.
        """
        text = f"plugin {f'{distribution} {version}'.rstrip()}: {message}"
        if distribution in self.strict:
            _log.warning(text, type="lucid", subtype="plugin", location=where)
        else:
            self.reports.append(text)
            _log.info(text, color="red")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a warning is the site's own concern."""
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
