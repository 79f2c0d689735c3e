"""An environment in which distributions come and go: what they need stays, ours are put in."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest


class Site:
    """The session's environment, with none of our distributions in it to begin with."""

    def __init__(self, installed: Any, wheelhouse: Path) -> None:
        self.installed = installed
        self.wheelhouse = wheelhouse
        ours = {path.name.partition("-")[0].replace("_", "-") for path in wheelhouse.glob("*.whl")}
        if there := sorted(ours & {found.name for found in distributions()}):
            self.remove(*there)

    def install(self, *what: object) -> None:
        """Install from the wheelhouse, with what is needed from there, too."""
        self.installed.pip(
            "install", "--quiet", "--no-index", "--find-links", self.wheelhouse, *what
        )

    def remove(self, *distributions: str) -> None:
        """Uninstall."""
        self.installed.pip("uninstall", "--quiet", "--yes", *distributions)

    def models(self, **options: Any) -> dict[str, list[str]]:
        """The models a new process lists, sorted, by distribution; a warning is an error."""
        found: dict[str, list[str]] = self.installed.shown(
            """
import lucid
found = {plugin.distribution: sorted(plugin.models) for plugin in lucid.models.list_plugins()}
assert sorted(sum(found.values(), [])) == sorted(lucid.models.list_models()), found
show(found)
""",
            "-W",
            "error",
            **options,
        )
        return found


@pytest.fixture
def site(installed: Any, wheelhouse: Path) -> Site:
    """The session's environment without any distribution of ours."""
    return Site(installed, wheelhouse)
