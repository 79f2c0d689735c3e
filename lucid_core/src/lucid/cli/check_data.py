"""``lucid check-data``: everything that training would find wrong in a data set, at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from lucid.cli.image_limit import max_pixels_option
from lucid.cli.output import as_json_option, write_json

__all__ = ["check_data"]

_REFUSED = 2


@click.command("check-data")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Annotation file, or folder of annotations or class folders.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder that the file names in the annotations start from.",
)
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    help="Format of the data, such as coco.  [default: the one that fits]",
)
@max_pixels_option
@as_json_option
@click.pass_context
def check_data(
    ctx: click.Context, data: Path, images: Path | None, format_name: str | None, as_json: bool
) -> None:
    """Check a data set before training.

    Shows classes with counts, image sizes, and everything that training would refuse or that
    is worth a look, with up to ten examples of each kind. Opens every image, but decodes only
    files that do not end as they should. The exit code is 0 if training accepts the data, and
    2 if not.
    """
    from lucid.data.checkers import choose_checker
    from lucid.data.report_text import table_lines

    checker = choose_checker(data, format_name)
    report = checker.check(data, images)
    if as_json:
        write_json({"format": checker.name, **report.as_dict()})
    else:
        for line in table_lines(report, shutil.get_terminal_size().columns):
            click.echo(line)
    if not report.usable:
        ctx.exit(_REFUSED)
