from __future__ import annotations

import os

import click
import pytest
from click.testing import CliRunner

from lucid.cli.check_data import check_data
from lucid.cli.image_limit import max_pixels_option
from lucid.vision.image_limit import MAX_PIXELS_VARIABLE, max_pixels_set


@click.command()
@max_pixels_option
def show() -> None:
    click.echo(f"{max_pixels_set()}")


@pytest.mark.parametrize("before", [None, "500"])
def test_the_option_sets_the_environment_while_the_command_runs(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MAX_PIXELS_VARIABLE, raising=False)
    if before is not None:
        monkeypatch.setenv(MAX_PIXELS_VARIABLE, before)
    assert CliRunner().invoke(show, ["--max-pixels", "1000"]).output == "1000\n"
    assert CliRunner().invoke(show, []).output == f"{before}\n"
    assert os.environ.get(MAX_PIXELS_VARIABLE) == before
    assert CliRunner().invoke(show, ["--max-pixels", "0"]).exit_code == 2


def test_what_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("many", "-1", "0", "1.5"):
        monkeypatch.setenv(MAX_PIXELS_VARIABLE, value)
        with pytest.raises(ValueError, match=f"{MAX_PIXELS_VARIABLE}: .*'{value}'"):
            max_pixels_set()


def test_checking_data_has_the_option() -> None:
    assert "--max-pixels" in CliRunner().invoke(check_data, ["--help"]).output
