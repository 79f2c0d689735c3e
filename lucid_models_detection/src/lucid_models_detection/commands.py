"""The plugin's part of the ``lucid`` command line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lucid.cli.output import as_json_option, warn, write
from lucid_models_classification.image_options import max_pixels_option

if TYPE_CHECKING:
    from lucid.prediction import Batch, Predictor, ResultStore
    from lucid.prediction.run import Engine
    from lucid_models_detection.coco_ids import CocoIds
    from lucid_models_detection.prediction import DetectionPredictor

__all__ = ["class_names_in", "detect"]

REPORT_SUFFIXES = (".json", ".jsonl")

#: Failed images that are told one by one; the report has them all.
_TOLD = 10


@click.command()
@click.argument(
    "images",
    nargs=-1,
    required=True,
    metavar="IMAGE...",
)
@click.option(
    "--weights",
    required=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The detector: a file of lucid.save_model, or the weights of a Faster R-CNN alone as "
    "torchvision saves them, such as fasterrcnn_resnet50_fpn_coco-258fb6c6.pth.",
)
@click.option(
    "--output",
    metavar="FILE|DIR",
    type=click.Path(path_type=Path),
    help="A file ending in .json or .jsonl: where to write the results. Anything else: where to "
    "write the images with the detections drawn on them, a directory, made if it is missing, or "
    "for one image a file such as boxes.png.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the results in --output where an earlier call stopped, and try again what "
    "failed in it.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Images in memory, and at a worker, at a time.",
)
@click.option(
    "--dask",
    metavar="local|SCHEDULER",
    help="Predict on Dask: by worker processes of this machine, or by the workers of a scheduler, "
    "given by its address, such as tcp://host:8786, or its scheduler file.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes of --dask local.  [default: one for each processor]",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --dask, threads for each batch.  [default: the processors shared out among local "
    "workers; 1 on a scheduler]",
)
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Leave out detections that score less.",
)
@click.option(
    "--scale",
    type=click.FloatRange(0, 32, min_open=True),
    default=1.0,
    show_default=True,
    help="Enlarge the drawn images, so that text is legible on small ones.",
)
@click.option(
    "--class-names",
    "names_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text file with the name of each class on a line, in the place of those in the file; "
    "the background's may be left out.",
)
@click.option(
    "--norm-eps",
    type=click.FloatRange(0),
    metavar="NUMBER",
    help="For torchvision's weights: what its normalisations add to the variance.  [default: 0 "
    "for the published COCO_V1 weights, 1e-5 for others, as torchvision has it]",
)
@click.option(
    "--coco-results",
    "results_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write every detection, whatever its score, to this JSON file in COCO's results "
    "format. Needs --data.",
)
@click.option(
    "--data",
    metavar="JSON",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The COCO file that --coco-results takes the ids of images and categories from.",
)
@max_pixels_option
@as_json_option
def detect(
    images: tuple[str, ...],
    weights: Path,
    output: Path | None,
    resume: bool,
    batch_size: int,
    dask: str | None,
    workers: int | None,
    threads: int | None,
    score_threshold: float,
    scale: float,
    names_file: Path | None,
    norm_eps: float | None,
    results_file: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Find objects in images with a saved detector.

    An IMAGE is a file, a directory with images, a pattern in quotes such as
    "photos/**/*.jpg", or @list.txt, a text file with any of these on each line.  Images
    that cannot be read are told, and listed in the results; the others go on.
    """
    from lucid.prediction import ResultStore, find_files
    from lucid.prediction.run import engine, fill
    from lucid_models_classification.suffixes import image_suffixes
    from lucid_models_detection.prediction import DetectionPredictor

    report = output if output is not None and output.suffix.lower() in REPORT_SUFFIXES else None
    _check_options(report, resume, dask, workers, threads)
    if (results_file is None) != (data is None):
        raise click.UsageError("give --coco-results FILE and --data JSON together")
    files = find_files(images, image_suffixes(), warn)
    predictor = DetectionPredictor(
        weights,
        score_threshold=score_threshold,
        norm_eps=norm_eps,
        drawings=output if report is None else None,
        scale=scale,
    )
    if predictor.drawings is not None:
        files = iter(_checked_pictures(predictor, list(files)))
    if names_file is not None:
        model, _ = predictor.model
        predictor.class_names = class_names_in(names_file, model.num_classes)
    ids = None
    if data is not None:
        ids = _coco_ids(predictor, data, list(files))
        files = iter(ids.images)
    if report is not None and resume and _is_finished(report):
        click.echo(f"{report} is finished; there is nothing to go on with", err=True)
        return
    with ResultStore(report, predictor.description(), resume=resume) as store:
        store.add(files)
        try:
            with engine(dask, workers, threads) as chosen:
                fill(store, predictor, _checked(chosen, ids), batch_size=batch_size)
        except KeyboardInterrupt:
            _say_how_to_go_on(store)
            raise
        if ids is not None and results_file is not None:
            _write_coco_results(results_file, store, ids)
        _tell(store, report, as_json)


def class_names_in(path: Path, count: int) -> tuple[str, ...]:
    """The names in a text file, the background's first."""
    from lucid.text import read_text

    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if len(names) == count - 1:
        names = ("background", *names)
    if len(names) != count:
        raise ValueError(
            f"{path}: names {len(names)} classes, the detector tells {count - 1} and the "
            "background apart"
        )
    return names


