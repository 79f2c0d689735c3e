"""torchvision's public ResNet weights in Lucid's networks, and back.

The networks are the same and only the names differ::

    torchvision                      Lucid
    conv1.weight                     stem.conv.weight
    bn1.*                            stem.norm.*
    layer1.0.conv2.weight            layer1.0.conv2.conv.weight
    layer1.0.bn2.*                   layer1.0.conv2.norm.*
    layer1.0.downsample.0.weight     layer1.0.downsample.conv.weight
    layer1.0.downsample.1.*          layer1.0.downsample.norm.*
    fc.*                             fc.*

torchvision itself is not needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from lucid import StateDictError, nn
from lucid.weights import WeightConverter, load_converted, rename_key
from lucid_models_classification.mobilenet.torchvision import CONVERTERS
from lucid_models_classification.resnet import BasicBlock, Bottleneck
from lucid_models_classification.resnet.builders import ARCHITECTURES, Architecture

__all__ = [
    "ResNetConverter",
    "converter",
    "from_torchvision_key",
    "infer_model",
    "is_resnet_key",
    "load_torchvision_weights",
    "sizes_of",
    "to_torchvision_key",
]

_BLOCK_NUMBER = re.compile(r"layer([1-4])\.(\d{1,4})\.")
_BLOCK = r"(?P<block>layer[1-4]\.\d+\.)"
_FROM_TORCHVISION = [
    (re.compile(r"conv1\.weight"), "stem.conv.weight"),
    (re.compile(r"bn1\.(?P<rest>\w+)"), r"stem.norm.\g<rest>"),
    (re.compile(_BLOCK + r"conv(?P<i>\d)\.weight"), r"\g<block>conv\g<i>.conv.weight"),
    (re.compile(_BLOCK + r"bn(?P<i>\d)\.(?P<rest>\w+)"), r"\g<block>conv\g<i>.norm.\g<rest>"),
    (re.compile(_BLOCK + r"downsample\.0\.weight"), r"\g<block>downsample.conv.weight"),
    (re.compile(_BLOCK + r"downsample\.1\.(?P<rest>\w+)"), r"\g<block>downsample.norm.\g<rest>"),
]
_TO_TORCHVISION = [
    (re.compile(r"stem\.conv\.weight"), "conv1.weight"),
    (re.compile(r"stem\.norm\.(?P<rest>\w+)"), r"bn1.\g<rest>"),
    (re.compile(_BLOCK + r"conv(?P<i>\d)\.conv\.weight"), r"\g<block>conv\g<i>.weight"),
    (re.compile(_BLOCK + r"conv(?P<i>\d)\.norm\.(?P<rest>\w+)"), r"\g<block>bn\g<i>.\g<rest>"),
    (re.compile(_BLOCK + r"downsample\.conv\.weight"), r"\g<block>downsample.0.weight"),
    (re.compile(_BLOCK + r"downsample\.norm\.(?P<rest>\w+)"), r"\g<block>downsample.1.\g<rest>"),
]
_LUCID = re.compile(
    r"(?:stem|layer[1-4]\.\d+\.(?:conv\d|downsample))\.(?:conv|norm)\.\w+|fc\.(?:weight|bias)"
)


def from_torchvision_key(key: str) -> str:
    """Lucid's name of a ResNet entry that torchvision calls ``key``.

    Parameters
    ----------
    key : str
        A name in a state dict of torchvision's ResNet.

    Returns
    -------
    str
        The name in Lucid.  A name that is not of a ResNet comes back as it is, so that it
        turns up as unexpected when the weights are loaded.

    Examples
    --------
    >>> from lucid_models_classification.torchvision import from_torchvision_key
    >>> from_torchvision_key("layer2.0.bn3.running_mean")
    'layer2.0.conv3.norm.running_mean'
    """
    return rename_key(key, _FROM_TORCHVISION)


def to_torchvision_key(key: str) -> str:
    """torchvision's name of a ResNet entry that Lucid calls ``key``.

    Parameters
    ----------
    key : str
        A name in a state dict of Lucid's ResNet.

    Returns
    -------
    str
        The name in torchvision; any other name comes back as it is.

    Examples
    --------
    >>> from lucid_models_classification.torchvision import to_torchvision_key
    >>> to_torchvision_key("layer2.0.conv3.norm.running_mean")
    'layer2.0.bn3.running_mean'
    """
    return rename_key(key, _TO_TORCHVISION)


def is_resnet_key(key: str) -> bool:
    """Whether a ResNet has an entry of this name, in Lucid or in torchvision.

    Parameters
    ----------
    key : str
        A name in a state dict.

    Returns
    -------
    bool
        True if a ResNet has it.

    Examples
    --------
    >>> from lucid_models_classification.torchvision import is_resnet_key
    >>> is_resnet_key("layer1.0.bn1.weight"), is_resnet_key("module.layer1.0.bn1.weight")
    (True, False)
    """
    return bool(_LUCID.fullmatch(from_torchvision_key(key)))


def sizes_of(state_dict: Mapping[str, Any]) -> dict[str, int]:
    """Keyword arguments of a ResNet that its entries show.

    Parameters
    ----------
    state_dict : mapping of str to array-like
        With torchvision's names or Lucid's.

    Returns
    -------
    dict
        ``in_channels`` and ``num_classes``, each where the layer that shows it is there.

    Examples
    --------
    >>> import numpy as np
    >>> from lucid_models_classification.torchvision import sizes_of
    >>> sizes_of({"fc.weight": np.zeros((10, 512))})
    {'num_classes': 10}
    """
    return _sizes(_shapes(state_dict))


def infer_model(state_dict: Mapping[str, Any]) -> tuple[str, dict[str, int]]:
    """The registered ResNet that weights are of, told by their names and shapes.

    Parameters
    ----------
    state_dict : mapping of str to array-like
        With torchvision's names or Lucid's.

    Returns
    -------
    name : str
        For :func:`lucid.models.create_model`.
    kwargs : dict
        Its keyword arguments, as far as :func:`sizes_of` tells them.  What leaves no trace
        in the weights, such as ``dilate``, is taken to be the default.

    Raises
    ------
    ValueError
        If they are of none; says what was found.

    Examples
    --------
    >>> from lucid.models import resnet_18
    >>> from lucid_models_classification.torchvision import infer_model
    >>> infer_model(resnet_18(num_classes=10).state_dict())
    ('resnet_18', {'in_channels': 3, 'num_classes': 10})
    """
    if not state_dict:
        raise ValueError("it holds no tensors")
    shapes = _shapes(state_dict)
    found = _architecture(shapes)
    if found is None:
        keys = ", ".join(map(repr, list(state_dict)[:3])) or "none"
        raise ValueError(f"its tensors are not named as those of a ResNet (the first: {keys})")
    return _registered(found), _sizes(shapes)


def _registered(found: Architecture) -> str:
    """The name of the model with this architecture; raises StateDictError if there is none."""
    for name, architecture in ARCHITECTURES.items():
        if architecture == found:
            return name
    raise StateDictError(
        f"no registered ResNet has {found.depths} blocks of type {found.block.__name__} "
        f"with {found.groups} groups of width {found.width_per_group}"
    )


def _sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    stem, fc = shapes.get("stem.conv.weight", ()), shapes.get("fc.weight", ())
    sizes = {}
    if len(stem) == 4:
        sizes["in_channels"] = stem[1]
    if len(fc) == 2:
        sizes["num_classes"] = fc[0]
    return sizes


def _shapes(state_dict: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {from_torchvision_key(key): tuple(np.shape(v)) for key, v in state_dict.items()}


def _architecture(shapes: Mapping[str, tuple[int, ...]]) -> Architecture | None:
    """What the blocks say of the whole; None where there are no blocks of a ResNet."""
    numbers: list[set[int]] = [set(), set(), set(), set()]
    for key in shapes:
        if match := _BLOCK_NUMBER.match(key):
            numbers[int(match[1]) - 1].add(int(match[2]))
    first = shapes.get("layer1.0.conv2.conv.weight", ())
    if len(first) != 4 or 0 in first or not all(numbers):
        return None
    first_depth, second, third, fourth = map(len, numbers)
    depths = (first_depth, second, third, fourth)
    if "layer1.0.conv3.conv.weight" not in shapes:
        return Architecture(BasicBlock, depths)
    groups = first[0] // first[1]
    return Architecture(Bottleneck, depths, groups, first[0] // max(groups, 1))


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
    model : ResNet or MobileNet
        What to load into, for example ``resnet_50()`` for ``resnet50``.
    path_or_state_dict : path or mapping
        A file that :func:`lucid.load` reads, such as ``resnet50-0676ba61.pth``, or a state
        dict, with torchvision's names or the model's own.  A prefix that a wrapper put
        before them, such as ``module.``, is stripped; see :func:`lucid.weights.unwrap`.
    strict, skip_mismatched : bool
        As of :meth:`lucid.nn.Module.load_state_dict`; with ``skip_mismatched=True`` a
        classifier of another number of classes keeps its fresh weights.
    ema : bool, optional
        As of :func:`lucid.load`.

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
    ...     to_torchvision_key,
    ... )
    >>> source, target = resnet_18(), resnet_18()
    >>> theirs = {to_torchvision_key(k): v for k, v in source.state_dict().items()}
    >>> len(load_torchvision_weights(target, theirs).missing)
    0
    """
    names = model.state_dict()
    of_model = (other for other in CONVERTERS.values() if all(map(other.knows, names)))
    return load_converted(
        model,
        path_or_state_dict,
        next(of_model, converter),
        strict=strict,
        skip_mismatched=skip_mismatched,
        ema=ema,
    )


class ResNetConverter(WeightConverter):
    """torchvision's names of ResNet, Wide ResNet and ResNeXt, and Lucid's own."""

    def identify(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]] | None:
        """Find the network by its blocks."""
        own = {from_torchvision_key(key): shape for key, shape in shapes.items()}
        found = _architecture(own)
        if found is None:
            return None
        return _registered(found), _sizes(own)

    def rename(self, key: str) -> str:
        """See :func:`from_torchvision_key`."""
        return from_torchvision_key(key)

    def knows(self, key: str) -> bool:
        """See :func:`is_resnet_key`."""
        return is_resnet_key(key)


converter = ResNetConverter()
