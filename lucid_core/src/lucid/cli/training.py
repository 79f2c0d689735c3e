"""What commands that train have in common."""

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
    """Those options that were given, and not left at their defaults."""
    return {
        name: value
        for name, value in options.items()
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
    }


def best_line(measure: str, best: float | None, weights: Path, suspect: str) -> str:
    """Say how good the best model is and where it was saved, or why there is none.

    Parameters
    ----------
    measure : str
        Name of the value that decides which model is best.
    best : float or None
        Its best value; None if it was always NaN.
    weights : Path
        Where the best model was saved.
    suspect : str
        Part of the data to check if the measure stayed 0, such as "the annotations".
    """
    if best is None:
        return f"no best {measure}, it was NaN after every epoch; {weights} was not written"
    line = f"best {measure} {best:.4f}: {weights}"
    if not weights.exists():
        return f"{line}, which was removed or moved; only a better model is saved again"
    if best == 0:
        line += (
            f" (the model of the first epoch, as {measure} was never above 0; train for longer, "
            f"or check {suspect})"
        )
    return line


@contextmanager
def resume_hint(command: str, output: Path, communicator: Communicator) -> Iterator[None]:
    """On Ctrl-C or SIGTERM, say how to go on with the training in ``output``."""
    from lucid.training.interrupts import Terminated

    try:
        yield
    except (KeyboardInterrupt, Terminated):
        if communicator.is_main:
            click.echo(
                f"stopped; lucid {command} --output {output} --resume goes on from here", err=True
            )
        raise


check_data_option = click.option(
    "--check-data/--no-check-data",
    default=True,
    show_default=True,
    help="Open every image before the first step, see lucid check-data.",
)


def skip_invalid_option(covers: str) -> Callable[[Command], Command]:
    """Give a command ``--skip-invalid``.

    Parameters
    ----------
    covers : str
        What is left out with it, as its help says.
    """
    return click.option(
        "--skip-invalid",
        is_flag=True,
        help=f"Leave out {covers} instead of refusing the data; refused if that is more than half.",
    )


workers_option = click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Processes that read images.",
)


def run_folder_options(command: Command) -> Command:
    """Give a command ``--output``, ``--resume``, ``--workers`` and ``--seed``."""
    for option in (
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True),
        workers_option,
        click.option(
            "--resume",
            is_flag=True,
            help="Continue the run in RUN; give paths again if data moved.",
        ),
        click.option(
            "--output",
            required=True,
            type=click.Path(path_type=Path),
            metavar="RUN",
            help="Its folder.",
        ),
    ):
        command = option(command)
    return command


def distributed_options(command: Command) -> Command:
    """Give a command ``--mpi`` and ``--synchronize-norms``."""
    for option in (
        click.option(
            "--synchronize-norms",
            is_flag=True,
            help="Let batch norms see the batch of all ranks, not each the part of its own.",
        ),
        click.option(
            "--mpi",
            is_flag=True,
            help="Train with the other ranks of mpiexec -n N lucid ... --mpi; --batch-size is "
            "that of all together.",
        ),
    ):
        command = option(command)
    return command


@contextmanager
def open_communicator(mpi: bool) -> Iterator[Communicator]:
    """The ranks that a command trains on; an error on one of them ends all.

    Parameters
    ----------
    mpi : bool
        Whether to join those that ``mpiexec`` has started.

    Raises
    ------
    click.UsageError
        If ``mpiexec`` has started several, and each would train on its own.
    click.ClickException
        If mpi4py or an MPI is not installed, or ``mpiexec`` is that of another MPI.
    """
    from lucid.cli.entry_point import RankError
    from lucid.training import Communicator, mpi_communicator
    from lucid.training.interrupts import Terminated
    from lucid.training.mpi import launched_ranks

    if not mpi:
        if (started := launched_ranks()) > 1:
            raise click.UsageError(f"mpiexec has started {started} ranks of this; give --mpi")
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
