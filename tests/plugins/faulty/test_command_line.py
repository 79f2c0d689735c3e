"""Command line with failing plugins, including a failing command hook."""

from __future__ import annotations

import json


def test_plugins_command_lists_errors(installed, failures, loaded) -> None:
    done = installed.lucid("plugins")
    rows = {line.split()[1]: line for line in done.stdout.splitlines()[1:]}
    assert rows.keys() == failures.keys() | loaded.keys()
    for distribution, cause in failures.items():
        assert " failed: " in rows[distribution]
        assert cause in rows[distribution]
    assert all(rows[distribution].endswith(" loaded") for distribution in loaded)
    assert done.stderr == ""  # errors are in the table


def test_plugins_json_has_errors(installed, failures) -> None:
    plugins = json.loads(installed.lucid("plugins", "--json").stdout)
    errors = {p["distribution"]: p["error"] for p in plugins if p["error"] is not None}
    assert errors.keys() == failures.keys()
    assert all(cause in errors[distribution] for distribution, cause in failures.items())


def test_models_command_warns_once_per_failure(installed, failures) -> None:
    done = installed.lucid("models", "toy_good", "resnet_18")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["resnet_18", "toy_good"]
    warned = done.stderr.splitlines()
    assert len(warned) == len(failures)
    assert all(line.startswith("lucid: warning: plugin 'toy' of toy-") for line in warned)


def test_help_groups_commands_by_distribution(installed) -> None:
    text = installed.lucid("--help").stdout
    sections = text.split("\n\n")
    of = {section.partition(":\n")[0]: section for section in sections}
    assert " toy-hello " in of["Commands from toy-good 1.0"]
    assert "classify" in next(of[title] for title in of if "lucid-models-classification" in title)
    assert "detect" in next(of[title] for title in of if "lucid-models-detection" in title)
    lost = of["Plugins whose commands could not be added"]
    assert "toy-broken-command 1.0" in lost
    assert "no commands today" in " ".join(lost.split())
    assert "toy-lost" not in text  # added before the hook failed


def test_commands_run_although_another_plugin_fails(installed) -> None:
    done = installed.lucid("toy-hello", "you")
    assert done.stdout == "hello, you\n"
    assert (
        "lucid: warning: toy-broken-command 1.0: its commands are skipped: "
        "SystemExit: no commands today"
    ) in done.stderr.splitlines()
    assert "From toy-good 1.0." in installed.lucid("toy-hello", "--help").stdout


def test_missing_command_is_one_line_error(installed) -> None:
    done = installed.lucid("toy-lost", code=2, env={"LUCID_DISABLE_PLUGINS": "toy-exits"})
    assert done.stderr.splitlines()[-1].startswith("lucid: error: there is no command 'toy-lost'")
    assert "Traceback" not in done.stderr
