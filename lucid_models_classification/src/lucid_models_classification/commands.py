"""The plugin's commands of the ``lucid`` program.

Imported when a command is run or listed, so networks and Pillow are imported
inside the functions.  Errors are raised as they are; the program turns them into
one line and an exit status.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lucid.cli.output import warn
from lucid.cli.training import (
    best_line,
    check_data_option,
    given_options,
    interruptible,
    ranks,
    ranks_options,
    skip_invalid_option,
)
from lucid_models_classification.image_options import (
    chosen_preprocessing,
    max_pixels_option,
    preprocessing_options,
)

if TYPE_CHECKING:
    import numpy as np

    from lucid import nn
    from lucid_models_classification.transforms import Compose

__all__ = ["classify", "train_classifier"]

_BATCH = 8


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--weights",
    required=True,
    type=click.Path(path_type=Path),
    help="The classifier: a file of lucid train-classifier or lucid.save_model, or the weights "
    "of a ResNet alone, such as torchvision's resnet50-0676ba61.pth.",
)
@click.option(
    "--model",
    "model_name",
    metavar="NAME",
    help="The model, if the file does not say it and its weights do not show it.",
)
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
@preprocessing_options
@max_pixels_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def classify(
    images: tuple[Path, ...],
    weights: Path,
    model_name: str | None,
    names_file: Path | None,
    top: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Say what IMAGES show, with the most probable classes first.

    Images are prepared as the file says. Where it holds weights alone, they are resized
    to 256 pixels on the shorter side, cropped to 224 and normalized with ImageNet's mean
    and deviation, unless options say otherwise; a line on stderr gives what was assumed.
    """
    from lucid_models_classification.checkpoints import open_classifier
    from lucid_models_classification.transforms import transform_of

    names = None if names_file is None else _class_names(names_file)
    classifier = open_classifier(weights, model_name)
    try:
        described, assumed = chosen_preprocessing(
            weights, classifier.preprocessing, classifier.says_preprocessing, given
        )
        transform = transform_of(described)
    except ValueError as error:
        raise ValueError(f"{weights}: {error}") from error
    if assumed is not None:
        warn(assumed)
    model = classifier.model.eval()
    if names is None:
        names, names_file = classifier.class_names, weights
    results = []
    for path, row in zip(images, _probabilities(model, transform, images), strict=True):
        if names is not None and len(names) != len(row):
            raise ValueError(
                f"{names_file}: names {len(names)} classes, the model tells {len(row)} apart"
            )
        results.append((str(path), _best(row, top, names, weights)))
    if as_json:
        report = [{"image": image, "predictions": best} for image, best in results]
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    for image, best in results:
        click.echo(image)
        for prediction in best:
            click.echo(f"  {prediction['probability']:.4f}  {prediction['label']}")


def _class_names(path: Path) -> tuple[str, ...]:
    from lucid.text import read_text

    return tuple(line.strip() for line in read_text(path).splitlines() if line.strip())


def _probabilities(
    model: nn.Module, transform: Compose, images: Sequence[Path]
) -> Iterator[np.ndarray[Any, Any]]:
    """For each image its (num_classes,) probabilities, a few images at a time."""
    import numpy as np
    from tqdm import tqdm

    import lucid
    from lucid_models_classification.transforms import read_image

    with tqdm(total=len(images), unit="image", disable=None, leave=False) as bar:
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            arrays = np.stack([transform(read_image(path)) for path in batch])
            with lucid.no_grad():
                logits = model(lucid.Tensor(arrays)).numpy().astype(np.float64)
            exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
            yield from exponentials / exponentials.sum(axis=1, keepdims=True)
            bar.update(len(batch))


def _best(
    probabilities: np.ndarray[Any, Any],
    top: int,
    class_names: Sequence[str] | None,
    weights: Path,
) -> list[dict[str, Any]]:
    """The ``top`` most probable classes, ties in the order of the classes."""
    from lucid import WeightFileError

    if not (probabilities >= 0).all():  # NaN compares false
        raise WeightFileError(f"{weights}: the model's answer is not finite")
    order = (-probabilities).argsort(kind="stable")[:top]
    return [
        {
            "class": int(i),
            "label": class_names[i] if class_names is not None else str(i),
            "probability": float(probabilities[i]),
        }
        for i in order
    ]


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
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="That part.",
)
@skip_invalid_option("unreadable images and empty classes")
@check_data_option
@click.option(
    "--model",
    metavar="NAME",
    help="Model to train.  [default: the one in --weights, or resnet_18]",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights to start from, as lucid classify takes them; the last layer begins anew "
    "where it is of another number of classes.",
)
@click.option("--epochs", type=click.IntRange(1), default=30, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option(
    "--lr",
    type=click.FloatRange(0, min_open=True),
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
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), metavar="RUN", help="Its folder."
)
@click.option("--resume", is_flag=True, help="Go on with the training in RUN, as it began.")
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Processes that read images.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@max_pixels_option
@ranks_options
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
    from lucid.data.report_text import brief_lines
    from lucid_models_classification.training import ClassifierRun, Options

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
    with ranks(mpi) as communicator:
        if resume:
            run = ClassifierRun.resume(output, given, workers, communicator, check_data)
        else:
            chosen = Options(**options)
            run = ClassifierRun.start(output, chosen, workers, communicator, check_data)
        tell = communicator.on_main(click.echo)
        for line in brief_lines(run.report):
            tell(line)
        tell(run.summary)
        if not run.draws:
            tell("no plots, which need matplotlib: pip install matplotlib", err=True)
        with interruptible("train-classifier", output, communicator):
            best = run.fit(tell)
        tell(best_line("accuracy", best, run.folder.best))


def _check_no_split(data: Path) -> None:
    """Refuse ``--val-fraction`` where the data have a folder to validate on."""
    from lucid_models_classification.class_folders import find_splits

    splits = find_splits(data)
    if splits is not None and splits.val is not None:
        raise click.UsageError(
            f"--val-fraction: {data} has the folder {splits.val.name!r} to validate on; leave the "
            f"option out, or give --data {splits.train} alone"
        )
