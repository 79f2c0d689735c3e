"""Options and helpers shared by commands that predict for many images."""

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

#: Failed images listed on the terminal; the report lists all.
_MAX_LISTED = 10

#: Options of other tools, with a remedy, for ``did_you_mean``.
IMAGE_OPTION_HINTS = dict.fromkeys(
    ("--source", "--input", "--img", "--image", "--images", "--folder", "-i"),
    "give images, folders, patterns or @list.txt as arguments",
)

images_argument = click.argument("images", nargs=-1, required=True, metavar="IMAGE...")


def prediction_options(command: Command) -> Command:
    """Add the options of :class:`PredictionRun`."""
    for option in (
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            metavar="N",
            help="Threads per batch, with --dask.  [default: processors / local workers; 1 on a "
            "scheduler]",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            metavar="N",
            help="Worker processes of --dask local.  [default: one per processor]",
        ),
        click.option(
            "--dask",
            metavar="local|SCHEDULER",
            help="Predict on Dask: local worker processes, or a scheduler given by its address, "
            "such as tcp://host:8786, or by its scheduler file.",
        ),
        click.option(
            "--resume",
            is_flag=True,
            help="Continue the results in --output: predict for new, changed and failed images.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class PredictionRun:
    """Predict for images and write a report or print the results.

    The options are those of :func:`lucid.prediction.predict_files`; ``as_json`` applies to the
    summary of a written report.
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
        """Result file."""
        return self.output.report

    def __post_init__(self) -> None:
        if self.resume and self.report is None:
            suffixes = " or ".join(REPORT_SUFFIXES)
            raise click.BadParameter(
                f"expected --output with a name that ends in {suffixes}, got no report to resume",
                param_hint="'--resume'",
            )
        if self.workers is not None and self.dask != "local":
            raise click.BadParameter("applies to --dask local only", param_hint="'--workers'")
        if self.threads is not None and self.dask is None:
            raise click.BadParameter(
                "applies to --dask only; set OMP_NUM_THREADS instead", param_hint="'--threads'"
            )

    def predict(
        self,
        predictor: Predictor,
        files: Iterable[str],
        show: Callable[[ResultStore], object],
        *,
        wrap_executor: Callable[[Executor], Executor] | None = None,
        finish: Callable[[ResultStore], object] | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        """Predict for files, write the report or print the results, and list failures.

        Without a report, ``show`` prints the results.  ``wrap_executor`` wraps the executor to see
        records as they arrive; ``finish`` is called with all results before the report is written,
        which omits the record keys in ``exclude``.
        """
        from lucid.prediction import ResultStore
        from lucid.prediction.run import make_executor, predict_pending

        description = predictor.description()
        files = iter(files)
        first = list(itertools.islice(files, 1))  # may raise, before a folder is created
        self.output.make_folder()
        with ResultStore(self.report, description, resume=self.resume) as store:
            store.add(itertools.chain(first, files))
            if store.reopened and self._log_remaining(store, complete=finish is None):
                return
            try:
                with make_executor(self.dask, self.workers, self.threads) as executor:
                    wrapped = executor if wrap_executor is None else wrap_executor(executor)
                    predict_pending(store, predictor, wrapped, batch_size=self.batch_size)
            except KeyboardInterrupt:
                self._log_interrupt(store)
                raise
            if finish is not None:
                finish(store)
            self._report(store, show, exclude)

    def _log_remaining(self, store: ResultStore, complete: bool) -> bool:
        """Log what a finished report lacks; return True if it lacks nothing."""
        _, done, _ = store.count()
        remaining = {kind: number for kind, number in store.remaining().items() if number}
        if not remaining:
            click.echo(f"{self.report} is complete", err=True)
            if self.as_json:
                write(json.dumps({"output": str(self.report), "images": done, "failed": 0}))
            return True
        if not complete:
            raise ValueError(
                f"{self.report}: is finished and lacks data that --coco-results needs for "
                f"its {pluralize(done, 'image')}; remove --resume to predict for all of them"
            )
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in remaining.items())
        click.echo(
            f"{self.report} has results for {pluralize(done, 'image')}; remaining: {kinds}",
            err=True,
        )
        return False

    def _log_interrupt(self, store: ResultStore) -> None:
        total, done, failed = store.count()
        if store.report is not None and done + failed:
            click.echo(
                f"stopped after {done + failed:,} of {pluralize(total, 'image')}; continue "
                "with --resume",
                err=True,
            )

    def _report(
        self, store: ResultStore, show: Callable[[ResultStore], object], exclude: Sequence[str]
    ) -> None:
        """Write the report or print the results, and list failed images."""
        _, done, failed = store.count()
        listed = list(itertools.islice(store.failures(), _MAX_LISTED))
        if self.report is not None:
            store.finish(exclude)
        if failed and not done:
            reason = f"{listed[0]['image']}: {listed[0]['error']}"
            raise ValueError(
                reason if failed == 1 else f"all {failed:,} images failed; the first: {reason}"
            )
        for failure in listed:
            warn(f"{failure['image']}: {failure['error']}")
        if failed > len(listed):
            warn(f"{pluralize(failed - len(listed), 'more image', 'more images')} failed")
        if self.report is None:
            show(store)
        elif self.as_json:
            write(json.dumps({"output": str(self.report), "images": done, "failed": failed}))
        else:
            write(
                f"{pluralize(done, 'image')} in {self.report}"
                + (f", {failed:,} failed" if failed else "")
            )
