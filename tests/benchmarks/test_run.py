"""Tests of the benchmark runner with toy engines; no time of Lucid is asserted."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import run
from classifiers import PREDICTIONS, TRAINING_STEPS
from harness import measure
from harness.cases import Case, load_cases
from harness.processes import Worker, run_script
from layers import ATTENTION, LAYERS

ENGINES = Path(__file__).parent / "engines"
ENGINE = """
import time
VERSIONS = {{"toy": "1"}}
print("a line that must not disturb the answers")

def nap(folder):
    def call():
        time.sleep({seconds})
        return {apart}
    return call

CASES = {{"nap": nap{more}}}
"""
CASES = """
["nap"]
calls = 2
rounds = 3
at_most = { peer = 0.5 }
without = ["peer"]

["long nap"]
at_most = { peer = 0.5 }
"""


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    folder = tmp_path / "engines"
    folder.mkdir()
    for name, seconds, apart, more in (
        ("lucid", 0.06, 0.02, ', "long nap": nap'),
        ("peer", 0.02, 0.0, ""),
    ):
        text = ENGINE.format(seconds=seconds, apart=apart, more=more)
        (folder / f"{name}.py").write_text(text)
    (folder / "cases.toml").write_text(CASES)
    return folder


def test_engines_take_turns_and_excluded_seconds_are_subtracted(
    engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = engines / "report.json"
    run.main(["--case", "nap", "--engines", str(engines), "--json", str(out)])
    report = json.loads(out.read_text())
    assert list(report["results"]) == ["nap", "long nap"]
    times = report["results"]["nap"]
    assert len(times["lucid"]["seconds"]) == len(times["peer"]["seconds"]) == 3
    assert min(times["lucid"]["seconds"]) >= 0.06
    assert times["lucid"]["apart"] == [0.02] * 3
    assert times["peer"]["peak_bytes"] > 2**20
    assert report["versions"] == {"lucid": {"toy": "1"}, "peer": {"toy": "1"}}
    printed = capsys.readouterr().out
    assert "peer, without NMS and RoIAlign" in printed
    assert "0 of 1 targets met" in printed


def test_engine_without_the_case_is_skipped(engines: Path) -> None:
    case = Case("long nap", at_most={"peer": 0.5})
    paths = [engines / "lucid.py", engines / "peer.py"]
    times, versions = measure.time_calls(case, paths, engines, 2, 1)
    assert list(times) == ["lucid"]
    assert list(versions) == ["lucid", "peer"]


def test_processes_share_the_rounds(engines: Path) -> None:
    counting = """
from pathlib import Path
VERSIONS = {}
def count(folder):
    with (folder / "started.txt").open("a") as file:
        file.write("x")
    return lambda: None
