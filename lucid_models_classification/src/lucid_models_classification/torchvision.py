"""Conversion of weights from and to torchvision's classifiers.

Only parameter names differ; each family's weight converter knows them.  torchvision need not be
installed.
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
    """Load weights of a torchvision classifier into the model of the same architecture.

    Parameters
    ----------
    model : lucid.nn.Module
        Model to load into, for example ``resnet_50()`` for ``resnet50``.
    path_or_state_dict : path or mapping
        A file that :func:`lucid.load` reads, such as ``resnet50-0676ba61.pth``, or a state dict,
        with torchvision's or Lucid's names.  A wrapper's prefix such as ``module.`` is stripped;
        see :func:`lucid.weights.strip_prefix`.
    strict, skip_mismatched : bool
        As for :meth:`lucid.nn.Module.load_state_dict`.  ``skip_mismatched=True`` keeps the model's
        classifier if the number of classes differs.
    ema : bool, optional
        As for :func:`lucid.load`.

    Returns
    -------
    lucid.nn.LoadResult
        Loaded, missing, unexpected and skipped keys, under Lucid's names.

    Raises
    ------
    lucid.WeightFileError
        If the file cannot be read.
    lucid.StateDictError
        If the weights do not fit; the model is unchanged.

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
        A classifier that torchvision has.

    Returns
    -------
    dict of str to Tensor
        State dict for torchvision's model.

    Raises
    ------
    ValueError
        If no plugin has a converter for the model.

    Examples
    --------
    >>> from lucid.models import resnet_18
    >>> from lucid_models_classification.torchvision import torchvision_state_dict
    >>> list(torchvision_state_dict(resnet_18()))[:2]
    ['conv1.weight', 'bn1.weight']
    """
    return export_state_dict(model, _SOURCE)
