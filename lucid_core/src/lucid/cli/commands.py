"""Core commands: list, describe and summarize models and plugins."""

from __future__ import annotations

import dataclasses
import warnings

import click

import lucid
from lucid.cli.check_data import check_data
from lucid.cli.check_plugin import check_plugin
from lucid.cli.group import LucidGroup
from lucid.cli.new_plugin import new_plugin
from lucid.cli.output import json_option, write_json, write_table
from lucid.cli.warmup import warmup
from lucid.cli.weights import tag_label, weights
from lucid.errors import PluginWarning

__all__ = ["cli"]


@click.group(
    cls=LucidGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Lucid: a plugin-based model zoo for CPUs.",
)
@click.version_option(lucid.__version__, prog_name="lucid", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Root command; :mod:`lucid.cli.entry_point` handles ``--debug``."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cli.result_callback()
def _no_exit_code(result: object, **parameters: object) -> None:
    """Drop the return value of a command, which click would use as the exit code."""


@cli.command()
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Exclude matching models.")
@click.option("--task", multiple=True, metavar="PATTERN", help="Filter by task.")
@click.option("--family", multiple=True, metavar="PATTERN", help="Filter by family.")
@click.option("--plugin", multiple=True, metavar="PATTERN", help="Filter by plugin distribution.")
@json_option
def models(
    patterns: tuple[str, ...],
    exclude: tuple[str, ...],
    task: tuple[str, ...],
    family: tuple[str, ...],
    plugin: tuple[str, ...],
    as_json: bool,
) -> None:
    """List installed models.

    PATTERN is a shell-style pattern such as 'resnet_*'; quote it.
    """
    names = lucid.models.list_models(
        patterns or "*",
        exclude=exclude,
        task=task or None,
        family=family or None,
        plugin=plugin or None,
    )
    infos = [lucid.models.model_info(name) for name in names]
    if as_json:
        write_json([dataclasses.asdict(info) for info in infos])
        return
    if not infos:
        _explain_empty_list()
        return
    rows = [("NAME", "TASK", "FAMILY", "PARAMETERS", "PLUGIN")]
    rows += [
        (info.name, info.task, info.family, _count(info.total_parameters), info.distribution or "-")
        for info in infos
    ]
    write_table(rows, right=(3,))


def _explain_empty_list() -> None:
    from lucid.models.suggestions import install_hint

    total = len(lucid.models.list_models())
    if total:
        click.echo(f"no model matches; run 'lucid models' to list all {total}", err=True)
    else:
        click.echo(install_hint(), err=True)


@cli.command()
@click.argument("name")
@json_option
def info(name: str, as_json: bool) -> None:
    """Show details of the model NAME."""
    from lucid.weights import list_weights

    found = lucid.models.model_info(name)
    entries = list_weights(found.name)
    if as_json:
        published = [{"tag": entry.tag, "default": entry.default} for entry in entries]
        write_json({**dataclasses.asdict(found), "weights": published})
        return
    tags = map(tag_label, entries)
    origin = found.origin if found.distribution else f"registered in {found.source}"
    write_table(
        [
            ("name", found.name),
            *([("aliases", ", ".join(found.aliases))] if found.aliases else ()),
            ("summary", found.summary),
            ("task", found.task),
            ("family", found.family),
            ("parameters", _count(found.total_parameters)),
            ("input shape", str(found.input_shape)),
            ("builder", found.builder),
            ("plugin", origin),
            *([("weights", ", ".join(tags))] if entries else ()),
        ]
    )


@cli.command()
@json_option
def plugins(as_json: bool) -> None:
    """List installed plugins and their load errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # the table shows the errors
        found = lucid.models.list_plugins()
    if as_json:
        write_json([dataclasses.asdict(plugin) for plugin in found])
        return
    if not found:
        _explain_empty_list()
        return
    rows = [("PLUGIN", "DISTRIBUTION", "VERSION", "MODELS", "STATUS")]
    rows += [
        (
            plugin.name,
            plugin.distribution,
            plugin.version,
            str(len(plugin.models)),
            "loaded" if plugin.error is None else f"failed: {plugin.error}",
        )
        for plugin in found
    ]
    write_table(rows, right=(3,))


@cli.command()
@click.argument("name")
@click.option(
    "--input", "shape", metavar="1,3,224,224", help="Input shape.  [default: the model's]"
)
@json_option
def summary(name: str, shape: str | None, as_json: bool) -> None:
    """Show layers, shapes, parameters and multiply-adds of the model NAME."""
    input_shape = lucid.models.model_info(name).input_shape if shape is None else _parse(shape)
    found = lucid.models.summarize(lucid.models.create_model(name), input_shape)
    if as_json:
        write_json(dataclasses.asdict(found))
    else:
        click.echo(str(found))


def _parse(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(length) for length in text.replace("x", ",").split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise click.BadParameter(
            f"expected positive integers such as 1,3,224,224, got {text!r}", param_hint="--input"
        )
    return shape


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


cli.add_command(weights)
cli.add_command(check_data)
cli.add_command(warmup)
cli.add_command(new_plugin)
cli.add_command(check_plugin)
