"""``lucid new-plugin`` and ``lucid check-plugin``, run in this process."""

from __future__ import annotations

import json

import pytest

from lucid.cli import main

MODEL = '''
import lucid
from lucid import nn

def batch():
    return (lucid.random.randn(4, 2),)

class Net(nn.Linear):
    def forward(self, x):
        y = super().forward(x)
        return y if not self.training else (y ** 2).mean()

def {name}() -> Net:
    """A linear layer."""
    return Net(2, 2)
'''

PLUGIN = """
import lucid

@lucid.hookimpl
def lucid_register_models(register):
    for name, total in {models!r}:
        register(
            name, "toy.builders:" + name, task="testing", family="toy", total_parameters=total,
            summary="A model to test with", input_shape=(1, 2), example_batch="toy.builders:batch",
        )
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def toy(environment):
    environment.add(
        "toy",
        plugin=PLUGIN.format(models=[("good", 6), ("bad", 7)]),
        builders=MODEL.format(name="good") + MODEL.format(name="bad"),
    )


# --- check-plugin ------------------------------------------------------------------------


@pytest.mark.slow
def test_plugin_without_a_fault(toy, capsys) -> None:
    code, out, err = run(capsys, "check-plugin", "toy", "--model", "g*")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["MODEL", "CHECK", "SECONDS", "RESULT"]
    assert [line.split()[:2] for line in lines[1:-2]] == [
        *(["-", check] for check in ("requirement", "dependencies", "loads", "imports")),
        *(["good", check] for check in ("builder", "parameters", "seed", "forward")),
        *(["good", check] for check in ("protocol", "state-dict", "pickle", "training-step")),
    ]
    assert all(line.endswith("  passed") for line in lines[1:-2])
    assert lines[-2:] == ["", "all 12 checks passed"]


@pytest.mark.slow
def test_failed_check_is_shown_with_hint(toy, capsys) -> None:
    code, out, err = run(capsys, "check-plugin", "toy")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    (place,) = (i for i, line in enumerate(lines) if line.endswith("  failed"))
    assert lines[place].split()[:2] == ["bad", "parameters"]
    assert lines[place + 1 : place + 3] == [
        "    registered with total_parameters=7, but the model built without arguments has 6",
        "    hint: write total_parameters=6 in lucid_register_models",
    ]
    assert lines[-1] == "1 of 20 checks failed"


@pytest.mark.slow
def test_results_as_json(toy, capsys) -> None:
    code, out, err = run(capsys, "check-plugin", "toy", "--model", "bad", "--json")
    assert (code, err) == (1, "")
    results = json.loads(out)
    assert len(results) == 12
    (failed,) = (result for result in results if result["outcome"] != "passed")
    assert (failed["model"], failed["check"], failed["outcome"]) == ("bad", "parameters", "failed")
    assert failed["advice"] == "write total_parameters=6 in lucid_register_models"
    assert run(capsys, "check-plugin", "toy", "--model", "good", "--json")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent",), "no distribution called 'absent' is installed"),
        (("toy", "--model", "x*"), "no model of toy matches 'x*'; it has bad, good"),
        ((), "Missing argument 'DIST'"),
    ],
)
def test_bad_input(toy, capsys, arguments, message) -> None:
    code, out, err = run(capsys, "check-plugin", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("lucid: error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_plugin_that_cannot_be_loaded(environment, capsys) -> None:
    environment.add("toy", plugin="raise RuntimeError('sad')")
    code, out, err = run(capsys, "check-plugin", "toy")
    assert (code, err) == (1, "")
    assert "    entry point 'toy': RuntimeError: sad\n    hint: correct it" in out
    lines = out.splitlines()
    assert lines[-1] == "2 of 4 checks failed"
    assert lines[-3].endswith("  not run")


# --- new-plugin --------------------------------------------------------------------------


def test_new_plugin(environment, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "new-plugin", "tiny")
    assert (code, err) == (0, "")
    assert out == (
        "Created ./tiny: plugin tiny, model tiny_net. Next:\n\n"
        '  python -m pip install -e "./tiny[dev]"\n'
        "  lucid info tiny_net\n"
        "  lucid check-plugin tiny\n"
        "  python -m pytest ./tiny\n"
    )
    assert (tmp_path / "tiny" / "src" / "tiny" / "network.py").is_file()


def test_new_plugin_elsewhere_with_another_model(environment, capsys, tmp_path) -> None:
    folder = tmp_path / "elsewhere"
    code, out, _ = run(
        capsys, "new-plugin", "tiny", "--directory", str(folder), "--model", "wee_net"
    )
    assert code == 0
    assert out.startswith(f"Created {folder}: plugin tiny, model wee_net.")
    assert "def wee_net(" in (folder / "src" / "tiny" / "builders.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny net",), "got 'tiny net'"),
        (("numpy",), "'numpy' is already installed"),
        (("tiny", "--model", "good"), "'good' is already registered by toy 1.0"),
        (("tiny", "--directory", "full"), "full is not empty"),
    ],
)
def test_new_plugin_rejects_invalid_names(
    toy, capsys, tmp_path, monkeypatch, arguments, message
) -> None:
    work = tmp_path / "work"
    (work / "full" / "inside").mkdir(parents=True)
    monkeypatch.chdir(work)
    code, out, err = run(capsys, "new-plugin", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in work.rglob("*")] == ["full", "inside"]
