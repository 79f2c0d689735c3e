"""Standard streams in every condition."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from lucid.cli import main

MODEL = """
import lucid
print("at import")

@lucid.hookimpl
def lucid_register_models(register):
    print("at registration")
    register("tiny_net", "chatty.builders:tiny_net", task="toy", family="tiny",
             total_parameters=0, summary="caf\u00e9 \u732b \U0001f600", input_shape=(1, 2))

@lucid.hookimpl
def lucid_register_commands(cli):
    print("at registration of commands")
    import click
    from lucid.cli.output import json_option, write_json

    @cli.command()
    @json_option
    def tiny(as_json):
        print("in the command")
        write_json([1]) if as_json else click.echo("text")
"""
BUILDERS = """
from lucid import nn
print("at import of the builder")

def tiny_net():
    "A tiny net."
    print("at build")
    return nn.Sequential()
"""


@pytest.fixture
def chatty(environment):
    environment.add("chatty", plugin=MODEL, builders=BUILDERS)


@pytest.mark.parametrize(
    "arguments",
    [["models"], ["info", "tiny_net"], ["plugins"], ["summary", "tiny_net"], ["tiny"]],
)
def test_plugin_prints_do_not_break_json(chatty, capsys, arguments) -> None:
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)
    assert "at import" in err
    stdout = sys.stdout
    assert main([*arguments, "--json", "--bogus"]) == 2
    assert sys.stdout is stdout
    assert capsys.readouterr().out == ""


def written(monkeypatch, encoding: str, *arguments: str) -> tuple[int, bytes]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    code = main(list(arguments))
    assert stream.errors == "strict"  # as it was
    return code, stream.buffer.getvalue()


def test_characters_that_the_terminal_lacks_are_escaped(chatty, monkeypatch) -> None:
    code, out = written(monkeypatch, "latin-1", "info", "tiny_net")
    assert code == 0
    assert b"caf\xe9 \\u732b \\U0001f600" in out
    code, out = written(monkeypatch, "cp1252", "info", "tiny_net", "--json")
    assert (code, json.loads(out)["summary"]) == (0, "caf\xe9 \u732b \U0001f600")
    assert written(monkeypatch, "ascii", "info", "tiny_net")[0] == 0


def test_control_characters_reach_no_terminal(environment, capsys) -> None:
    assert main(["info", "a\x1b[31mred\nline\udcff"]) == 2
    assert "\\x1b[31mred" in capsys.readouterr().err


def test_broken_pipe_exits_silently(environment, monkeypatch, capfd) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["--help"]) == 1
        stream.flush()  # as at the end of the process: into nothing
    assert capfd.readouterr().err == ""


def test_pipe_of_something_else_is_an_error(environment, monkeypatch, capsys) -> None:
    def broken(*arguments, **options):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("lucid.models.list_models", broken)
    assert main(["models"]) == 2
    assert "Broken pipe" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_full_disk_is_an_error(environment, monkeypatch, capsys) -> None:
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["--help"]) == 2
    assert capsys.readouterr().err == "lucid: error: No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
@pytest.mark.slow
def test_closed_streams() -> None:
    command = f'"{sys.executable}" -m lucid.cli models nothing'
    for closed in (">&-", ">&- 2>&- <&-"):
        done = subprocess.run(
            ["sh", "-c", f"{command} {closed}"], capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (0, b"")
        assert b"Traceback" not in done.stderr
