"""``lucid new-plugin``: create a plugin project."""

from __future__ import annotations

from pathlib import Path

import click

from lucid.scaffold.kinds import KINDS

__all__ = ["new_plugin"]


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the project, which must be empty or not exist. Default: ./NAME.",
)
@click.option("--model", metavar="MODEL", help="Name of the model. Default: NAME followed by _net.")
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default="classifier",
    show_default=True,
    help="Kind of model: a classifier, a backbone (a classifier that detectors can build on), or a "
    "detector.",
)
def new_plugin(name: str, directory: Path | None, model: str | None, kind: str) -> None:
    """Create the project of a new plugin with the distribution name NAME.

    The project has a small model, its registration, tests and a documentation page.  Install it to
    add the model to lucid.models.
    """
    from lucid.scaffold import plugin_names, write_plugin

    names = plugin_names(name, model)
    folder = write_plugin(names, Path(name) if directory is None else directory, kind)
    shown = folder if folder.is_absolute() else f"./{folder.as_posix()}"
    click.echo(f"Created {shown}: plugin {names.distribution}, model {names.model}. Next:")
    click.echo("")
    for command in (
        f'python -m pip install -e "{shown}[dev]"',
        f"lucid info {names.model}",
        f"lucid check-plugin {names.distribution}",
        f"python -m pytest {shown}",
    ):
        click.echo(f"  {command}")
