"""``lucid check-data`` with checkers of a plugin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lucid.cli import main
from lucid.data.checkers import choose_checker
from lucid.errors import PluginWarning
from lucid.models import refresh

PLUGIN = """
import lucid

def check(data, images):
    from lucid.data.report import DataReport

    report = DataReport(str(data), unit="rows")
    lines = data.read_text().splitlines()
    report.totals["rows"] = len(lines)
    for line in lines:
        report.classes[line] = report.classes.get(line, 0) + 1
        if line.startswith("bad"):
            report.add("bad-bbox", f"{line}: no row", leave_out="rows")
    if images is not None:
        report.count("clipped", 1200, f"in {images}")
    return report

@lucid.hookimpl
def lucid_register_data_checkers(register):
    from lucid.data.checkers import DataChecker

    register(DataChecker("NAME", "a text file", lambda data: FIT * (data.suffix == ".txt"), check))
"""

BROKEN = """
import lucid

@lucid.hookimpl
def lucid_register_data_checkers(register):
    raise RuntimeError("no checkers today")
"""


def plugin(name: str, fit: int) -> str:
    return PLUGIN.replace("NAME", name).replace("FIT", str(fit))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.txt"
    path.write_text("cat\ncat\ndog\n")
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["check-data", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_valid_data(environment, capsys, rows: Path) -> None:
    environment.add("toy", plugin=plugin("text", 1))
    code, out, err = run(capsys, "--data", rows, "--images", "here")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{rows}: 3 rows, 2 classes",
        "",
        "CLASS  ROWS",
        "cat       2",
        "dog       1",
        "(sum)     3",
        "",
        "Notes",
        "  1,200  boxes clipped at the border",
        "           in here",
        "",
        "Training accepts this data.",
    ]


def test_invalid_data_exits_with_2(environment, capsys, rows: Path) -> None:
    environment.add("toy", plugin=plugin("text", 1))
    rows.write_text("cat\ncat\nbad\n")
    code, out, _ = run(capsys, "--data", rows)
    assert code == 2
    assert "Problems\n  1  invalid boxes\n       bad: no row\n" in out
    assert "--skip-invalid would skip 1 of 3 rows" in out
    code, out, _ = run(capsys, "--data", rows, "--json")
    assert code == 2
    said = json.loads(out)
    assert (said["format"], said["usable"], said["usable_with_skip_invalid"]) == (
        "text",
        False,
        True,
    )
    assert said["classes"] == {"cat": 2, "bad": 1}
    assert said["counts"] == {"bad-bbox": 1}
    rows.write_text("bad\nbad 2\ncat\n")
    code, out, _ = run(capsys, "--data", rows)
    assert code == 2
    assert "more than half is invalid, 2 of 3 rows" in " ".join(out.split())


def test_best_matching_format_is_chosen(environment, capsys, rows: Path) -> None:
    environment.add("toy-one", plugin=plugin("one", 1))
    environment.add("toy-two", plugin=plugin("two", 2))
    assert choose_checker(rows).name == "two"
    assert choose_checker(rows, "one").name == "one"
    environment.add("toy-three", plugin=plugin("three", 2))
    refresh()
    for arguments, message in (
        (("--data", rows), "give --format "),
        (("--data", rows, "--format", "four"), "one (a text file)"),
        (("--data", rows.parent), "expected one of the formats"),
        (("--data", rows.parent / "absent"), "absent"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (2, "")
        assert message in err


@pytest.mark.filterwarnings("always::lucid.errors.PluginWarning")
def test_plugins_without_checkers_and_broken_ones(environment, capsys, rows: Path) -> None:
    environment.add("toy", "net")
    code, _, err = run(capsys, "--data", rows)
    assert code == 2
    assert "lucid-models-detection" in err
    environment.add("toy-broken", plugin=BROKEN)
    environment.add("toy-text", plugin=plugin("text", 1))
    refresh()
    code, out, err = run(capsys, "--data", rows)
    assert code == 0
    assert "toy-broken 1.0: its data checkers are skipped: RuntimeError" in err
    assert "Training accepts" in out


@pytest.mark.usefixtures("rows")
def test_failing_checker_is_skipped(environment, rows: Path) -> None:
    environment.add("toy", plugin=plugin("rows", 2))
    environment.add(
        "odd", plugin=plugin("odd", 1).replace("FIT *", "1 / 0 *").replace("1 * (", "1 / 0 * ("),
        entry_point="odd",
    )  # fmt: skip
    environment.add("none", plugin=BROKEN.replace("raise", "register(42)  #"), entry_point="none")
    refresh()
    with pytest.warns(PluginWarning) as caught:
        assert choose_checker(rows).name == "rows"
    messages = sorted(str(warning.message) for warning in caught)
    assert messages == [
        "none 1.0: its data checkers are skipped: TypeError: expected a "
        "lucid.data.checkers.DataChecker, got int",
        "the data checker 'odd' is skipped: ZeroDivisionError: division by zero",
    ]
