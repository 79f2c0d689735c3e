"""Exit codes, messages, and commands that come from plugins."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lucid.cli import main

COMMANDS = """
import lucid

@lucid.hookimpl
def lucid_register_commands(cli):
    import click
    import sys

    @cli.command()
    @click.argument("kind", default="")
    def {name}(kind):
        "Do what {name} does."
        if kind == "value":
            raise ValueError("a bad\\nvalue")
        if kind == "file":
            open("/no/such/file")
        if kind == "bug":
            {{}}["key"]
        if kind == "interrupt":
            raise KeyboardInterrupt
        if kind == "memory":
            raise MemoryError
        if kind == "diverged":
            raise FloatingPointError("the loss is nan")
        if kind == "package":
            raise ModuleNotFoundError("No such module", name="lucid_models_detection.plugin")
        if kind == "code":
            click.get_current_context().exit(7)
        if kind == "question":
            click.prompt("what")
        if kind == "warning":
            import warnings
            warnings.warn("slow", UserWarning)
        click.echo("{name} ran")
        return 5
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_no_arguments_are_a_request_for_help(environment, capsys) -> None:
    assert run(capsys) == run(capsys, "--help") == run(capsys, "-h")
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    for command in ("models", "info", "plugins", "summary"):
        assert f"\n  {command}" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["list"], "there is no command 'list'; did you mean 'models'?"),
        (["Models"], "there is no command 'Models'; did you mean 'models'?"),
        (["new_plugin"], "there is no command 'new_plugin'; did you mean 'new-plugin'?"),
        (["version"], "there is no command 'version'; did you mean --version?"),
        (["models", "--JSON"], "No such option: --JSON; did you mean --json?"),
        (["models", "--device", "cpu"], "No such option: --device; "),
        (["summary", "n", "--inputs", "1"], "No such option: --inputs; did you mean --input?"),
        (["models", "--imgsz"], "No such option: --imgsz (lucid models --help lists"),
        (["summary", "n", "--input", "1", "--input", "2"], "expected --input once"),
        (["info", ""], "Invalid value for 'NAME': expected a value, got an empty string"),
        (["summary", "n", "--input", ""], "Invalid value for '--input': expected a value, got an"),
        (["modles"], "there is no command 'modles'; did you mean 'models'?"),
        (["zzz"], "there is no command 'zzz'; `lucid --help` lists the commands"),
        (["models", "--bogus"], "No such option"),
        (["--bogus"], "No such option"),
        (["info"], "Missing argument 'NAME'"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(environment, capsys, arguments, expected: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"lucid: error: {expected}")
    assert err.count("\n") == 1


def test_known_command_of_a_plugin_that_is_missing(environment, capsys) -> None:
    code, _, err = run(capsys, "detect", "image.png")
    assert code == 2
    # Installed or not, in these tests it is disabled.
    assert err.startswith("lucid: error: there is no command 'detect'; lucid-models-detection adds")
    assert "LUCID_DISABLE_PLUGINS" in err or "pip install lucid-models-detection" in err


def test_plugins_command_runs_and_help_names_its_distribution(environment, capsys) -> None:
    environment.add("tools-a", plugin=COMMANDS.format(name="alpha"), version="3.1")
    environment.add("tools-b", plugin=COMMANDS.format(name="beta"))
    assert run(capsys, "alpha") == (0, "alpha ran\n", "")
    _, out, _ = run(capsys, "--help")
    assert "Commands from tools-a 3.1:\n  alpha  Do what alpha does.\n" in out
    assert "Commands from tools-b 1.0:\n  beta  Do what beta does." in out
    _, out, _ = run(capsys, "beta", "--help")
    assert out.rstrip().endswith("From tools-b 1.0.")


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("value", 2, "lucid: error: a bad\nvalue\n"),
        ("file", 2, "lucid: error: No such file or directory: /no/such/file\n"),
        ("bug", 1, "lucid: error: KeyError: 'key' (run again with --debug for the traceback)\n"),
        (
            "package",
            1,
            "lucid: error: No such module; lucid-models-detection is not installed: "
            "python -m pip install lucid-models-detection\n",
        ),
        ("memory", 1, "lucid: error: not enough memory\n"),
        ("diverged", 1, "lucid: error: the loss is nan\n"),
        ("interrupt", 130, "\nlucid: interrupted\n"),
        ("code", 7, ""),
    ],
)
def test_errors_become_a_line_and_an_exit_code(
    environment, capsys, kind: str, code: int, message: str
) -> None:
    environment.add("tools", plugin=COMMANDS.format(name="alpha"))
    assert run(capsys, "alpha", kind) == (code, "", message)


def test_warnings_that_are_no_plugins_own_go_their_usual_way(environment, capsys) -> None:
    environment.add("tools", plugin=COMMANDS.format(name="alpha"))
    with pytest.warns(UserWarning, match="slow"):
        assert run(capsys, "alpha", "warning") == (0, "alpha ran\n", "")


