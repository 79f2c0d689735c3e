"""What commands that predict for many images have in common."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lucid.cli.output import warn, write
from lucid.cli.output_paths import REPORT_SUFFIXES, OutputPath
from lucid.text import pluralize

if TYPE_CHECKING:
    from lucid.prediction import Predictor, ResultStore
    from lucid.prediction.run import Executor

__all__ = ["IMAGE_OPTION_HINTS", "PredictionRun", "images_argument", "prediction_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

#: Failed images that are named one by one; the report has them all.
_NAMED = 10

#: Options of other tools that every command for images has another way for.
IMAGE_OPTION_HINTS = dict.fromkeys(
    ("--source", "--input", "--img", "--image", "--images", "--folder", "-i"),
    "name images, folders, patterns or @list.txt without an option",
)

images_argument = click.argument("images", nargs=-1, required=True, metavar="IMAGE...")


def prediction_options(command: Command) -> Command:
    """Give a command the options of :class:`PredictionRun`."""
    for option in (
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            metavar="N",
            help="With --dask, threads for each batch.  [default: the processors shared out among "
            "local workers; 1 on a scheduler]",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            metavar="N",
            help="Processes of --dask local.  [default: one for each processor]",
        ),
        click.option(
            "--dask",
            metavar="local|SCHEDULER",
            help="Predict on Dask: by worker processes of this machine, or by the workers of a "
            "scheduler, given by its address, such as tcp://host:8786, or its scheduler file.",
        ),
        click.option(
            "--resume",
            is_flag=True,
            help="Continue the results in --output where an earlier call stopped, or complete "
            "finished ones: with new images, those that changed, and those that failed.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class PredictionRun:
    """Predict for images and report; the options of :func:`prediction_options` and some more.

    Attributes
    ----------
    output : OutputPath
        Where to write; without a report, results are printed.
    resume, batch_size, dask, workers, threads
        As :func:`lucid.prediction.predict_files` takes them.
    as_json : bool
        Whether the last line, on a report that was written, is JSON.

    Raises
    ------
    click.BadParameter
        For an option that would have no effect.
    """

    output: OutputPath
    resume: bool
    batch_size: int
    dask: str | None
    workers: int | None
    threads: int | None
    as_json: bool

    @property
    def report(self) -> Path | None:
        """File of results."""
        return self.output.report

    def __post_init__(self) -> None:
        if self.resume and self.report is None:
            suffixes = " or ".join(REPORT_SUFFIXES)
            raise click.BadParameter(
                f"there is nothing to go on with unless --output ends in {suffixes}",
                param_hint="'--resume'",
            )
        if self.workers is not None and self.dask != "local":
            raise click.BadParameter("is for --dask local", param_hint="'--workers'")
        if self.threads is not None and self.dask is None:
            raise click.BadParameter(
                "is for --dask; else OMP_NUM_THREADS", param_hint="'--threads'"
            )

    def predict(
        self,
        predictor: Predictor,
        files: Iterable[str],
        show: Callable[[ResultStore], object],
        *,
        around: Callable[[Executor], Executor] | None = None,
        finish: Callable[[ResultStore], object] | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        """Predict for files, write the report or show the results, and name what failed.

        Parameters
        ----------
        predictor : Predictor
        files : iterable of str
        show : callable
            Writes the results of a store to standard output, where there is no report.
        around : callable, optional
            Wraps the engine, to look at the records as they come.
        finish : callable, optional
            Called with the store of all results before the report is written.
        exclude : sequence of str
            Parts of the records that the report does without.
        """
        from lucid.prediction import ResultStore
        from lucid.prediction.run import make_executor, predict_pending

        description = predictor.description()
        files = iter(files)
        first = list(itertools.islice(files, 1))  # before a folder is made: there may be none
        self.output.make()
        with ResultStore(self.report, description, resume=self.resume) as store:
            store.add(itertools.chain(first, files))
            if store.reopened and self._say_what_is_left(store, complete=finish is None):
                return
            try:
                with make_executor(self.dask, self.workers, self.threads) as chosen:
                    wrapped = chosen if around is None else around(chosen)
                    predict_pending(store, predictor, wrapped, batch_size=self.batch_size)
            except KeyboardInterrupt:
                self._say_how_to_go_on(store)
                raise
            if finish is not None:
                finish(store)
            self._tell(store, show, exclude)

    def _say_what_is_left(self, store: ResultStore, complete: bool) -> bool:
        """Whether a finished report has nothing left to do; on stderr, what is left.

        Raises
        ------
        ValueError
            If something is left and the report is not `complete`: if it does without parts of
            the records that are needed for all images.
        """
        _, done, _ = store.count()
        left = {kind: number for kind, number in store.remaining().items() if number}
        if not left:
            click.echo(f"{self.report} is finished; nothing is left to do", err=True)
            if self.as_json:
                write(json.dumps({"output": str(self.report), "images": done, "failed": 0}))
            return True
        if not complete:
            raise ValueError(
                f"{self.report}: is finished, and does not hold all that --coco-results needs of "
                f"its {pluralize(done, 'image')}; leave out --resume to predict for all of them"
            )
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in left.items())
        click.echo(
            f"{self.report} is finished for {pluralize(done, 'image')}; to do: {kinds}", err=True
        )
        return False

    def _say_how_to_go_on(self, store: ResultStore) -> None:
        total, done, failed = store.count()
        if store.report is not None and done + failed:
            click.echo(
                f"stopped after {done + failed:,} of {pluralize(total, 'image')}; the same "
                "command with --resume goes on from here",
                err=True,
            )

    def _tell(
        self, store: ResultStore, show: Callable[[ResultStore], object], exclude: Sequence[str]
    ) -> None:
        """Write the report, or show the results; name images that failed."""
        _, done, failed = store.count()
        named = list(itertools.islice(store.failures(), _NAMED))
        if self.report is not None:
            store.finish(exclude)
        if failed and not done:
            reason = f"{named[0]['image']}: {named[0]['error']}"
            raise ValueError(
                reason if failed == 1 else f"none of {failed:,} images could be used; {reason}"
            )
        for failure in named:
            warn(f"{failure['image']}: {failure['error']}")
        if failed > len(named):
            warn(f"{pluralize(failed - len(named), 'more image', 'more images')} failed")
        if self.report is None:
            show(store)
        elif self.as_json:
            write(json.dumps({"output": str(self.report), "images": done, "failed": failed}))
        else:
            write(
                f"{pluralize(done, 'image')} in {self.report}"
                + (f", {failed:,} failed" if failed else "")
            )
