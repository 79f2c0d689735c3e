"""Warnings about pages of plugins and of the site, by location."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from docutils import nodes

from lucid.sphinxext.plugin_warnings import PluginWarnings


@pytest.fixture
def plugin_warnings() -> PluginWarnings:
    """Filter of a site with one strict plugin and one other plugin."""
    result = PluginWarnings("models", strict=["toy-strict"])
    result.add_page("other_net", "toy-other", "1.0")
    result.add_page("strict_net", "toy-strict", "2.0")
    return result


def stays(plugin_warnings: PluginWarnings, location: Any) -> bool:
    """Whether a warning at a location stays a warning."""
    record = logging.LogRecord("sphinx", logging.WARNING, "", 0, "message %s", ("text",), None)
    record.location = location
    return bool(plugin_warnings.filter(record))


def node_in(page: str) -> nodes.Node:
    node = nodes.paragraph()
    node.source, node.line = f"/site/docs/{page}.rst", 3
    return node


@pytest.mark.parametrize(
    "location",
    [
        "models/other_net",
        "/site/docs/models/other_net.rst:12",
        "C:\\site\\docs\\models\\other_net.rst:12",
        ("models/other_net", 12),
        node_in("models/other_net"),
        "/lib/toy/models.py:docstring of lucid.models.other_net:4",
    ],
)
def test_warning_about_other_plugin_becomes_report(plugin_warnings, location) -> None:
    assert not stays(plugin_warnings, location)
    assert plugin_warnings.reports == ["plugin toy-other 1.0: page of other_net: message text"]


@pytest.mark.parametrize(
    "location",
    [
        "models/strict_net",
        ("models/strict_net", None),
        "docstring of lucid.models.strict_net",
        "models/index",  # a page in the folder that belongs to no plugin
        "guide/other_net",
        "models/deeper/other_net",
        node_in("index"),
        None,
    ],
)
def test_warnings_about_strict_plugin_and_site_stay(plugin_warnings, location) -> None:
    assert stays(plugin_warnings, location)
    assert plugin_warnings.reports == []
