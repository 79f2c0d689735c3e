"""``lucid weights``: list, fetch, verify and remove published weights."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

import click

from lucid.cli.did_you_mean import did_you_mean
from lucid.cli.output import json_option, write, write_json, write_table
from lucid.text import align_columns, format_size, pluralize

if TYPE_CHECKING:
    from lucid.weights import CatalogEntry

__all__ = ["tag_label", "weights"]

#: Width of the table if the output is not a terminal.
_UNLIMITED = 10_000
_LICENSE = 4


class _ListByDefault(click.Group):
    """Group that runs its command ``list`` if the first argument is no command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and args[0] in {*self.commands, *ctx.help_option_names}
        if not named and not ctx.resilient_parsing:  # shell completion
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_ListByDefault,
    subcommand_metavar="[PATTERN] | COMMAND [ARGS]...",
    # `lucid weights --json`: an option of `list`
    context_settings={"ignore_unknown_options": True},
)
def weights() -> None:
    """List, fetch, verify and remove published weights.

    Without a command, list the weights of the models whose names match PATTERN, such as
    'resnet_*' (in quotes), or of all models.

    Files are kept in the folder 'weights' of LUCID_HOME, by default in the user's cache, and
    fetched from their publisher, or from LUCID_WEIGHTS_MIRROR, a folder or https address.
    LUCID_OFFLINE=1 forbids the network.
    """


@weights.command("list")
@click.argument("patterns", metavar="[PATTERN]", nargs=-1)
@json_option
def list_command(patterns: tuple[str, ...], as_json: bool) -> None:
    """List published weights (the default command).

    PATTERN matches names of models, such as 'resnet_*' (in quotes).
    """
    if len(patterns) > 1:
        raise click.UsageError(
            f"expected one PATTERN or a command ({', '.join(weights.commands)}), got "
            f"{' '.join(patterns)!r}"
        )
    entries = _find(*patterns)
    if as_json:
        write_json([_fields(entry) for entry in entries])
    elif entries:
        rows = [("MODEL", "TAG", "MIB", "METRIC", "LICENSE", "FETCHED"), *map(_row, entries)]
        columns = shutil.get_terminal_size((_UNLIMITED, 24)).columns
        narrow = max(map(len, align_columns(rows))) > columns
        if narrow:
            rows = [(*row[:_LICENSE], *row[_LICENSE + 1 :]) for row in rows]
        write_table(rows, right=(2,))
        if narrow:
            click.echo("licenses: lucid weights --json, or a wider terminal", err=True)


def _find(pattern: str = "*") -> list[CatalogEntry]:
    """Return the weights that match; say on stderr if there are none."""
    from lucid.weights import list_weights

    entries = list_weights(pattern)
    if not entries:
        total = len(list_weights())
        known = f"run 'lucid weights' to list all {total}" if total else "no plugin registers any"
        click.echo(f"no published weights match; {known}", err=True)
    return entries


def _row(entry: CatalogEntry) -> tuple[str, ...]:
    from lucid.weights.download import cached_path

    metric = next((f"{name} {value:g}" for name, value in entry.metrics.items()), "-")
    return (
        entry.model,
        tag_label(entry),
        f"{entry.size / 2**20:.1f}",
        metric,
        entry.license.partition(";")[0],
        "yes" if cached_path(entry).is_file() else "no",
    )


def tag_label(entry: CatalogEntry) -> str:
    """Return the tag, marked if it is the default of the model."""
    return f"{entry.tag} (default)" if entry.default else entry.tag


def _fields(entry: CatalogEntry) -> dict[str, Any]:
    """Return all fields of an entry, and where its file is in the cache (None if it is not)."""
    from lucid.weights.download import cached_path

    fields = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
    path = cached_path(entry)
    return {
        **fields,
        "metrics": dict(entry.metrics),
        "arguments": dict(entry.arguments),
        "filename": entry.filename,
        "path": str(path) if path.is_file() else None,
    }


@did_you_mean(
    options={
        "--output": "set LUCID_HOME; lucid weights fetch prints the path",
        "--all": "fetch one MODEL at a time; lucid weights lists them",
    }
)
@weights.command()
@click.argument("model")
@click.argument("tag", default="default")
@json_option
def fetch(model: str, tag: str, as_json: bool) -> None:
    """Fetch weights of MODEL and print the path of the file.

    TAG is one that lucid weights lists; without it, the default of the model is fetched.  A file
    that is in the cache is only verified.
    """
    from lucid.weights import catalog_entry
    from lucid.weights.download import fetch_entry

    entry = catalog_entry(model, tag)
    path = fetch_entry(entry)
    if as_json:
        size = path.stat().st_size
        write_json({"model": entry.model, "tag": entry.tag, "path": str(path), "bytes": size})
    else:
        write(str(path))


@weights.command()
@click.argument("pattern", default="*")
@json_option
@click.pass_context
def verify(ctx: click.Context, pattern: str, as_json: bool) -> None:
    """Compare fetched files with their published SHA-256.

    PATTERN matches names of models, such as 'resnet_*' (in quotes); without it, all fetched
    files are compared.  The exit code is 1 if a file is damaged.
    """
    from lucid.weights.download import cached_path, verify_entry

    entries = _find(pattern)
    checked = [(entry, ok) for entry in entries if (ok := verify_entry(entry)) is not None]
    if as_json:
        write_json(
            [
                {
                    "model": entry.model,
                    "tag": entry.tag,
                    "path": str(cached_path(entry)),
                    "ok": ok,
                }
                for entry, ok in checked
            ]
        )
    elif checked:
        rows = [("MODEL", "TAG", "RESULT", "PATH")]
        rows += [
            (entry.model, entry.tag, "ok" if ok else "damaged", str(cached_path(entry)))
            for entry, ok in checked
        ]
        write_table(rows)
    elif entries:
        click.echo("none of these weights are fetched", err=True)
    for entry, ok in checked:
        if not ok:
            click.echo(f"replace the file: lucid weights fetch {entry}", err=True)
    if not all(ok for _, ok in checked):
        ctx.exit(1)


@weights.command()
@click.argument("model", required=False)
@click.argument("tag", default="default")
@click.option("--all", "every", is_flag=True, help="Remove all fetched weights.")
@json_option
def remove(model: str | None, tag: str, every: bool, as_json: bool) -> None:
    """Remove a fetched file of MODEL.

    TAG is one that lucid weights lists; without it, the file of the model's default is removed.
    """
    from lucid.weights import catalog_entry, list_weights
    from lucid.weights.download import cached_path, remove_entry

    if every == (model is not None):
        raise click.UsageError("expected either MODEL or --all")
    entries = [catalog_entry(model, tag)] if model is not None else list_weights()
    removed: list[dict[str, Any]] = []
    for entry in entries:
        path = cached_path(entry)
        size = path.stat().st_size if path.is_file() else 0
        if remove_entry(entry):
            removed.append(
                {"model": entry.model, "tag": entry.tag, "path": str(path), "bytes": size}
            )
    if as_json:
        write_json(removed)
    elif removed:
        freed = sum(file["bytes"] for file in removed)
        click.echo(f"removed {pluralize(len(removed), 'file')}, {format_size(freed)} freed")
    else:
        click.echo("no weights are fetched" if every else f"{entries[0]} is not fetched", err=True)
