"""The plugin's part of the ``lucid`` command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lucid.cli.did_you_mean import did_you_mean
from lucid.cli.max_pixels import max_pixels_option
from lucid.cli.model_options import ema_option
from lucid.cli.output import json_option, printable, warn, write
from lucid.cli.output_paths import check_output_file, parse_output
from lucid.cli.param_types import FiniteRange
from lucid.cli.prediction import (
    IMAGE_OPTION_HINTS,
    PredictionRun,
    images_argument,
    prediction_options,
)
from lucid_models_detection.annotation_option import AnnotationFile

if TYPE_CHECKING:
    from lucid.prediction import Batch, Predictor, ResultStore
    from lucid.prediction.run import Executor
    from lucid_models_detection.coco_ids import CocoIds
    from lucid_models_detection.prediction import DetectionPredictor

__all__ = ["detect", "load_class_names"]


@did_you_mean(
    "predict",
    "infer",
    "inference",
    options={
        **IMAGE_OPTION_HINTS,
        **dict.fromkeys(
            ("--imgsz", "--img-size", "--image-size", "--size"),
            "images are resized as the detector was trained to; "
            "lucid train-detector --model-option min_size=N sets it",
        ),
        **dict.fromkeys(
            ("--iou", "--iou-thres", "--nms", "--nms-threshold"),
            "the detector has it from its training; "
            "an option of the model sets it, for Faster R-CNN lucid train-detector "
            "--model-option box_nms_threshold=NUMBER",
        ),
    },
)
@click.command()
@images_argument
@click.option(
    "--weights",
    required=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The detector: a file of lucid train-detector or lucid.save_model, or weights alone "
    "that a plugin recognizes, such as torchvision's fasterrcnn_resnet50_fpn_coco-258fb6c6.pth.",
)
@ema_option
@click.option(
    "--output",
    metavar="FILE|DIR",
    help="A file ending in .json or .jsonl: where to write the results. Or where to write the "
    "images with the detections drawn on them: a directory, with the subdirectories of the images, "
    "or for one image a file such as boxes.png. What is missing is made.",
)
@prediction_options
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Images in memory, and at a worker, at a time.",
)
@click.option(
    "--score-threshold",
    type=FiniteRange(0, 1),
    default=0.5,
    show_default=True,
    help="Leave out detections that score less, also those that the detector itself would keep.",
)
@click.option(
    "--scale",
    type=FiniteRange(0, 32, min_open=True),
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
    type=FiniteRange(0),
    metavar="NUMBER",
    help="For torchvision's weights: what its normalizations add to the variance.  [default: 0 "
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
    type=AnnotationFile(exists=True, path_type=Path),
    help="The COCO file that --coco-results takes the ids of images and categories from.",
)
@max_pixels_option
@json_option
def detect(
    images: tuple[str, ...],
    weights: Path,
    ema: bool | None,
    output: str | None,
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
    from lucid.prediction import find_files
    from lucid.vision import image_suffixes
    from lucid_models_detection.prediction import (
        COCO_RESULTS,
        IMAGE_SUFFIXES,
        DetectionPredictor,
        plan_output_images,
    )

    place = parse_output(output, IMAGE_SUFFIXES)
    run = PredictionRun(place, resume, batch_size, dask, workers, threads, as_json)
    if results_file is None or data is None:
        if results_file is not data:
            raise click.UsageError("give --coco-results FILE and --data JSON together")
    else:
        check_output_file(results_file, "--coco-results", [".json"])
    files = find_files(images, image_suffixes(), warn)
    predictor = DetectionPredictor(
        weights,
        score_threshold=score_threshold,
        norm_eps=norm_eps,
        ema=ema,
        drawings=place.pictures,
        scale=scale,
    )
    if place.pictures is not None:
        try:
            files = iter(plan_output_images(predictor, images, files, place.is_folder))
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="'--output'") from error
    if names_file is not None:
        model, _ = predictor.model
        predictor.class_names = load_class_names(names_file, model.num_classes)
    ids = None
    if data is not None:
        ids = _coco_ids(predictor, data, list(files))
        files = iter(ids.images)

    def finish(store: ResultStore) -> None:
        if ids is not None and results_file is not None:
            _write_coco_results(results_file, store, ids)

    def show(store: ResultStore) -> None:
        if as_json:
            for line in store.lines(exclude=[COCO_RESULTS]):
                write(line, newline=False)
        else:
            write(_table(list(store.results())))

    run.predict(
        predictor,
        files,
        show,
        around=lambda engine: _checked(engine, ids),
        finish=None if ids is None else finish,
        exclude=[COCO_RESULTS],
    )


def load_class_names(path: Path, count: int) -> tuple[str, ...]:
    """The names in a text file, the background's first."""
    from lucid.class_names import read_class_names

    names = read_class_names(path)
    if len(names) == count - 1:
        names = ("background", *names)
    if len(names) != count:
        raise ValueError(
            f"{path}: expected {count - 1} names of classes, or {count} with the background's "
            f"first, got {len(names)}"
        )
    return names


def _coco_ids(predictor: DetectionPredictor, data: Path, images: list[str]) -> CocoIds:
    """What a COCO file calls images and classes; the predictor gets to know the latter."""
    from lucid_models_detection.coco_ids import CocoIds

    _, class_names = predictor.model
    named = predictor.class_names is not None
    names = predictor.class_names if named else class_names
    paths = [Path(image) for image in images]
    ids = CocoIds(data, paths, Path(predictor.weights), names, match_by_name=named)
    predictor.category_ids = ids.categories
    return ids


def _checked(chosen: Executor, ids: CocoIds | None) -> Executor:
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


def _table(results: Sequence[dict[str, Any]]) -> str:
    """One line for each detection; an image without any has a line that says so."""
    results = [{**result, "image": printable(result["image"])} for result in results]
    image_width = max(len("image"), *(len(result["image"]) for result in results))
    names = [printable(found["class"]) for result in results for found in result["detections"]]
    name_width = max(len(name) for name in ["class", *names])
    edges = "".join(f"{edge:>9}" for edge in ("x1", "y1", "x2", "y2"))
    lines = [f"{'image':<{image_width}}  {'class':<{name_width}}  score{edges}"]
    for result in results:
        if not result["detections"]:
            lines.append(f"{result['image']:<{image_width}}  nothing found")
        for found in result["detections"]:
            edges = "".join(f"{edge:9.1f}" for edge in found["box"])
            lines.append(
                f"{result['image']:<{image_width}}  {printable(found['class']):<{name_width}}  "
                f"{found['score']:5.3f}{edges}"
            )
    drawn = [result["picture"] for result in results if result["picture"]]
    if drawn:
        lines += ["", *(f"drawn: {printable(path)}" for path in drawn)]
    return "\n".join(lines)
