"""Backbones of detectors, by the name of a registered model."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from lucid import nn
from lucid.models import create_model, get_builder

__all__ = ["backbone_arguments", "make_backbone", "refuse_backbone", "without_defaults"]

#: Arguments of a backbone's builder, and their names in ``from_backbone``.
_NAMES = {"num_classes": "backbone_num_classes", "norm": "norm", "norm_eps": "norm_eps"}


def make_backbone(
    backbone: str | nn.Module,
    num_classes: int | None,
    norm: str,
    norm_eps: float | None,
    options: Mapping[str, Any] | None,
) -> nn.Module:
    """Build a backbone by name, or return the given module.

    Arguments are those of :meth:`lucid_models_detection.Detector.from_backbone`.  Raise
    ``TypeError`` or ``ValueError`` if the backbone is neither, an argument is invalid, or arguments
    are passed with a module.
    """
    if not isinstance(backbone, str | nn.Module):
        raise TypeError(
            "backbone: expected the name of a registered model or a lucid.nn.Module, got "
            f"{backbone!r:.80}"
        )
    if not isinstance(options, Mapping | None):
        raise TypeError(
            f"backbone_options: expected a dict of keyword arguments, got {options!r:.80}"
        )
    chosen = dict(options or {})
    given = ["backbone_options"] if chosen else []
    # Not every builder has these arguments, so defaults are not passed.
    named = {"num_classes": num_classes, "norm": norm, "norm_eps": norm_eps}
    for key, value in named.items():
        if value is not None and (key, value) != ("norm", "batch"):
            chosen[key] = value
            given.append(_NAMES[key])
    if isinstance(backbone, nn.Module):
        if chosen:
            raise TypeError(
                f"{', '.join(chosen)}: expected only with the name of a backbone, got the module "
                f"{type(backbone).__name__}; pass a registered name as backbone"
            )
        return backbone
    try:
        return create_model(backbone, **chosen)
    except (TypeError, ValueError) as error:
        if type(error) not in (TypeError, ValueError) or str(error).startswith(tuple(given)):
            raise
        if not given:
            raise
        raise type(error)(f"{', '.join(given)}: {error}") from error


def refuse_backbone(arguments: Mapping[str, Any], own: str, generic: str) -> None:
    """Raise ``TypeError`` if ``arguments`` choose a backbone for a model with a fixed one.

    ``own`` is its backbone, ``generic`` the model that takes any backbone.
    """
    if "backbone" in arguments:
        raise TypeError(
            f"backbone: expected {own} (fixed), got {arguments['backbone']!r}; use the model "
            f"{generic} for any backbone (--model {generic})"
        )


def backbone_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arguments of a backbone's builder to those of ``Detector.from_backbone``."""
    named = {_NAMES[key]: value for key, value in arguments.items() if key in _NAMES}
    others = {key: value for key, value in arguments.items() if key not in _NAMES}
    return {**named, **({"backbone_options": others} if others else {})}


def without_defaults(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that differ from the defaults of a registered builder.

    For builders with ``**kwargs``, ``in_channels`` defaults to 3.
    """
    parameters = signature(get_builder(name)).parameters
    defaults = {"in_channels": 3, **{key: each.default for key, each in parameters.items()}}
    return {k: v for k, v in arguments.items() if k not in defaults or v != defaults[k]}
