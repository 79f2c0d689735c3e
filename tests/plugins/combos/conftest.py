"""An environment in which tests install and remove Lucid's distributions."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest


class Site:
    """Environment of the session, initially without Lucid's distributions."""

    def __init__(self, installed: Any, wheelhouse: Path) -> None:
        self.installed = installed
        self.wheelhouse = wheelhouse
        ours = {path.name.partition("-")[0].replace("_", "-") for path in wheelhouse.glob("*.whl")}
        if installed_ours := sorted(ours & {found.name for found in distributions()}):
            self.remove(*installed_ours)

    def install(self, *what: object) -> None:
        """Install from the wheelhouse with dependencies."""
        self.installed.pip(
            "install", "--quiet", "--no-index", "--find-links", self.wheelhouse, *what
        )

    def remove(self, *distributions: str) -> None:
        """Uninstall."""
        self.installed.pip("uninstall", "--quiet", "--yes", *distributions)

    def models(self, **options: Any) -> dict[str, list[str]]:
        """Return the models by distribution that a new process lists; warnings are errors."""
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
    """Environment of the session without Lucid's distributions."""
    return Site(installed, wheelhouse)