CASES = {"nap": count}
"""
    (engines / "peer.py").write_text(counting)
    times, _ = measure.time_calls(
        Case("nap", processes=2), [engines / "lucid.py", engines / "peer.py"], engines, 3, 1
    )
    assert (engines / "started.txt").read_text() == "xx"
    assert [len(found["seconds"]) for found in times.values()] == [3, 3]
    assert times["lucid"]["apart"] == [0.02] * 3


def test_joined_rounds_have_the_higher_peak() -> None:
    first = {"a": {"seconds": [1.0], "apart": [0.0], "peak_bytes": 5}}
    second = {"a": {"seconds": [2.0, 3.0], "apart": [0.5, 0.0], "peak_bytes": 4}}
    assert measure.joined(first, second) == {
        "a": {"seconds": [1.0, 2.0, 3.0], "apart": [0.0, 0.5, 0.0], "peak_bytes": 5}
    }
    assert measure.joined({}, second) == second


def test_order_of_turns_is_reversed_every_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure, "_PAUSE", 0)
    names: list[str] = []

    def turn(name: str, peak: int) -> dict[str, Any]:
        names.append(name)
        return {"seconds": float(len(names)), "peak_bytes": peak}

    times = measure.in_turns({"a": lambda: turn("a", 1), "b": lambda: turn("b", 2)}, 3)
    assert names == ["a", "b", "b", "a", "a", "b"]
    assert times["a"] == {"seconds": [1.0, 4.0, 5.0], "apart": [0.0] * 3, "peak_bytes": 1}


def test_median_call_of_a_turn_counts() -> None:
    class Answering:
        def run(self, calls: int) -> dict[str, Any]:
            assert calls == 3
            return {"seconds": [9.0, 2.0, 5.0], "apart": [1.0, 2.0, 3.0], "peak_bytes": 7}

    assert measure.turn_of(Answering(), 3)() == {"seconds": 5.0, "apart": 3.0, "peak_bytes": 7}


def test_dead_engine_is_named_with_the_case(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="engine broken ended with status 3 in 'nap'"):
        Worker(tmp_path / "broken.py", "nap", tmp_path, 1).run(1)


def test_engine_with_wrong_output_is_an_error(tmp_path: Path) -> None:
    text = "def wrong(folder): raise ValueError('differs')\nVERSIONS = {}\nCASES = {'nap': wrong}"
    (tmp_path / "wrong.py").write_text(text)
    worker = Worker(tmp_path / "wrong.py", "nap", tmp_path, 1)
    with pytest.raises(RuntimeError, match="engine wrong ended with status 1 in 'nap'"):
        worker.run(1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc/self/status")
def test_peak_excludes_the_parent_process(
    tmp_path: Path,
) -> None:
    """Unlike ``ru_maxrss``, which a child inherits from its parent."""
    (tmp_path / "small.py").write_text("")
    (tmp_path / "large.py").write_text("x = bytearray(b'1') * (200 << 20)")
    held = bytearray(b"1") * (300 << 20)
    small, large = (
        run_script(tmp_path / name, tmp_path, 1)["peak_bytes"] for name in ("small.py", "large.py")
    )
    assert len(held) == 300 << 20
    assert small < 100 << 20
    assert 200 << 20 < large < 300 << 20


def test_failing_script_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match=r"broken\.py ended with status 3"):
        run_script(tmp_path / "broken.py", tmp_path, 1)


def test_first_prediction_needs_a_script(engines: Path) -> None:
    scripts = engines / "first_prediction"
    scripts.mkdir()
    (scripts / "lucid.py").write_text("import time; time.sleep(0.05)")
    paths = [engines / "lucid.py", engines / "peer.py"]
    times = measure.time_first_predictions(paths, engines, 2, 1)
    assert list(times) == ["lucid"]
    assert min(times["lucid"]["seconds"]) >= 0.05


def test_unknown_case_lists_the_known_ones(engines: Path) -> None:
    with pytest.raises(SystemExit, match="no case has 'sleep' in its name; there are: nap, long"):
        run.main(["--case", "long", "sleep", "--engines", str(engines)])


def test_chosen_cases_are_prepared(engines: Path) -> None:
    script = "import sys, pathlib; pathlib.Path(sys.argv[1], 'cases.txt').write_text(sys.argv[2])"
    (engines.parent / "prepare.py").write_text(script)
    run.prepare(engines, engines, [Case("long nap")])
    assert (engines / "cases.txt").read_text() == "long nap"


def test_only_a_complete_run_is_published(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--publish", "--case", "conv"])
    assert "leave out --case" in capsys.readouterr().err


def test_busy_machine_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.os, "getloadavg", lambda: (1.5, 0.1, 0.1))
    with pytest.raises(SystemExit, match=r"load average 1\.5: not a quiet machine"):
        run.wait_until_quiet(0)
    monkeypatch.setattr(run.os, "getloadavg", lambda: (0.4, 3.0, 3.0))
    run.wait_until_quiet(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[nap]\ncals = 2", r"cases\.toml, nap: .*unexpected keyword argument 'cals'"),
        ('[nap]\nkind = "long"', "nap: kind must be one of .*, got 'long'"),
    ],
)
def test_mistake_in_the_cases_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cases.toml"
    path.write_text(text)
    with pytest.raises((TypeError, ValueError), match=message):
        load_cases(path)


TABLES = {
    "ATTENTION": ATTENTION,
    "LAYERS": LAYERS,
    "PREDICTIONS": PREDICTIONS,
    "TRAINING_STEPS": TRAINING_STEPS,
}


def cases_of(engine: str) -> set[str]:
    """Names in an engine's ``CASES``, parsed without importing the engine."""
    found: set[str] = set()
    for node in ast.parse((ENGINES / f"{engine}.py").read_text()).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "CASES":
            for key in node.value.keys:
                found |= {ast.literal_eval(key)} if key is not None else set()
            text = ast.unparse(node.value)
            for name, table in TABLES.items():
                found |= set(table) if f"in {name}.items()" in text else set()
    return found


def test_engines_have_the_listed_cases() -> None:
    cases = load_cases(ENGINES / "cases.toml")
    called = {name for name, case in cases.items() if case.kind == "calls"}
    assert cases_of("lucid") == called
    for engine in ("pytorch", "pytorch_channels_last", "onnxruntime"):
        assert cases_of(engine) <= called, engine
    for case in cases.values():
        for peer in {*case.at_most, *case.peak, *case.without} - {"numpy"}:
            if case.kind == "calls":
                assert case.name in cases_of(peer), f"{peer} lacks {case.name}"
            else:
                assert (ENGINES / "first_prediction" / f"{peer}.py").exists()
