"""Build every toy plugin to a wheel.

    python tests/plugins/build.py FOLDER

Build backends are called in this process, which is faster than pip's isolated builds.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import tomllib
from pathlib import Path

PROJECTS = Path(__file__).parent / "projects"


def build(project: Path, folder: Path) -> Path:
    """Build one project with its PEP 517 backend and return the wheel."""
    system = tomllib.loads((project / "pyproject.toml").read_text())["build-system"]
    backend = importlib.import_module(system["build-backend"])
    with contextlib.chdir(project):
        return folder / backend.build_wheel(str(folder))


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    built = [build(path.parent, folder) for path in sorted(PROJECTS.glob("*/pyproject.toml"))]
    print(f"{len(built)} toy plugins built into {folder}")


if __name__ == "__main__":
    main()
