"""Backbones of detectors, built from the name of a registered model."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from lucid import nn
from lucid.models import create_model, get_builder

__all__ = ["backbone_arguments", "make_backbone", "refuse_backbone", "without_defaults"]

#: Arguments of a backbone's builder that have a name of their own in ``from_backbone``.
_NAMES = {"num_classes": "backbone_num_classes", "norm": "norm", "norm_eps": "norm_eps"}


def make_backbone(
    backbone: str | nn.Module,
    num_classes: int | None,
    norm: str,
    norm_eps: float | None,
    options: Mapping[str, Any] | None,
) -> nn.Module:
    """Build a backbone by its name, or return the given one.

    Parameters
    ----------
    backbone, norm, norm_eps : object
        As of :meth:`lucid_models_detection.Detector.from_backbone`.
    num_classes, options : object
        Its ``backbone_num_classes`` and ``backbone_options``.

    Raises
    ------
    TypeError, ValueError
        If the backbone is neither a name nor a module, if an argument is invalid, or if
        arguments are given with a module; names the argument.
    """
    if not isinstance(backbone, str | nn.Module):
        raise TypeError(
            "backbone: expected the name of a registered model or a lucid.nn.Module, got "
            f"{backbone!r:.80}"
        )
    if not isinstance(options, Mapping | None):
        raise TypeError(
            f"backbone_options: expected keyword arguments in a dict, got {options!r:.80}"
        )
    chosen = dict(options or {})
    given = ["backbone_options"] if chosen else []
    # Defaults are not passed on, since not every builder has these arguments.
    named = {"num_classes": num_classes, "norm": norm, "norm_eps": norm_eps}
    for key, value in named.items():
        if value is not None and (key, value) != ("norm", "batch"):
            chosen[key] = value
            given.append(_NAMES[key])
    if isinstance(backbone, nn.Module):
        if chosen:
            raise TypeError(
                f"{', '.join(chosen)}: arguments of a backbone's builder, but "
                f"{type(backbone).__name__} is built already; leave them out, or give the name of "
                "a registered model as backbone"
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
    """Raise TypeError if arguments of a model with a backbone of its own choose another.

    Parameters
    ----------
    arguments : mapping
        Further arguments of the builder.
    own : str
        Name of its backbone.
    generic : str
        Name of the model that takes the name of a backbone.
    """
    if "backbone" in arguments:
        raise TypeError(
            f"backbone: this model has {own}, got {arguments['backbone']!r}; the model {generic} "
            f"takes any backbone (--model {generic})"
        )


def backbone_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arguments of a backbone's builder to those of ``Detector.from_backbone``."""
    named = {_NAMES[key]: value for key, value in arguments.items() if key in _NAMES}
    others = {key: value for key, value in arguments.items() if key not in _NAMES}
    return {**named, **({"backbone_options": others} if others else {})}


def without_defaults(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the arguments of a registered builder that are its defaults.

    Three input channels are the default of every classifier, also of a builder whose signature
    has ``**kwargs`` in place of ``in_channels``.
    """
    parameters = signature(get_builder(name)).parameters
    defaults = {"in_channels": 3, **{key: each.default for key, each in parameters.items()}}
    return {k: v for k, v in arguments.items() if k not in defaults or v != defaults[k]}
