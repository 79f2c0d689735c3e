"""Options of ``lucid classify`` for preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

__all__ = ["preprocessing_options", "resolve_preprocessing"]


def _numbers(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    """Parse one or three comma-separated numbers."""
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
    """Add the options that override a classifier's preprocessing; None where not given."""
    options = (
        click.option(
            "--resize",
            "resize_size",
            type=click.IntRange(1),
            metavar="N",
            help="Shorter side of images after resizing.  [default: from the file, or 256]",
        ),
        click.option(
            "--crop",
            "crop_size",
            type=click.IntRange(1),
            metavar="N",
            help="Side of the square center crop.  [default: from the file, or 224]",
        ),
        click.option(
            "--interpolation",
            type=click.Choice(["bilinear", "bicubic"]),
            help="Interpolation of the resizing.  [default: from the file, or bilinear]",
        ),
        click.option(
            "--mean",
            callback=_numbers,
            metavar="R,G,B",
            help="Mean for normalization, per channel or one number.  [default: from the "
            "file, or ImageNet's]",
        ),
        click.option(
            "--std",
            callback=_numbers,
            metavar="R,G,B",
            help="Standard deviation for normalization, per channel or one number.  "
            "[default: from the file, or ImageNet's]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def resolve_preprocessing(
    weights: Path, described: Mapping[str, Any], known: bool, given: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """Return the preprocessing from a file and options, and a sentence on what is assumed.

    ``described`` is the preprocessing of the file ``weights``, or the default if not ``known``;
    ``given`` are the options, None where not given.  Raise ``ValueError`` for invalid preprocessing
    in the file, and ``click.UsageError`` for contradicting options.
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
                f"{_OPTION_NAMES[name]}: expected 1 value (the model takes gray images), got "
                f"{len(chosen[name])}"
            )
        if len(chosen[name]) < channels:
            chosen[name] = tuple(chosen[name]) * channels
    if options and chosen["crop_size"] > chosen["resize_size"]:
        raise click.UsageError(
            f"--crop: expected at most {chosen['resize_size']} (--resize), got "
            f"{chosen['crop_size']}; pass both"
        )
    assumed = None
    if not known and (
        rest := {name: chosen[name] for name in _OPTION_NAMES if name not in options}
    ):
        text = " ".join(f"{_OPTION_NAMES[name]} {_text(value)}" for name, value in rest.items())
        assumed = f"{weights}: has no preprocessing; assumed {text}"
    return preprocessing(**chosen), assumed


_OPTION_NAMES = {
    "resize_size": "--resize",
    "crop_size": "--crop",
    "interpolation": "--interpolation",
    "mean": "--mean",
    "std": "--std",
}


def _text(value: Any) -> str:
    return ",".join(f"{v:g}" for v in value) if isinstance(value, list | tuple) else str(value)
