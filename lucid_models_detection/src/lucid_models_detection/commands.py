"""``lucid detect``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lucid.cli.did_you_mean import did_you_mean
from lucid.cli.max_pixels import max_pixels_option
from lucid.cli.model_options import ema_option, find_weights, model_option
from lucid.cli.output import json_option, printable, warn, write
from lucid.cli.output_paths import check_output_file, parse_output
from lucid.cli.param_types import FiniteRange, WeightsParam
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
            "images are resized as in training; set it by "
            "lucid train-detector --model-option min_size=N",
        ),
        **dict.fromkeys(
            ("--iou", "--iou-thres", "--nms", "--nms-threshold"),
            "it is stored with the detector; set it by an option of the model, for Faster R-CNN "
            "lucid train-detector --model-option box_nms_threshold=NUMBER",
        ),
    },
)
@click.command()
@images_argument
@click.option(
    "--weights",
    metavar="FILE|TAG",
    type=WeightsParam(),
    help="Detector: a file of lucid train-detector or lucid.save_model, or a state dict that a "
    "plugin recognizes, such as torchvision's fasterrcnn_resnet50_fpn_coco-258fb6c6.pth; or a tag "
    "of published weights, see lucid weights.  [default: those of --model]",
)
@model_option("Detector with published weights.", "model_name")
@ema_option
@click.option(
    "--output",
    metavar="FILE|DIR",
    help="Results file ending in .json or .jsonl; or where to write images with drawn detections: "
    "a directory, with the subdirectories of the images, or for one image a file such as "
    "boxes.png. Missing directories are created.",
)
@prediction_options
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Images per batch, also for each worker.",
)
@click.option(
    "--score-threshold",
    type=FiniteRange(0, 1),
    default=0.5,
    show_default=True,
    help="Minimum score of a detection, instead of the detector's own threshold.",
)
@click.option(
    "--scale",
    type=FiniteRange(0, 32, min_open=True),
    default=1.0,
    show_default=True,
    help="Scale factor of the drawn images, for legible text on small images.",
)
@click.option(
    "--class-names",
    "names_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text file with one class name per line, instead of the names in --weights; the "
    "background can be omitted.",
)
@click.option(
    "--norm-eps",
    type=FiniteRange(0),
    metavar="NUMBER",
    help="eps of the normalization layers, for torchvision weights.  [default: that of "
    "published weights, else 1e-5, as in torchvision]",
)
@click.option(
    "--coco-results",
    "results_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write all detections, regardless of score, to this JSON file in COCO results "
    "format. Requires --data.",
)
@click.option(
    "--data",
    metavar="JSON",
    type=AnnotationFile(exists=True, path_type=Path),
    help="COCO file with the image and category ids for --coco-results.",
)
@max_pixels_option
@json_option
def detect(
    images: tuple[str, ...],
    weights: Path | str | None,
    model_name: str | None,
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
    """Find objects in images.

    With --model NAME alone, its published weights are fetched into the user's cache once and
    used: lucid detect photo.jpg --model faster_rcnn_resnet_50_fpn --output boxes.png.

    An IMAGE is a file, a directory with images, a pattern in quotes such as
    "photos/**/*.jpg", or @list.txt, a text file with one of these per line.  Unreadable
    images are skipped with a warning and listed in the results.
    """
    from lucid.prediction import find_files
    from lucid.vision import image_suffixes
    from lucid_models_detection.loading import TASK
    from lucid_models_detection.prediction import (
        COCO_RESULTS,
        IMAGE_SUFFIXES,
        DetectionPredictor,
        plan_output_images,
    )

    target = parse_output(output, IMAGE_SUFFIXES)
    run = PredictionRun(target, resume, batch_size, dask, workers, threads, as_json)
    if results_file is None or data is None:
        if results_file is not data:
            raise click.UsageError("--coco-results FILE and --data JSON: pass both")
    else:
        check_output_file(results_file, "--coco-results", [".json"])
    files = find_files(images, image_suffixes(), warn)
    predictor = DetectionPredictor(
        find_weights(weights, model_name, TASK),
        model_name=model_name,
        score_threshold=score_threshold,
        norm_eps=norm_eps,
        ema=ema,
        drawings=target.pictures,
        scale=scale,
    )
    if target.pictures is not None:
        try:
            files = iter(plan_output_images(predictor, images, files, target.is_folder))
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
        wrap_executor=lambda executor: _check_sizes(executor, ids),
        finish=None if ids is None else finish,
        exclude=[COCO_RESULTS],
    )


def load_class_names(path: Path, count: int) -> tuple[str, ...]:
    """Read class names from a text file, background first."""
    from lucid.class_names import read_class_names

    names = read_class_names(path)
    if len(names) == count - 1:
        names = ("background", *names)
    if len(names) != count:
        raise ValueError(
            f"{path}: expected {count - 1} class names, or {count} with the background first, got "
            f"{len(names)}"
        )
    return names


def _coco_ids(predictor: DetectionPredictor, data: Path, images: list[str]) -> CocoIds:
    """Match images and classes to a COCO file; set the category ids of the predictor."""
    from lucid_models_detection.coco_ids import CocoIds

    _, class_names = predictor.model
    named = predictor.class_names is not None
    names = predictor.class_names if named else class_names
    paths = [Path(image) for image in images]
    ids = CocoIds(data, paths, Path(predictor.weights), names, match_by_name=named)
    predictor.category_ids = ids.categories
    return ids


def _check_sizes(executor: Executor, ids: CocoIds | None) -> Executor:
    """Wrap an executor to raise if an image has another size than in the COCO file."""
    if ids is None:
        return executor

    def run(
        predictor: Predictor, batches: Iterator[Batch]
    ) -> Iterator[tuple[Batch, list[dict[str, Any]]]]:
        for batch, records in executor(predictor, batches):
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
        if record["image"] in ids.images  # a resumed run may have had more images
        for row in ids.results(record)
    )
    with atomic_write(path) as file:
        file.write(b"[")
        for number, row in enumerate(rows):
            file.write((", " if number else "").encode() + json.dumps(row).encode())
        file.write(b"]")


def _table(results: Sequence[dict[str, Any]]) -> str:
    """Format a table with a row per detection, or "nothing found" for an image."""
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
