"""``lucid check-data``: validate a data set before training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lucid.cli.did_you_mean import did_you_mean
from lucid.cli.max_pixels import max_pixels_option
from lucid.cli.output import json_option, write_json

if TYPE_CHECKING:
    from lucid.data.checkers import DataChecker

__all__ = ["check_data"]

_REFUSED = 2


@did_you_mean(
    options={
        "--box-format": "--option box_format=...",
        "--box-orientation": "--option box_orientation=...",
        "--skip-invalid": "the report lists what --skip-invalid of the training commands skips",
    }
)
@click.command("check-data")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Annotation file, or folder of annotations or of class folders.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Image folder that file names in the annotations are relative to.",
)
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    help="Data format, such as coco.  [default: detected]",
)
@max_pixels_option
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Format option, such as box_format=xyxy; repeatable.",
)
@json_option
@click.pass_context
def check_data(
    ctx: click.Context,
    data: Path,
    images: Path | None,
    format_name: str | None,
    options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check a data set before training.

    Lists classes with counts, image sizes, problems that training would refuse, and notes, with
    up to ten examples of each. Opens every image, but decodes only files that look damaged. The
    exit code is 0 if training accepts the data, 2 if not.
    """
    from lucid.data.checkers import choose_checker
    from lucid.data.report_text import table_lines

    checker = choose_checker(data, format_name)
    report = checker.check(data, images, **_options(options, checker))
    if as_json:
        write_json({"format": checker.name, **report.as_dict()})
    else:
        for line in table_lines(report, shutil.get_terminal_size().columns):
            click.echo(line)
    if not report.usable:
        ctx.exit(_REFUSED)


def _options(given: tuple[str, ...], checker: DataChecker) -> dict[str, str]:
    options: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in checker.options:
            known = ", ".join(f"{option}=VALUE" for option in checker.options) or "none"
            raise click.UsageError(
                f"--option: expected one of the options of {checker.name} ({known}), got {text!r}"
            )
        options[name] = value
    return options
