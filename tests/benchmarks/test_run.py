"""The benchmark runner on engines of a few milliseconds; no timing of Lucid is asserted here."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ENGINE = """
import time
VERSIONS = {{"toy": "1"}}
print("a line that must not disturb the answers")
CASES = {{"nap": lambda: lambda: time.sleep({seconds})}}
"""


@pytest.fixture
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run", Path(__file__).parent / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    for name, seconds in (("lucid", 0.06), ("peer", 0.02)):
        (tmp_path / f"{name}.py").write_text(ENGINE.format(seconds=seconds))
    (tmp_path / "cases.json").write_text('{"nap": 2}')
    return tmp_path


def test_engines_take_turns_and_the_ratio_is_of_their_medians(
    run: ModuleType, engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = engines / "report.json"
    run.main(["--rounds", "3", "--engines", str(engines), "--json", str(out)])
    report = json.loads(out.read_text())
    result = report["results"]["nap"]
    assert len(result["lucid"]["seconds"]) == len(result["peer"]["seconds"]) == 3
    assert result["lucid"]["median"] >= 0.06
    assert 1 < result["peer"]["ratio"][0] <= 3.1
    assert report["versions"]["peer"] == {"toy": "1"}
    printed = capsys.readouterr().out
    assert "lucid / engine (range)" in printed
    assert printed.count("nap") == 2


def test_an_engine_that_dies_is_an_error_that_names_it(run: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="engine broken ended with status 3"):
        run.Engine(tmp_path / "broken.py", 1)


def test_engines_of_the_real_run_have_every_case() -> None:
    directory = Path(__file__).parent / "engines"
    cases = json.loads((directory / "cases.json").read_text())
    for path in directory.glob("*.py"):
        source = path.read_text()
        assert all(f'"{case}"' in source for case in cases), path.name
