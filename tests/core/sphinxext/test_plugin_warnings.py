"""Which warnings are a plugin's and which the site's, by where they point."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from docutils import nodes

from lucid.sphinxext.plugin_warnings import PluginWarnings


@pytest.fixture
def plugin_warnings() -> PluginWarnings:
    """Those of a site with a page of a lenient plugin and one of a strict one."""
    result = PluginWarnings("models", strict=["toy-strict"])
    result.add_page("lenient_net", "toy-lenient", "1.0")
    result.add_page("strict_net", "toy-strict", "2.0")
    return result


def stays(plugin_warnings: PluginWarnings, location: Any) -> bool:
    """Whether a warning there remains one."""
    record = logging.LogRecord("sphinx", logging.WARNING, "", 0, "what %s", ("now",), None)
    record.location = location
    return bool(plugin_warnings.filter(record))


def node_in(page: str) -> nodes.Node:
    node = nodes.paragraph()
    node.source, node.line = f"/site/docs/{page}.rst", 3
    return node


@pytest.mark.parametrize(
    "location",
    [
        "models/lenient_net",
        "/site/docs/models/lenient_net.rst:12",
        "C:\\site\\docs\\models\\lenient_net.rst:12",
        ("models/lenient_net", 12),
        node_in("models/lenient_net"),
        "/lib/toy/models.py:docstring of lucid.models.lenient_net:4",
    ],
)
def test_a_lenient_plugins_page_gives_a_report(plugin_warnings, location) -> None:
    assert not stays(plugin_warnings, location)
    assert plugin_warnings.reports == ["plugin toy-lenient 1.0: page of lenient_net: what now"]


@pytest.mark.parametrize(
    "location",
    [
        "models/strict_net",
        ("models/strict_net", None),
        "docstring of lucid.models.strict_net",
        "models/index",  # a page of the folder that is no plugin's
        "guide/lenient_net",
        "models/deeper/lenient_net",
        node_in("index"),
        None,
    ],
)
def test_a_strict_plugins_page_and_the_sites_own_stay_warnings(plugin_warnings, location) -> None:
    assert stays(plugin_warnings, location)
    assert plugin_warnings.reports == []
