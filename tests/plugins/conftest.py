"""Tests of installed plugins in new processes.

Three nox sessions run them, each in its own environment: ``plugins`` (folder ``faulty``),
``combos`` and ``packaging``.  They install and remove distributions, so they are not collected
outside of these sessions.  ``tests/core/models`` tests discovery with generated metadata.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

FOLDERS = {"plugins": "faulty", "combos": "combos", "packaging": "packaging"}

collect_ignore = [
    folder
    for session, folder in FOLDERS.items()
    if session != os.environ.get("LUCID_INSTALLED_SESSION")
]

#: Start of a script: ``show(value)`` passes a value to the test.
PRELUDE = """
import json
def show(value):
    print("shown:" + json.dumps(value), flush=True)
"""


class Installed:
    """Runs processes in the environment of the session.

    They run in an empty folder, without the source tree and without environment variables of
    Python and Lucid.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        prefixes = ("PYTHON", "LUCID_", "COV_")
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
        self.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        scripts = Path(sys.executable).parent
        self.environ["PATH"] = f"{scripts}{os.pathsep}{self.environ.get('PATH', '')}"
        self.scripts = scripts

    def run(
        self,
        *command: object,
        code: int | None = 0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and check its exit code unless `code` is None."""
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=cwd or self.folder,
            env={**self.environ, **(env or {})},
        )
        assert code is None or done.returncode == code, (
            f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def lucid(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the installed ``lucid`` script."""
        return self.run(self.scripts / "lucid", *arguments, **options)

    def python(self, source: str, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a script."""
        return self.run(sys.executable, *options, "-c", PRELUDE + source, **more)

    def shown(self, source: str, *options: str, **more: Any) -> Any:
        """Run a script and return the value that it showed, or a list of several."""
        lines = self.python(source, *options, **more).stdout.splitlines()
        values = [json.loads(line[6:]) for line in lines if line.startswith("shown:")]
        return values[0] if len(values) == 1 else values

    def pip(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run pip in the environment of the session."""
        return self.run(sys.executable, "-m", "pip", *arguments, **options)


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    """The environment of the session."""
    return Installed(tmp_path / "empty")


@pytest.fixture(scope="session")
def wheelhouse() -> Path:
    """Folder with the wheels of all distributions, including the toy plugins."""
    return Path(os.environ["LUCID_WHEELHOUSE"])


@pytest.fixture(scope="session")
def registered(wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Models of Lucid's plugins, read from the hooks in the wheels without the registry."""
    wheels = [str(wheel) for wheel in wheelhouse.glob("lucid_*.whl")]
    hooks = {
        found.name: point.value
        for found in distributions(path=wheels)
        for point in found.entry_points.select(group="lucid.models")
    }
    assert len(hooks) == 2, hooks
    folder = tmp_path_factory.mktemp("hooks")
    names: dict[str, list[str]] = Installed(folder / "empty").shown(
        f"""
import importlib
names = {{}}
for distribution, module in {hooks!r}.items():
    names[distribution] = []
    def register(name, *args, into=names[distribution], **kwargs):
        into.append(name)
    importlib.import_module(module).lucid_register_models(register)
show(names)
""",
        env={"PYTHONPATH": os.pathsep.join(wheels)},
    )
    assert all(names.values()), names
    return {distribution: sorted(models) for distribution, models in sorted(names.items())}
