"""How commands write: aligned tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

__all__ = ["as_json_option", "warn", "write_json", "write_table"]

as_json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")


def write_json(data: Any) -> None:
    """Write `data` as indented JSON."""
    click.echo(json.dumps(data, indent=2))


def write_table(rows: Sequence[Sequence[str]], right: tuple[int, ...] = ()) -> None:
    """Write aligned columns, those in `right` to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def warn(message: str) -> None:
    """Write a warning as a line on stderr."""
    click.echo(f"lucid: warning: {message}", err=True)
