"""``lucid train-detector`` and ``lucid evaluate``.

Imported to list the commands, so models and Pillow are imported inside the functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lucid.cli.did_you_mean import did_you_mean
from lucid.cli.max_pixels import max_pixels_option
from lucid.cli.model_options import (
    builder_arguments_option,
    ema_option,
    explain_builder_arguments,
    find_weights,
    model_option,
)
from lucid.cli.output import json_option, write_json
from lucid.cli.output_paths import check_output_file, check_output_folder
from lucid.cli.param_types import FiniteRange, WeightsParam
from lucid.cli.training import (
    best_line,
    check_data_option,
    distributed_options,
    given_options,
    open_communicator,
    resume_hint,
    run_folder_options,
    skip_invalid_option,
    workers_option,
)
from lucid_models_detection.annotation_option import AnnotationFile

__all__ = ["evaluate", "train_detector"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_ANNOTATIONS = AnnotationFile(exists=True, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that read annotations."""
    formats = ("xywh", "xyxy", "cxcywh")
    for option in (
        click.option(
            "--box-orientation",
            type=click.Choice(["upright", "stored"]),
            help="Image that boxes refer to if it has an EXIF orientation: as viewers show it, or "
            "its pixels as stored.  [default: by width and height; an error if they do not decide]",
        ),
        click.option(
            "--box-format",
            type=click.Choice([*formats, *(f"normalized-{name}" for name in formats)]),
            help="Format of the boxes.  [default: xywh; an error if they look like another format]",
        ),
        skip_invalid_option("invalid images and annotations, such as boxes without area,"),
    ):
        command = option(command)
    return command


