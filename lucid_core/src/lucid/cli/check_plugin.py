"""``lucid check-plugin``: run the conformance checks on a plugin."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lucid.cli.output import json_option, write_json

if TYPE_CHECKING:
    from lucid.testing.plugin_checks import Check, CheckResult

__all__ = ["check_plugin"]


@click.command("check-plugin")
@click.argument("distribution", metavar="DIST")
@click.option("--model", "models", multiple=True, metavar="PATTERN", help="Only these models.")
@json_option
@click.pass_context
def check_plugin(
    ctx: click.Context, distribution: str, models: tuple[str, ...], as_json: bool
) -> None:
    """Run the conformance checks of the plugin in the distribution DIST.

    Each model is built, run, trained for a few steps, saved and loaded.  Failed checks are
    listed with a hint, and the exit code is 1.
    """
    from lucid.testing.plugin_checks import checks, run_checks

    selected = checks(distribution, models or "*")
    results = []
    for result in run_checks(selected):
        if not as_json:
            _write_result(result, selected)
        results.append(result)
    failed = sum(result.outcome != "passed" for result in results)
    if as_json:
        write_json([dataclasses.asdict(result) for result in results])
    else:
        total = f"{len(results)} checks"
        click.echo(f"\n{failed} of {total} failed" if failed else f"\nall {total} passed")
    if failed:
        ctx.exit(1)


def _write_result(result: CheckResult, selected: Sequence[Check]) -> None:
    """Print one row of the table; before the first, print the header."""
    models = max(len(check.model or "") for check in selected)
    names = max(len(check.name) for check in selected)
    if result.check == selected[0].name and result.model == selected[0].model:
        titles = ("MODEL".ljust(max(models, 5)), "CHECK".ljust(names), "SECONDS", "RESULT")
        click.echo("  ".join(titles))
    cells = (
        (result.model or "-").ljust(max(models, 5)),
        result.check.ljust(names),
        f"{result.seconds:7.1f}",
        result.outcome,
    )
    click.echo("  ".join(cells))
    if result.outcome == "failed":
        click.echo(f"    {result.problem}\n    hint: {result.advice}")
    sys.stdout.flush()
