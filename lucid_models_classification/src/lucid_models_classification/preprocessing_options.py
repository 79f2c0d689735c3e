"""Options of ``lucid classify`` for the preprocessing of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

__all__ = ["chosen_preprocessing", "preprocessing_options"]


def _numbers(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    """One or three numbers with commas between them."""
    if value is None:
        return None
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3):
        raise click.BadParameter(
            f"expected 1 or 3 numbers such as 0.485,0.456,0.406, got {value!r}"
        )
    return numbers


def preprocessing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that take the place of the preprocessing in a classifier's file.

    The command gets them by the names of :func:`~.transforms.preprocessing`, None where not
    given.
    """
    options = (
        click.option(
            "--resize",
            "resize_size",
            type=click.IntRange(1),
            metavar="N",
            help="Shorter side of images after resizing.  [default: as the file says, or 256]",
        ),
        click.option(
            "--crop",
            "crop_size",
            type=click.IntRange(1),
            metavar="N",
            help="Side of the square cut from the middle.  [default: as the file says, or 224]",
        ),
        click.option(
            "--interpolation",
            type=click.Choice(["bilinear", "bicubic"]),
            help="How images are resized.  [default: as the file says, or bilinear]",
        ),
        click.option(
            "--mean",
            callback=_numbers,
            metavar="R,G,B",
            help="Mean to normalize by; one number stands for all channels.  [default: as the "
            "file says, or ImageNet's]",
        ),
        click.option(
            "--std",
            callback=_numbers,
            metavar="R,G,B",
            help="Standard deviation to normalize by; one number stands for all channels.  "
            "[default: as the file says, or ImageNet's]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def chosen_preprocessing(
    weights: Path, described: Mapping[str, Any], known: bool, given: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """Preprocessing from a file and options, and a sentence on what is assumed.

    Parameters
    ----------
    weights : path
        The file.
    described : mapping
        Its preprocessing, or the default.
    known : bool
        Whether the file says it.
    given : mapping
        The options, None where not given.

    Raises
    ------
    ValueError
        If the file's preprocessing cannot be used.
    click.UsageError
        If the crop is larger than the resized image, or mean or deviation has three values
        for a model of gray images.
    """
    from lucid.vision.transforms import build_transform, preprocessing

    build_transform(described)
    options = {name: value for name, value in given.items() if value is not None}
    if not options and known:
        return dict(described), None
    chosen = {"interpolation": "bilinear", **described, **options}
    channels = len(described["mean"])
    for name in ("mean", "std"):
        if len(chosen[name]) > channels:
            raise click.UsageError(
                f"{_SPELLED[name]}: expected 1 value for the gray images that the model takes, "
                f"got {len(chosen[name])}"
            )
        if len(chosen[name]) < channels:  # one value for all, as in torchvision and timm
            chosen[name] = tuple(chosen[name]) * channels
    if options and chosen["crop_size"] > chosen["resize_size"]:
        raise click.UsageError(
            f"--crop {chosen['crop_size']} is larger than --resize {chosen['resize_size']}: "
            "images would get black borders; give both"
        )
    assumed = None
    if not known and (rest := {name: chosen[name] for name in _SPELLED if name not in options}):
        spelled = " ".join(f"{_SPELLED[name]} {_text(value)}" for name, value in rest.items())
        assumed = f"{weights}: does not say how images are prepared; assumed {spelled}"
    return preprocessing(**chosen), assumed


_SPELLED = {
    "resize_size": "--resize",
    "crop_size": "--crop",
    "interpolation": "--interpolation",
    "mean": "--mean",
    "std": "--std",
}


def _text(value: Any) -> str:
    return ",".join(f"{v:g}" for v in value) if isinstance(value, list | tuple) else str(value)