@did_you_mean(
    "fit",
    options=dict.fromkeys(
        ("--imgsz", "--img-size", "--image-size", "--size", "--min-size"),
        "--model-option min_size=N",
    ),
)
@click.command("train-detector")
@click.option(
    "--data",
    type=_ANNOTATIONS,
    metavar="JSON",
    help="COCO annotations. Required without --resume.",
)
@click.option(
    "--images",
    type=_FOLDER,
    metavar="DIR",
    help="Folder that the file names of --data are relative to.",
)
@click.option(
    "--val",
    type=_ANNOTATIONS,
    metavar="JSON",
    help="Annotations of the validation set.  [default: a fraction of --data]",
)
@click.option(
    "--val-images",
    type=_FOLDER,
    metavar="DIR",
    help="Folder of the validation images.  [default: --images]",
)
@click.option(
    "--val-fraction",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Fraction of images held out for validation, of those with objects.",
)
@_data_options
@check_data_option
@model_option("Model to train.  [default: the one in --weights, or faster_rcnn_resnet_50_fpn]")
@builder_arguments_option(
    "Argument of the model, with a value in JSON, such as min_size=600 or "
    "aspect_ratios=[0.5,1,2]; can be repeated."
)
@click.option(
    "--backbone-weights",
    type=WeightsParam(),
    metavar="FILE|TAG",
    help="Pretrained classifier for the backbone: a file of lucid train-classifier, or "
    "torchvision's, such as resnet50-0676ba61.pth; or default or another tag of its published "
    "weights, see lucid weights.",
)
@click.option(
    "--weights",
    type=WeightsParam(),
    metavar="FILE|TAG",
    help="Pretrained detector, as for lucid detect: a file, or default or another tag of the "
    "model's published weights. Its last layer is kept for classes with the "
    "same name in the data; new classes are initialized randomly.",
)
@ema_option
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=4, show_default=True)
@click.option(
    "--accumulate",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of batches whose gradients are accumulated per optimizer step.",
)
@click.option(
    "--optimizer", type=click.Choice(["adamw", "sgd"]), default="adamw", show_default=True
)
@click.option(
    "--lr",
    type=FiniteRange(0, min_open=True),
    help="Peak learning rate.  [default: 2e-4, for SGD 5e-3]",
)
@click.option(
    "--backbone-lr",
    type=FiniteRange(0),
    help="Peak learning rate of the backbone.  [default: a tenth of --lr if pretrained, else --lr]",
)
@click.option(
    "--schedule",
    type=click.Choice(["cosine", "step", "constant"]),
    default="cosine",
    show_default=True,
    help="Learning rate schedule after the warm-up.",
)
@click.option(
    "--warm-up",
    type=click.IntRange(0),
    metavar="STEPS",
    help="Number of warm-up steps.  [default: a tenth of all steps, at most 1000]",
)
@click.option(
    "--max-grad-norm",
    type=FiniteRange(0),
    default=5.0,
    show_default=True,
    help="Maximum norm of the gradients; 0 disables clipping.",
)
@click.option(
    "--frozen-stages",
    type=click.IntRange(0),
    help="Number of backbone stages to freeze, from the input, such as 2 of the 5 of a ResNet.  "
    "[default: 2 if pretrained, else 0]",
)
@click.option(
    "--augment",
    type=click.Choice(["none", "flip", "full"]),
    default="flip",
    show_default=True,
    help="Data augmentation: none, horizontal flips, or also random scale, crop and color.",
)
@click.option(
    "--samples",
    type=click.IntRange(0),
    default=8,
    show_default=True,
    help="Number of images to draw detections on after each epoch.",
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(1),
    metavar="STEPS",
    help="Also save every STEPS steps.",
)
@run_folder_options
@max_pixels_option
@distributed_options
@click.pass_context
def train_detector(
    ctx: click.Context,
    /,
    output: Path,
    resume: bool,
    workers: int,
    mpi: bool,
    check_data: bool,
    **options: Any,
) -> None:
    """Train a detector on images with COCO annotations.

    Annotations and images are checked first, as by lucid check-data.

    RUN gets best.safetensors, the detector with the best validation mAP, for lucid detect
    and lucid evaluate; metrics.csv; training.png; samples/; and last.safetensors. --resume
    continues from it, also after Ctrl-C, exactly as if never interrupted.
    """
    from lucid.training import Run
    from lucid_models_detection.training import DetectorTask, TrainingOptions
    from lucid_models_detection.training.options import resolve_paths

    tagged = [name for name in ("weights", "backbone_weights") if isinstance(options[name], str)]
    options = resolve_paths(options)
    for name in tagged:
        click.echo(f"{name.replace('_', ' ')}: {Path(options[name]).name}", err=True)
    given = given_options(ctx, options)
    if {"val", "val_fraction"} <= given.keys():
        raise click.UsageError("--val and --val-fraction: pass only one")
    if not resume and (options["data"] is None or options["images"] is None):
        raise click.UsageError("expected --data JSON and --images DIR")
    check_output_folder(output, "--output")
    with open_communicator(mpi) as communicator:
        task, arguments = DetectorTask(), (workers, communicator, check_data)
        with explain_builder_arguments(options["model_options"]):
            if resume:
                run = Run.resume(task, output, given, *arguments)
            else:
                run = Run.start(task, output, TrainingOptions(**options), *arguments)
        log = communicator.on_main(click.echo)
        for line in run.introduction:
            log(line)
        if not run.has_plots:
            hint = 'no plots without matplotlib: pip install "lucid-models-detection[plot]"'
            log(hint, err=True)
        with resume_hint("train-detector", output, communicator):
            best = run.fit(log)
        log(best_line("mAP", best, run.folder.best, "the annotations"))


