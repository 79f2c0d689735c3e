from __future__ import annotations

import os

import click
import pytest
from click.testing import CliRunner

from lucid.cli.check_data import check_data
from lucid.cli.max_pixels import max_pixels_option
from lucid.vision.pixel_limit import MAX_PIXELS_VARIABLE, default_max_pixels


@click.command()
@max_pixels_option
def show() -> None:
    click.echo(f"{default_max_pixels()}")


@pytest.mark.parametrize("before", [None, "500"])
def test_option_sets_the_environment_while_the_command_runs(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MAX_PIXELS_VARIABLE, raising=False)
    if before is not None:
        monkeypatch.setenv(MAX_PIXELS_VARIABLE, before)
    assert CliRunner().invoke(show, ["--max-pixels", "1000"]).output == "1000\n"
    assert CliRunner().invoke(show, []).output == f"{before}\n"
    assert os.environ.get(MAX_PIXELS_VARIABLE) == before
    assert CliRunner().invoke(show, ["--max-pixels", "0"]).exit_code == 2


def test_checking_data_has_the_option() -> None:
    assert "--max-pixels" in CliRunner().invoke(check_data, ["--help"]).output
