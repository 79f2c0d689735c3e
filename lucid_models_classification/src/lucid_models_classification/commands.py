"""The plugin's commands of the ``lucid`` program.

Imported when a command is run or listed, so networks and Pillow are imported
inside the functions.  Errors are raised as they are; the program turns them into
one line and an exit status.
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
    model_option,
)
from lucid.cli.output import json_option, printable, warn, write, write_json
from lucid.cli.output_paths import check_output_folder, parse_output
from lucid.cli.param_types import FiniteRange
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
            "images are prepared as the classifier was trained to; "
            "lucid train-classifier --image-size sets it",
        ),
        **dict.fromkeys(
            ("--conf", "--conf-thres", "--threshold", "--thresh", "--score-threshold"),
            "every class has a probability; --top N sets how many are reported",
        ),
    },
)
@click.command()
@images_argument
@click.option(
    "--weights",
    required=True,
    type=click.Path(path_type=Path),
    help="The classifier: a file of lucid train-classifier or lucid.save_model, or weights alone "
    "that a plugin recognizes, such as torchvision's resnet50-0676ba61.pth.",
)
@model_option(
    "The model, if the file does not say it and its weights do not show it.", "model_name"
)
@ema_option
@click.option(
    "--class-names",
    "names_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Text file with the name of each class on a line, in the place of those in the file.",
)
@click.option(
    "--top", default=5, show_default=True, type=click.IntRange(min=1), help="Classes to report."
)
@click.option(
    "--output",
    metavar="FILE",
    help="A file ending in .json or .jsonl: where to write the results. A missing folder is made.",
)
@prediction_options
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Images that go through the model together.",
)
@preprocessing_options
@max_pixels_option
@json_option
def classify(
    images: tuple[str, ...],
    weights: Path,
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
    """Say what IMAGES show, with the most probable classes first.

    An IMAGE is a file, a directory with images, a pattern in quotes such as
    "photos/**/*.jpg", or @list.txt, a text file with any of these on each line.  Images
    that cannot be read are named, and listed in the results; the others go on.

    Images are prepared as the file says. Where it holds weights alone, they are resized
    to 256 pixels on the shorter side, cropped to 224 and normalized with ImageNet's mean
    and deviation, unless options say otherwise; a line on stderr gives what was assumed.
    """
    from lucid.class_names import read_class_names
    from lucid.prediction import find_files
    from lucid.vision import image_suffixes
    from lucid_models_classification.prediction import ClassificationPredictor

    place = parse_output(output)
    run = PredictionRun(place, resume, batch_size, dask, workers, threads, as_json)
    files = find_files(images, image_suffixes(), warn)
    predictor = ClassificationPredictor(
        weights,
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
    help="Folder with one folder of images per class, or with train and val folders around "
    "them. Needed unless --resume is given.",
)
@click.option(
    "--val",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to validate on.  [default: the val folder in --data, or a part of every class]",
)
@click.option(
    "--val-fraction",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="That part.",
)
@skip_invalid_option("unreadable images and empty classes")
@check_data_option
@model_option("Model to train.  [default: the one in --weights, or resnet_18]")
@builder_arguments_option(
    "Argument of the model, with a value in JSON, such as width_mult=0.5; may be given several "
    "times."
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights to start from, as lucid classify takes them. The last layer keeps the classes "
    "of the data that it has by name; new ones start with fresh weights.",
)
@ema_option
@click.option("--epochs", type=click.IntRange(1), default=30, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option(
    "--lr",
    type=FiniteRange(0, min_open=True),
    default=0.01,
    show_default=True,
    help="Highest learning rate.",
)
@click.option(
    "--image-size",
    type=click.IntRange(1),
    default=224,
    show_default=True,
    help="Side of the square images that the model sees.",
)
@click.option(
    "--flip/--no-flip", default=True, show_default=True, help="Mirror training images at random."
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

    Every image is checked first, as lucid check-data does.

    RUN gets best.safetensors, the classifier of the best validation accuracy, which
    lucid classify takes; metrics.csv; training.png; and last.safetensors, from which
    --resume goes on, after Ctrl-C too, as if there had been no interruption.
    """
    from lucid.training import Run
    from lucid_models_classification.training import ClassifierOptions, ClassifierTask

    for name in ("data", "val", "weights"):
        if options[name] is not None:
            options[name] = str(options[name].resolve())
    given = given_options(ctx, options)
    if {"val", "val_fraction"} <= given.keys():
        raise click.UsageError("give --val or --val-fraction, not both")
    if not resume and options["data"] is None:
        raise click.UsageError("give --data DIR, a folder with one folder of images per class")
    if options["skip_invalid"] and not check_data:
        raise click.UsageError("--skip-invalid needs the check that --no-check-data leaves out")
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
    """Refuse ``--val-fraction`` where the data have a folder to validate on."""
    from lucid_models_classification.class_folders import find_splits

    splits = find_splits(data)
    if splits is not None and splits.val is not None:
        raise click.UsageError(
            f"--val-fraction: {data} has the folder {splits.val.name!r} to validate on; leave the "
            f"option out, or give --data {splits.train} alone"
        )
