"""The commands of the core, run in this process."""

from __future__ import annotations

import json

import pytest

import lucid
from lucid.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_models_as_a_table(environment, capsys) -> None:
    environment.add("toy-nets", "net_10", "net_9")
    code, out, err = run(capsys, "models")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "NAME    TASK     FAMILY  PARAMETERS  PLUGIN",
        "net_9   testing  toy              6  toy-nets",
        "net_10  testing  toy              6  toy-nets",
    ]


def test_models_by_pattern_and_filter_as_json(environment, capsys) -> None:
    environment.add("toy", "net_1", "net_2", "other")
    code, out, _ = run(capsys, "models", "net_*", "--exclude", "*_2", "--task", "test*", "--json")
    assert code == 0
    assert json.loads(out) == [
        {
            "name": "net_1",
            "task": "testing",
            "family": "toy",
            "summary": "A model to test with",
            "builder": "toy.builders:net_1",
            "total_parameters": 6,
            "input_shape": [1, 2],
            "distribution": "toy",
            "version": "1.0",
            "example_batch": None,
            "aliases": [],
        }
    ]
    _, out, _ = run(capsys, "models", "other", "net_2", "--plugin", "toy", "--json")
    assert [info["name"] for info in json.loads(out)] == ["net_2", "other"]


def test_empty_zoo_says_how_to_get_models(environment, capsys) -> None:
    code, out, err = run(capsys, "models")
    assert (code, out) == (0, "")
    assert "python -m pip install lucid-models-classification lucid-models-detection" in err
    code, out, err = run(capsys, "models", "--json")
    assert (code, out, err) == (0, "[]\n", "")
    code, out, err = run(capsys, "plugins")
    assert (code, out) == (0, "")
    assert "pip install" in err


def test_pattern_without_a_match(environment, capsys) -> None:
    environment.add("toy", "net_1")
    code, out, err = run(capsys, "models", "x*")
    assert (code, out) == (0, "")
    assert "no model matches" in err


def test_info(environment, capsys) -> None:
    environment.add("toy", "net", version="1.2")
    code, out, _ = run(capsys, "info", "net")
    assert code == 0
    assert "parameters   6\n" in out
    assert "plugin       toy 1.2\n" in out
    code, out, _ = run(capsys, "info", "net", "--json")
    fields = json.loads(out)
    assert (fields["version"], fields["weights"]) == ("1.2", [])


def test_info_lists_published_weights(environment, capsys, publish) -> None:
    environment.add("toy", "net")
    publish("net", {"x": lucid.zeros(1)}, "v1")
    publish("net", {"x": lucid.ones(1)}, "v2", default=True)
    _, out, _ = run(capsys, "info", "net")
    assert out.endswith("weights      v1, v2 (default)\n")
    _, out, _ = run(capsys, "info", "net", "--json")
    assert json.loads(out)["weights"] == [
        {"tag": "v1", "default": False},
        {"tag": "v2", "default": True},
    ]


def test_unknown_model_is_one_line_and_code_2(environment, capsys) -> None:
    environment.add("toy", "net_one")
    for command in ("info", "summary"):
        code, out, err = run(capsys, command, "net_on")
        assert (code, out) == (2, "")
        assert err == "lucid: error: no model is called 'net_on'; did you mean 'net_one'?\n"


@pytest.mark.filterwarnings("default::lucid.PluginWarning")
def test_plugins_command_shows_failures(environment, capsys) -> None:
    environment.add("bad", plugin="raise RuntimeError('sad')", version="0.2", entry_point="b")
    environment.add("good", "net", entry_point="g")
    code, out, err = run(capsys, "plugins")
    assert (code, err) == (0, "")
    assert [line.split(maxsplit=4) for line in out.splitlines()] == [
        ["PLUGIN", "DISTRIBUTION", "VERSION", "MODELS", "STATUS"],
        ["b", "bad", "0.2", "0", "failed: RuntimeError: sad"],
        ["g", "good", "1.0", "1", "loaded"],
    ]
    code, out, _ = run(capsys, "plugins", "--json")
    assert [plugin["error"] for plugin in json.loads(out)] == ["RuntimeError: sad", None]


@pytest.mark.filterwarnings("default::lucid.PluginWarning")
def test_failing_plugin_is_a_line_on_stderr_elsewhere(environment, capsys) -> None:
    environment.add("bad", plugin="raise RuntimeError('sad')")
    environment.add("good", "net")
    code, out, err = run(capsys, "models", "--json")
    assert (code, len(json.loads(out))) == (0, 1)
    assert err == ("lucid: warning: plugin 'toy' of bad 1.0 is skipped: RuntimeError: sad\n")


def test_strict_plugins_are_an_error(environment, capsys, monkeypatch) -> None:
    monkeypatch.setenv("LUCID_STRICT_PLUGINS", "1")
    environment.add("bad", plugin="raise RuntimeError('sad')")
    code, out, err = run(capsys, "models")
    assert (code, out) == (2, "")
    assert err == "lucid: error: plugin 'toy' of bad 1.0: RuntimeError: sad\n"


def test_summary(environment, capsys) -> None:
    environment.add("toy", "net")
    code, out, err = run(capsys, "summary", "net")
    assert (code, err) == (0, "")
    assert "net on an input of shape (1, 2)" in out
    code, out, _ = run(capsys, "summary", "net", "--input", "5,2", "--json")
    data = json.loads(out)
    assert (data["multiply_adds"], data["layers"][0]["output_shapes"]) == (20, [[5, 2]])


@pytest.mark.parametrize("shape", ["a,b", "1,0", "1.5,2", "-1,2"])
def test_invalid_input_shape(environment, capsys, shape: str) -> None:
    environment.add("toy", "net")
    code, out, err = run(capsys, "summary", "net", f"--input={shape}")
    assert (code, out) == (2, "")
    assert err.startswith("lucid: error: Invalid value for --input: expected positive integers")
    assert err.count("\n") == 1


def test_shape_the_model_does_not_take(environment, capsys) -> None:
    environment.add("toy", "net")
    code, _, err = run(capsys, "summary", "net", "--input", "1,3")
    assert code == 2
    assert err.startswith("lucid: error: ")
    assert err.count("\n") == 1