def test_ctrl_c_at_any_time_is_130(environment, capsys, monkeypatch) -> None:
    environment.add(
        "slow",
        plugin="import lucid\n@lucid.hookimpl\n"
        "def lucid_register_commands(cli):\n    raise KeyboardInterrupt\n",
    )
    # Ctrl-C while plugins register commands is not a plugin error.
    assert run(capsys, "alpha") == (130, "", "\nlucid: interrupted\n")

    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("lucid.cli.entry_point.run", interrupted)  # as while it is imported
    assert run(capsys, "models") == (130, "", "")


def test_debug_anywhere_shows_the_traceback(environment, capsys) -> None:
    environment.add("tools", plugin=COMMANDS.format(name="alpha"))
    for arguments in (["--debug", "alpha", "bug"], ["alpha", "bug", "--debug"]):
        code, _, err = run(capsys, *arguments)
        assert code == 1
        assert "Traceback" in err
        assert err.endswith("lucid: error: KeyError: 'key'\n")
    code, out, err = run(capsys, "alpha", "--", "--debug")
    assert (code, out) == (0, "alpha ran\n")


def test_hidden_commands_run_and_are_not_listed(environment, capsys) -> None:
    source = COMMANDS.format(name="alpha").replace("@cli.command()", "@cli.command(hidden=True)")
    environment.add("tools", plugin=source)
    assert run(capsys, "alpha") == (0, "alpha ran\n", "")
    code, out, err = run(capsys, "--help")
    assert (code, err) == (0, "")
    assert "tools" not in out
    assert "alpha" not in out


@pytest.mark.parametrize("fault", ["raise RuntimeError('sad')", "raise SystemExit(9)", "import no"])
def test_failing_plugin_does_not_break_other_commands(environment, capsys, fault: str) -> None:
    environment.add(
        "broken",
        plugin=f"import lucid\n@lucid.hookimpl\ndef lucid_register_commands(cli):\n    {fault}\n",
    )
    environment.add("tools", "net", plugin=COMMANDS.format(name="alpha"))
    code, out, err = run(capsys, "models", "--json")
    assert (code, out, err) == (0, "[]\n", "")  # without importing the plugin
    code, out, err = run(capsys, "alpha")
    assert (code, out) == (0, "alpha ran\n")
    assert err.startswith("lucid: warning: broken 1.0: its commands are skipped: ")
    assert err.count("\n") == 1
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "Commands from tools 1.0:" in out
    assert "Plugins whose commands could not be added:\n  broken 1.0  its commands" in out


def test_ambiguous_plugin_commands(environment, capsys) -> None:
    environment.add("one", plugin=COMMANDS.format(name="alpha"))
    environment.add("two", plugin=COMMANDS.format(name="alpha"))
    code, out, err = run(capsys, "alpha")
    assert (code, out) == (2, "")
    assert (
        err == "lucid: error: several plugins add the command 'alpha'; run one:alpha or two:alpha\n"
    )
    assert run(capsys, "two:alpha") == (0, "alpha ran\n", "")
    _, out, _ = run(capsys, "--help")
    assert "  one:alpha" in out


def test_plugin_cannot_replace_a_core_command(environment, capsys) -> None:
    environment.add("grabby", plugin=COMMANDS.format(name="models"))
    assert run(capsys, "models", "--json")[:2] == (0, "[]\n")
    _, out, _ = run(capsys, "--help")
    assert "its command 'models' is skipped" in out


def test_end_of_input_is_bad_input_not_an_interrupt(environment, capsys, monkeypatch) -> None:
    import io

    environment.add("tools", plugin=COMMANDS.format(name="alpha"))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, _, err = run(capsys, "alpha", "question")
    assert code == 2
    assert "end of input" in err


@pytest.mark.slow
def test_module_runs_as_the_script_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lucid.cli", "info", "no_such_model"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lucid: error: no model is called 'no_such_model'")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("where", ["builder", "forward"])
def test_model_that_ends_the_program_is_an_error(environment, capsys, where) -> None:
    exits = "import sys\n    sys.exit(0)"
    environment.add(
        "toy",
        "net",
        builders=f"""
from lucid import nn
from lucid.models import register_model

class Net(nn.Module):
    def forward(self, x):
        {exits.replace("    ", "        ") if where == "forward" else "return x"}

@register_model
def net() -> nn.Module:
    {exits if where == "builder" else "return Net()"}
""",
    )
    code, out, err = run(capsys, "summary", "net")
    assert (code, out) == (1, "")
    assert "lucid: error: model code called exit(0), at " in err
    assert "builders.py:" in err


def test_command_of_a_plugin_may_exit(environment) -> None:
    source = COMMANDS.format(name="alpha").replace('if kind == "bug":', 'if kind == "exit":')
    environment.add("toy", plugin=source.replace('{}["key"]', "sys.exit(3)"))
    with pytest.raises(SystemExit) as caught:
        main(["alpha", "exit"])
    assert caught.value.code == 3
