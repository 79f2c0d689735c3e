"""Commands of the plugin: ``lucid classify`` and ``lucid train-classifier``.

Imported when commands are listed, so networks and Pillow are imported inside the functions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from lucid.cli.output import json_option, printable, warn, write, write_json
from lucid.cli.output_paths import check_output_folder, parse_output
from lucid.cli.param_types import FiniteRange, WeightsParam
from lucid.cli.prediction import (
    IMAGE_OPTION_HINTS,
    PredictionRun,
    images_argument,
    prediction_options,
)
from lucid.cli.training import (
    best_line,
    check_data_option,
    distributed_options,
    given_options,
    open_communicator,
    resume_hint,
    run_folder_options,
    skip_invalid_option,
)
from lucid_models_classification.preprocessing_options import preprocessing_options

if TYPE_CHECKING:
    from lucid.prediction import ResultStore

__all__ = ["classify", "train_classifier"]


@did_you_mean(
    "predict",
    "infer",
    "inference",
    options={
        **IMAGE_OPTION_HINTS,
        **dict.fromkeys(
            ("--imgsz", "--img-size", "--image-size", "--size"),
            "the weight file has the preprocessing; lucid train-classifier --image-size sets it",
        ),
        **dict.fromkeys(
            ("--conf", "--conf-thres", "--threshold", "--thresh", "--score-threshold"),
            "every class has a probability; --top N sets how many are printed",
        ),
    },
)
@click.command()
@images_argument
@click.option(
    "--weights",
    type=WeightsParam(),
    metavar="FILE|TAG",
    help="Weight file of lucid train-classifier or lucid.save_model, or one that a plugin "
    "recognizes, such as torchvision's resnet50-0676ba61.pth; or a tag of published weights, see "
    "lucid weights.  [default: those of --model]",
)
@model_option("Model of published weights, or of a file that is not recognized.", "model_name")
@ema_option
@click.option(
    "--class-names",
    "names_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Text file with one class name per line; overrides the names in the weight file.",
)
@click.option(
    "--top",
    default=5,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of classes to print.",
)
@click.option(
    "--output",
    metavar="FILE",
    help="File ending in .json or .jsonl for the results. Missing folders are created.",
)
@prediction_options
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Images per batch.",
)
@preprocessing_options
@max_pixels_option
@json_option
def classify(
    images: tuple[str, ...],
    weights: Path | str | None,
    model_name: str | None,
    ema: bool | None,
    names_file: Path | None,
    top: int,
    output: str | None,
    resume: bool,
    batch_size: int,
    dask: str | None,
    workers: int | None,
    threads: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Classify IMAGES and print the most probable classes.

    An IMAGE is a file, a directory, a quoted pattern such as "photos/**/*.jpg", or @list.txt, a
    text file with one of these per line. Unreadable images are reported, and the others
    classified.

    With --model NAME alone, its published weights are fetched into the user's cache once and
    used: lucid classify photo.jpg --model resnet_50.

    Preprocessing comes with the weights. For files without it, images are resized to 256
    pixels on the shorter side, center-cropped to 224 and normalized with ImageNet's mean and
    standard deviation, unless options override it; a line on stderr states what was assumed.
    """
    from lucid.class_names import read_class_names
    from lucid.prediction import find_files
    from lucid.vision import image_suffixes
    from lucid_models_classification.loading import TASK
    from lucid_models_classification.prediction import ClassificationPredictor

    place = parse_output(output)
    run = PredictionRun(place, resume, batch_size, dask, workers, threads, as_json)
    files = find_files(images, image_suffixes(), warn)
    predictor = ClassificationPredictor(
        find_weights(weights, model_name, TASK),
        model_name=model_name,
        ema=ema,
        top=top,
        class_names=None if names_file is None else read_class_names(names_file, unique=False),
        names_file=names_file,
        preprocessing={name: value for name, value in given.items() if value is not None},
    )
    if (assumed := predictor.assumed) is not None:
        warn(assumed)
    run.predict(predictor, files, _write_records if as_json else _write_text)


def _write_records(store: ResultStore) -> None:
    """Write a JSON list with ``predictions``, or the ``error``, of each image."""
    write_json([json.loads(line) for line in store.records()])


