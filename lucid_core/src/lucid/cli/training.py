"""Options and helpers shared by training commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from lucid.training import Communicator

__all__ = [
    "best_line",
    "check_data_option",
    "distributed_options",
    "given_options",
    "open_communicator",
    "resume_hint",
    "run_folder_options",
    "skip_invalid_option",
    "workers_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])


def given_options(ctx: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given explicitly."""
    return {
        name: value
        for name, value in options.items()
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
    }


def best_line(metric: str, best: float | None, weights: Path, suspect: str) -> str:
    """Format the last line of a training run: best metric (None if always NaN) and saved model.

    ``suspect`` names the data to check if the metric stayed 0, such as "the annotations".
    """
    if best is None:
        return f"no best {metric}, it was NaN after every epoch; {weights} was not written"
    line = f"best {metric} {best:.4f}: {weights}"
    if not weights.exists():
        return f"{line} (removed or moved since; only a better model is saved again)"
    if best == 0:
        line += (
            f" (from the first epoch: {metric} was never above 0; train longer or check {suspect})"
        )
    return line


@contextmanager
def resume_hint(command: str, output: Path, communicator: Communicator) -> Iterator[None]:
    """On Ctrl-C or SIGTERM, print how to resume the run in ``output``."""
    from lucid.training.interrupts import Terminated

    try:
        yield
    except (KeyboardInterrupt, Terminated):
        if communicator.is_main:
            click.echo(
                f"stopped; resume with: lucid {command} --output {output} --resume", err=True
            )
        raise


check_data_option = click.option(
    "--check-data/--no-check-data",
    default=True,
    show_default=True,
    help="Check all images before the first step; see lucid check-data.",
)


def skip_invalid_option(covers: str) -> Callable[[Command], Command]:
    """Add the option ``--skip-invalid``; `covers` names the skipped entries in the help."""
    return click.option(
        "--skip-invalid",
        is_flag=True,
        help=f"Skip {covers} instead of rejecting the data; rejected if more than half is invalid.",
    )


workers_option = click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Number of worker processes that load images.",
)


def run_folder_options(command: Command) -> Command:
    """Add the options ``--output``, ``--resume``, ``--workers`` and ``--seed``."""
    for option in (
        click.option(
            "--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed."
        ),
        workers_option,
        click.option(
            "--resume",
            is_flag=True,
            help="Resume the run in --output; give paths again if the data moved.",
        ),
        click.option(
            "--output",
            required=True,
            type=click.Path(path_type=Path),
            metavar="RUN",
            help="Folder of the run.",
        ),
    ):
        command = option(command)
    return command


def distributed_options(command: Command) -> Command:
    """Add the options ``--mpi`` and ``--synchronize-norms``."""
    for option in (
        click.option(
            "--synchronize-norms",
            is_flag=True,
            help="Compute batch norm statistics over the batches of all ranks.",
        ),
        click.option(
            "--mpi",
            is_flag=True,
            help="Train on several ranks: mpiexec -n N lucid ... --mpi; --batch-size is global "
            "(summed over ranks).",
        ),
    ):
        command = option(command)
    return command


@contextmanager
def open_communicator(mpi: bool) -> Iterator[Communicator]:
    """Open the communicator of a training command; an error on one rank aborts all."""
    from lucid.cli.entry_point import RankError
    from lucid.training import Communicator, mpi_communicator
    from lucid.training.interrupts import Terminated
    from lucid.training.mpi import launched_ranks

    if not mpi:
        if (started := launched_ranks()) > 1:
            raise click.UsageError(
                f"mpiexec started {started} ranks, and each would train alone; add --mpi"
            )
        yield Communicator()
        return
    try:
        communicator = mpi_communicator()
    except RuntimeError as error:
        raise click.ClickException(str(error)) from error
    try:
        yield communicator
    except (Exception, KeyboardInterrupt, Terminated) as error:
        if communicator.size == 1:
            raise
        communicator.wait_for_main()
        where = "" if communicator.is_main else f"rank {communicator.rank}: "
        raise RankError(error, where, communicator.abort) from error
