"""Fixture ``environment``: a folder on ``sys.path`` with installed distributions."""

from __future__ import annotations

import importlib
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, so that a failure is due to the change.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

#: Initial states of the test modules' generators.
_STATES: dict[str, object] = {}


@pytest.fixture(autouse=True)
def same_draws(request: pytest.FixtureRequest) -> None:
    """Reset the module's ``rng``, so that draws do not depend on the order of the tests."""
    rng = getattr(request.module, "rng", None)
    if rng is not None:
        state = rng.bit_generator.state
        rng.bit_generator.state = _STATES.setdefault(request.module.__name__, state)


#: Plugin module that registers models by name.
REGISTER = """
import lucid

@lucid.hookimpl
def lucid_register_models(register):
    for name in {names!r}:
        register(
            name, "{package}.builders:" + name, task="testing", family="toy",
            total_parameters=6, summary="A model to test with", input_shape=(1, 2),
        )
"""

BUILDER = """
from lucid import nn
from lucid.models import register_model

@register_model
def {name}(width: int = 2, **kwargs) -> nn.Linear:
    return nn.Linear(2, width)
"""


class Environment:
    """A folder on ``sys.path`` to which distributions are written.

    Writes the files of an installation: the package, and ``METADATA`` and ``entry_points.txt`` in
    ``NAME-VERSION.dist-info``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self,
        distribution: str,
        *names: str,
        plugin: str | None = None,
        builders: str | None = None,
        version: str = "1.0",
        requires: tuple[str, ...] = ("lucid-core>=0.1",),
        entry_point: str = "toy",
        folder: Path | None = None,
    ) -> str:
        """Install a distribution with one plugin and return the name of its package.

        Parameters
        ----------
        distribution : str
            Name of the distribution; the package has underscores instead of hyphens.
        *names : str
            Models to register if `plugin` is not given.
        plugin, builders : str, optional
            Source of the package's ``plugin.py`` and ``builders.py``.
        """
        folder = self.folder if folder is None else folder
        package = distribution.replace("-", "_")
        if plugin is None:
            plugin = REGISTER.format(names=names, package=package)
        if builders is None:
            builders = "\n".join(BUILDER.format(name=name) for name in names)
        code = folder / package
        code.mkdir(parents=True, exist_ok=True)
        (code / "__init__.py").write_text("")
        (code / "plugin.py").write_text(textwrap.dedent(plugin))
        (code / "builders.py").write_text(textwrap.dedent(builders))
        self.describe(
            distribution,
            f"[lucid.models]\n{entry_point} = {package}.plugin\n",
            version=version,
            requires=requires,
            folder=folder,
        )
        importlib.invalidate_caches()
        return package

    def describe(
        self,
        distribution: str,
        entry_points: str,
        version: str = "1.0",
        requires: tuple[str, ...] = (),
        folder: Path | None = None,
    ) -> Path:
        """Write the metadata of a distribution and return its folder."""
        folder = self.folder if folder is None else folder
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        headers = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
        headers += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(headers) + "\n\nVersion: of the description\n")
        (info / "entry_points.txt").write_text(entry_points)
        return info

    def zip(self, name: str) -> Path:
        """Move all files to a zip file, like a wheel, and return its path."""
        path = self.folder / name
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(self.folder.rglob("*")):
                if file.is_file() and file != path:
                    archive.write(file, file.relative_to(self.folder))
        for child in self.folder.iterdir():
            if child.is_dir():
                child.rename(self.folder.parent / f"was-{child.name}")
        return path


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    """An environment without Lucid's plugins, and a new registry."""
    from lucid.models import zoo
    from lucid.models.registry import ModelRegistry

    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv(
        "LUCID_DISABLE_PLUGINS", "lucid-models-classification,lucid-models-detection"
    )
    monkeypatch.delenv("LUCID_STRICT_PLUGINS", raising=False)
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))
    before = set(sys.modules)
    yield Environment(folder)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    importlib.invalidate_caches()
