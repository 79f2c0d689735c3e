"""The scripts here are what users write; the ``typecheck`` session reads them, this runs them.

There mypy holds what every ``assert_type`` says, strictly, against the installed packages.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPTS = sorted(set(Path(__file__).parent.glob("*.py")) - {Path(__file__)})


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_script_runs(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lucid.models import zoo
    from lucid.models.registry import ModelRegistry

    # Builders register at once in a script; the next test starts without them.
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))
    runpy.run_path(str(script))