def _check_options(
    report: Path | None, resume: bool, dask: str | None, workers: int | None, threads: int | None
) -> None:
    """Refuse options that would have no effect."""
    if resume and report is None:
        suffixes = " or ".join(REPORT_SUFFIXES)
        raise click.BadParameter(
            f"there is nothing to go on with unless --output ends in {suffixes}",
            param_hint="'--resume'",
        )
    if workers is not None and dask != "local":
        raise click.BadParameter("is for --dask local", param_hint="'--workers'")
    if threads is not None and dask is None:
        raise click.BadParameter("is for --dask; else OMP_NUM_THREADS", param_hint="'--threads'")


def _checked_pictures(predictor: DetectionPredictor, images: Sequence[str]) -> Sequence[str]:
    """The images; refused here, before any work, if two would be drawn to one file."""
    from lucid_models_detection.prediction import PICTURE_SUFFIXES

    output = Path(str(predictor.drawings))
    if output.suffix.lower() in PICTURE_SUFFIXES and not output.is_dir():
        if len(images) > 1:
            raise click.BadParameter(
                f"{output} is one file, but there are {len(images)} images; give a directory",
                param_hint="'--output'",
            )
    elif output.is_file():
        raise click.BadParameter(
            f"{output} is a file; expected a directory, or a name ending in "
            + ", ".join([*REPORT_SUFFIXES, *PICTURE_SUFFIXES]),
            param_hint="'--output'",
        )
    given = {Path(image).resolve() for image in images}
    first: dict[str, str] = {}
    for image in images:
        picture = str(predictor.picture_of(image))
        if Path(picture).resolve() in given:
            raise click.BadParameter(f"{picture} is one of the images", param_hint="'--output'")
        if first.setdefault(picture, image) != image:
            raise click.BadParameter(
                f"{first[picture]} and {image} would both be drawn to {picture}; name images apart "
                "or give them in two calls",
                param_hint="'--output'",
            )
    return images


def _coco_ids(predictor: DetectionPredictor, data: Path, images: list[str]) -> CocoIds:
    """What a COCO file calls images and classes; the predictor gets to know the latter."""
    from lucid_models_detection.coco_ids import CocoIds

    _, class_names = predictor.model
    named = predictor.class_names is not None
    names = predictor.class_names if named else class_names
    paths = [Path(image) for image in images]
    ids = CocoIds(data, paths, Path(predictor.weights), names, named=named)
    predictor.category_ids = ids.categories
    return ids


def _checked(chosen: Engine, ids: CocoIds | None) -> Engine:
    """The same engine; an image that the COCO file knows in another size ends it."""
    if ids is None:
        return chosen

    def run(
        predictor: Predictor, batches: Iterator[Batch]
    ) -> Iterator[tuple[Batch, list[dict[str, Any]]]]:
        for batch, records in chosen(predictor, batches):
            for record in records:
                if "error" not in record:
                    ids.results(record)
            yield batch, records

    return run


def _write_coco_results(path: Path, store: ResultStore, ids: CocoIds) -> None:
    from lucid.weights import atomic_write

    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (
        row
        for record in store.results()
        if record["image"] in ids.images  # an earlier call may have been given more
        for row in ids.results(record)
    )
    with atomic_write(path) as file:
        file.write(b"[")
        for number, row in enumerate(rows):
            file.write((", " if number else "").encode() + json.dumps(row).encode())
        file.write(b"]")


def _is_finished(report: Path) -> bool:
    from lucid.prediction.store import PARTIAL

    return report.exists() and not Path(f"{report}{PARTIAL}").exists()


def _say_how_to_go_on(store: ResultStore) -> None:
    total, done, failed = store.count()
    if store.report is not None and done + failed:
        click.echo(
            f"stopped after {done + failed:,} of {total:,} images; the same command with "
            "--resume goes on from here",
            err=True,
        )


def _tell(store: ResultStore, report: Path | None, as_json: bool) -> None:
    """Write the report, or print what is in it; name images that failed."""
    from lucid_models_detection.prediction import COCO_RESULTS

    _, done, failed = store.count()
    told = list(itertools.islice(store.failures(), _TOLD))
    if report is not None:
        store.finish(leave_out=[COCO_RESULTS])
    if failed and not done:
        reason = f"{told[0]['image']}: {told[0]['error']}"
        raise ValueError(
            reason if failed == 1 else f"none of {failed:,} images could be used; {reason}"
        )
    for failure in told:
        warn(f"{failure['image']}: {failure['error']}")
    if failed > len(told):
        warn(f"{failed - len(told):,} more images failed")
    if report is None and as_json:
        for line in store.lines(leave_out=[COCO_RESULTS]):
            write(line, newline=False)
    elif report is None:
        click.echo(_table(list(store.results())))
    elif as_json:
        write(json.dumps({"output": str(report), "images": done, "failed": failed}))
    else:
        click.echo(f"{done:,} images in {report}" + (f", {failed:,} failed" if failed else ""))


def _table(results: Sequence[dict[str, Any]]) -> str:
    """One line for each detection; an image without any has a line that says so."""
    image_width = max(len("image"), *(len(result["image"]) for result in results))
    names = [found["class"] for result in results for found in result["detections"]]
    name_width = max(len(name) for name in ["class", *names])
    edges = "".join(f"{edge:>9}" for edge in ("x1", "y1", "x2", "y2"))
    lines = [f"{'image':<{image_width}}  {'class':<{name_width}}  score{edges}"]
    for result in results:
        if not result["detections"]:
            lines.append(f"{result['image']:<{image_width}}  nothing found")
        for found in result["detections"]:
            edges = "".join(f"{edge:9.1f}" for edge in found["box"])
            lines.append(
                f"{result['image']:<{image_width}}  {found['class']:<{name_width}}  "
                f"{found['score']:5.3f}{edges}"
            )
    drawn = [result["picture"] for result in results if result["picture"]]
    if drawn:
        lines += ["", *(f"drawn: {path}" for path in drawn)]
    return "\n".join(lines)