@did_you_mean("val", "validate", "test", "eval", "score")
@click.command()
@click.option("--data", required=True, type=_ANNOTATIONS, metavar="JSON", help="COCO annotations.")
@click.option(
    "--images",
    required=True,
    type=_FOLDER,
    metavar="DIR",
    help="Folder that the file names of --data are relative to.",
)
@click.option(
    "--weights", type=WeightsParam(), metavar="FILE|TAG", help="Detector, as for lucid detect."
)
@model_option("Detector with published weights, as for lucid detect.", "model_name")
@ema_option
@click.option(
    "--class-names",
    "names_file",
    type=_FILE,
    metavar="FILE",
    help="Text file with one class name per line, for weights without class names; the "
    "background can be omitted.",
)
@_data_options
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write all detections to this JSON file, in COCO results format.",
)
@click.option(
    "--measure",
    type=click.Choice(["coco", "voc2007", "voc2012"]),
    default="coco",
    show_default=True,
    help="COCO mean average precision and recall, or Pascal VOC mAP at IoU 0.5.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Plot the precision-recall curve of each class at IoU 0.5 to this file.",
)
@click.option("--batch-size", type=click.IntRange(1), default=1, show_default=True)
@workers_option
@max_pixels_option
@json_option
def evaluate(
    data: Path,
    images: Path,
    weights: Path | str | None,
    model_name: str | None,
    ema: bool | None,
    names_file: Path | None,
    skip_invalid: bool,
    box_format: str | None,
    box_orientation: str | None,
    output: Path | None,
    measure: str,
    plot: Path | None,
    batch_size: int,
    workers: int,
    as_json: bool,
) -> None:
    """Evaluate a detector on images with COCO annotations.

    Prints mean average precision and recall, overall and per class. All detections count; if
    an image has more than 100 of a class, the metrics with COCO's limit of 100 are printed
    too. The categories of the file must match those that the detector was trained on, by id
    and name.
    """
    from lucid.weights import atomic_write
    from lucid_models_detection.evaluation import plot_precision_recall
    from lucid_models_detection.evaluation.coco import import_pycocotools
    from lucid_models_detection.evaluation.precision_recall import import_matplotlib_figure
    from lucid_models_detection.loading import TASK

    if output is not None:
        check_output_file(output, "--output", [".json"])
    if measure == "coco":
        import_pycocotools()
    if plot is not None:
        kinds = import_matplotlib_figure()().canvas.get_supported_filetypes()
        check_output_file(plot, "--plot", [f".{kind}" for kind in kinds])
    weights = find_weights(weights, model_name, TASK)
    model, evaluation = _dataset_evaluation(
        data,
        images,
        weights,
        model_name,
        ema,
        names_file,
        on_invalid="skip" if skip_invalid else "raise",
        box_format=box_format,
        box_orientation=box_orientation,
    )
    for path in (output, plot):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    evaluator = evaluation.evaluator(measure)
    results = evaluation.run(model, evaluator, batch_size, workers)
    if output is not None:
        with atomic_write(output) as file:
            file.write(json.dumps(results).encode())
    metrics = evaluator.compute()
    more = evaluation.notes(model)
    if as_json:
        notes = [*metrics.notes, *more]
        write_json({"weights": str(weights), **metrics.as_dict(), "notes": notes})
    else:
        click.echo(f"{metrics.table()}\n\n{metrics.summary()}")
        for note in more:
            click.echo(f"note: {note}")
    if plot is not None:
        plot_precision_recall(evaluator.precision_recall(), plot, "IoU 0.5")


def _dataset_evaluation(
    data: Path,
    images: Path,
    weights: Path,
    model_name: str | None,
    ema: bool | None,
    names_file: Path | None,
    **options: Any,
) -> Any:
    """Load the detector and match its classes to the categories of the file."""
    from lucid_models_detection.categories import Categories
    from lucid_models_detection.commands import load_class_names
    from lucid_models_detection.data.coco import read_categories
    from lucid_models_detection.dataset_evaluation import DatasetEvaluation
    from lucid_models_detection.loading import load_detector

    model, class_names = load_detector(weights, ema=ema, model_name=model_name)
    if names_file is not None:
        class_names = load_class_names(names_file, model.num_classes)
    found = read_categories(data).names_for(class_names)
    if names_file is not None and class_names is not None:
        categories: Categories | None = Categories.from_names(class_names, found)
    else:
        categories = Categories.from_weights(weights, class_names, found)
    if categories is None:
        raise click.UsageError(
            f"{weights}: expected class names, got none; pass --class-names FILE"
        )
    return model, DatasetEvaluation(data, images, categories, found, **options)
