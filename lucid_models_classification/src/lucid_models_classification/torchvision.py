"""torchvision's public weights in Lucid's classifiers, and back.

The networks are the same and only the names differ.  Each family's weight converter knows its
names.  torchvision itself is not needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lucid import Tensor, nn
from lucid.weights import export_state_dict, load_external_weights

__all__ = ["load_torchvision_weights", "torchvision_state_dict"]

_SOURCE = "torchvision"


def load_torchvision_weights(
    model: nn.Module,
    path_or_state_dict: str | os.PathLike[str] | Mapping[str, Any],
    *,
    strict: bool = True,
    skip_mismatched: bool = False,
    ema: bool | None = None,
) -> Any:
    """Load the weights of a torchvision classifier into the model of the same architecture.

    Parameters
    ----------
    model : lucid.nn.Module
        What to load into, for example ``resnet_50()`` for ``resnet50``.
    path_or_state_dict : path or mapping
        A file that :func:`lucid.load` reads, such as ``resnet50-0676ba61.pth``, or a state
        dict, with torchvision's names or the model's own.  A prefix that a wrapper put
        before them, such as ``module.``, is stripped; see :func:`lucid.weights.strip_prefix`.
    strict, skip_mismatched : bool
        As for :meth:`lucid.nn.Module.load_state_dict`; with ``skip_mismatched=True`` a
        classifier of another number of classes keeps its fresh weights.
    ema : bool, optional
        As for :func:`lucid.load`.

    Returns
    -------
    lucid.nn.LoadResult
        What was loaded, missing, unexpected and skipped, under Lucid's names.

    Raises
    ------
    lucid.WeightFileError
        If the file cannot be read.
    lucid.StateDictError
        If the weights do not fit; the model is unchanged then.

    Examples
    --------
    >>> from lucid.models import resnet_18
    >>> from lucid_models_classification.torchvision import (
    ...     load_torchvision_weights,
    ...     torchvision_state_dict,
    ... )
    >>> theirs = torchvision_state_dict(resnet_18())
    >>> len(load_torchvision_weights(resnet_18(), theirs).missing)
    0
    """
    return load_external_weights(
        model,
        path_or_state_dict,
        _SOURCE,
        strict=strict,
        skip_mismatched=skip_mismatched,
        ema=ema,
    )


def torchvision_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a classifier under torchvision's names.

    Parameters
    ----------
    model : lucid.nn.Module
        A classifier of the zoo.

    Returns
    -------
    dict of str to Tensor
        What ``load_state_dict`` of torchvision's model takes.

    Raises
    ------
    ValueError
        If no installed plugin knows torchvision's names of the model.

    Examples
    --------
    >>> from lucid.models import resnet_18
    >>> from lucid_models_classification.torchvision import torchvision_state_dict
    >>> list(torchvision_state_dict(resnet_18()))[:2]
    ['conv1.weight', 'bn1.weight']
    """
    return export_state_dict(model, _SOURCE)
