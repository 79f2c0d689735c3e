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

if TYPE_CHECKING:
    import numpy as np

    from lucid import nn
    from lucid.weights import ModelMetadata
    from lucid_models_classification.transforms import Compose

__all__ = ["classify"]

_BATCH = 8


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--weights",
    required=True,
    type=click.Path(path_type=Path),
    help="File of lucid.save_model: the classifier, its class names, its preprocessing.",
)
@click.option(
    "--top", default=5, show_default=True, type=click.IntRange(min=1), help="Classes to report."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def classify(images: tuple[Path, ...], weights: Path, top: int, as_json: bool) -> None:
    """Say what IMAGES show, with the most probable classes first."""
    from lucid import load_model
    from lucid_models_classification.transforms import preprocessing, transform_of

    metadata = _classifier_metadata(weights)
    try:
        transform = transform_of(metadata.preprocessing or preprocessing())
    except ValueError as error:
        raise ValueError(f"{weights}: {error}") from error
    model = load_model(weights).eval()
    results = [
        (str(path), _best(row, top, metadata.class_names, weights))
        for path, row in zip(images, _probabilities(model, transform, images), strict=True)
    ]
    if as_json:
        report = [{"image": image, "predictions": best} for image, best in results]
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    for image, best in results:
        click.echo(image)
        for prediction in best:
            click.echo(f"  {prediction['probability']:.4f}  {prediction['label']}")


def _classifier_metadata(weights: Path) -> ModelMetadata:
    """What the file says of itself, refused if it says that it holds no classifier."""
    from lucid import WeightFileError
    from lucid.models import model_info
    from lucid.weights import model_metadata

    metadata = model_metadata(weights)
    task = model_info(metadata.name).task
    if task != "image-classification":
        raise WeightFileError(
            f"{weights}: expected a model for image-classification, got {metadata.name}, "
            f"a model for {task}"
        )
    return metadata


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

    count = len(probabilities)
    if class_names is not None and len(class_names) != count:
        raise WeightFileError(
            f"{weights}: names {len(class_names)} classes, its model tells {count} apart"
        )
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
