"""Release files: sdist and wheel of each distribution."""

from __future__ import annotations

import os
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import BytesParser
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("lucid_core", "lucid_models_classification", "lucid_models_detection")


class Release:
    """Project and release files of one distribution.

    Attributes
    ----------
    folder : Path
        Project in the source tree.
    sdist, wheel : Path
        Release files; the wheel is built from the sdist.
    """

    def __init__(self, folder: Path, built: Path) -> None:
        self.folder = folder
        (self.sdist,) = built.glob(f"{folder.name}-*.tar.gz")
        (self.wheel,) = built.glob(f"{folder.name}-*.whl")

    @cached_property
    def project(self) -> dict[str, Any]:
        """Table ``[project]`` of ``pyproject.toml``."""
        table: dict[str, Any] = tomllib.loads((self.folder / "pyproject.toml").read_text())
        return table["project"]

    @property
    def package(self) -> Path:
        """Package in ``src``."""
        (package,) = (path.parent for path in self.folder.glob("src/*/__init__.py"))
        return package

    @cached_property
    def wheel_files(self) -> dict[str, bytes]:
        """Files of the wheel by name."""
        return contents_of_wheel(self.wheel)

    @property
    def dist_info(self) -> str:
        """Name of the metadata folder in the wheel, with a slash."""
        return f"{self.folder.name}-{self.project['version']}.dist-info/"

    @cached_property
    def metadata(self) -> Message:
        """``METADATA``."""
        return BytesParser().parsebytes(self.wheel_files[self.dist_info + "METADATA"])

    @cached_property
    def sdist_files(self) -> dict[str, bytes]:
        """Files of the sdist by name, relative to its top folder."""
        top = f"{self.folder.name}-{self.project['version']}/"
        files = {}
        with tarfile.open(self.sdist) as archive:
            for member in archive.getmembers():
                assert member.isfile(), member.name
                assert member.name.startswith(top), member.name
                extracted = archive.extractfile(member)
                assert extracted is not None
                files[member.name.removeprefix(top)] = extracted.read()
        return files


def contents_of_wheel(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(params=FOLDERS)
def release(request: pytest.FixtureRequest) -> Release:
    """One of the three distributions."""
    return Release(ROOT / request.param, Path(os.environ["LUCID_DIST"]))


@pytest.fixture
def releases() -> list[Release]:
    """All distributions in dependency order."""
    return [Release(ROOT / folder, Path(os.environ["LUCID_DIST"])) for folder in FOLDERS]


@pytest.fixture
def wheel_from_tree(release: Release, wheelhouse: Path) -> dict[str, bytes]:
    """Files of the wheel that pip built from the source tree."""
    (path,) = wheelhouse.glob(f"{release.folder.name}-*.whl")
    return contents_of_wheel(path)