def _write_text(store: ResultStore) -> None:
    for record in store.results():
        write(printable(record["image"]))
        for best in record["predictions"]:
            write(f"  {best['probability']:.4f}  {printable(best['label'])}")


@did_you_mean("fit", options={"--imgsz": "--image-size", "--img-size": "--image-size"})
@click.command("train-classifier")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with one folder of images per class, or with train and val folders of them. "
    "Required unless --resume is given.",
)
@click.option(
    "--val",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Validation folder.  [default: the val folder in --data, or held-out images]",
)
@click.option(
    "--val-fraction",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Fraction of the images of each class that is held out for validation.",
)
@skip_invalid_option("unreadable images and empty classes")
@check_data_option
@model_option("Model to train.  [default: the one in the file --weights, or resnet_18]")
@builder_arguments_option(
    "Argument of the model, with a JSON value, such as width_mult=0.5; repeatable."
)
@click.option(
    "--weights",
    type=WeightsParam(),
    metavar="FILE|TAG",
    help="Weights to start from, as for lucid classify: a file, or default or another tag of the "
    "model's published weights. The last layer keeps classes with the same name; new classes are "
    "randomly initialized.",
)
@ema_option
@click.option("--epochs", type=click.IntRange(1), default=30, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option(
    "--lr",
    type=FiniteRange(0, min_open=True),
    default=0.01,
    show_default=True,
    help="Peak learning rate.",
)
@click.option(
    "--image-size",
    type=click.IntRange(1),
    default=224,
    show_default=True,
    help="Side of the square crops in pixels.",
)
@click.option(
    "--flip/--no-flip",
    default=True,
    show_default=True,
    help="Flip training images horizontally at random.",
)
@run_folder_options
@max_pixels_option
@distributed_options
@click.pass_context
def train_classifier(
    ctx: click.Context,
    /,
    output: Path,
    resume: bool,
    workers: int,
    mpi: bool,
    check_data: bool,
    **options: Any,
) -> None:
    """Train a classifier on folders of images, one per class.

    Images are checked first, as by lucid check-data.

    RUN gets best.safetensors (the classifier with the best validation accuracy, for lucid
    classify), metrics.csv, training.png, and last.safetensors, from which --resume continues
    exactly, even after Ctrl-C.
    """
    from lucid.training import Run
    from lucid_models_classification.loading import TASK
    from lucid_models_classification.training import (
        DEFAULT_MODEL,
        ClassifierOptions,
        ClassifierTask,
    )

    if options["weights"] is not None:
        model = options["model"] or DEFAULT_MODEL
        options["weights"] = find_weights(options["weights"], model, TASK)
    for name in ("data", "val", "weights"):
        if options[name] is not None:
            options[name] = str(options[name].resolve())
    given = given_options(ctx, options)
    if {"val", "val_fraction"} <= given.keys():
        raise click.UsageError("expected --val or --val-fraction, got both")
    if not resume and options["data"] is None:
        raise click.UsageError("pass --data DIR, a folder with one folder of images per class")
    if options["skip_invalid"] and not check_data:
        raise click.UsageError("--skip-invalid: expected no --no-check-data, which skips the check")
    if "val_fraction" in given and options["data"] is not None:
        _check_no_split(Path(options["data"]))
    check_output_folder(output, "--output")
    with open_communicator(mpi) as communicator:
        task, how = ClassifierTask(), (workers, communicator, check_data)
        with explain_builder_arguments(options["model_options"]):
            if resume:
                run = Run.resume(task, output, given, *how)
            else:
                run = Run.start(task, output, ClassifierOptions(**options), *how)
        log = communicator.on_main(click.echo)
        for line in run.introduction:
            log(line)
        if not run.has_plots:
            log("no plots, which need matplotlib: pip install matplotlib", err=True)
        with resume_hint("train-classifier", output, communicator):
            best = run.fit(log)
        log(best_line("accuracy", best, run.folder.best, "the folders of the classes"))


def _check_no_split(data: Path) -> None:
    """Raise for ``--val-fraction`` if the data have a validation folder."""
    from lucid_models_classification.class_folders import find_splits

    splits = find_splits(data)
    if splits is not None and splits.val is not None:
        raise click.UsageError(
            f"--val-fraction: expected no validation folder, got {splits.val.name!r} in {data}; "
            f"leave the option out, or pass --data {splits.train}"
        )
