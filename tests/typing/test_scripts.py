"""Run the scripts that the ``typecheck`` session checks with mypy and ``assert_type``."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPTS = sorted(set(Path(__file__).parent.glob("*.py")) - {Path(__file__)})


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_runs(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lucid.models import zoo
    from lucid.models.registry import ModelRegistry

    # Scripts register models; use a new registry for each.
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))
    runpy.run_path(str(script))
