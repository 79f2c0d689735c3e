"""Conversion of weights from and to torchvision's detectors.

With the options of :func:`torchvision_config` a network is torchvision's; only parameter names
differ.  Each family's converter adds the names of its heads::

    torchvision                                Lucid
    backbone.body.<name in the network>        backbone.net.<name in Lucid's network>
    backbone.fpn.inner_blocks.0.0.*            backbone.fpn.lateral.0.*
    backbone.fpn.layer_blocks.0.0.*            backbone.fpn.output.0.*

Checkpoints before torchvision 0.13, such as the published ones, lack the last ``.0``.
torchvision's backbone has no classifier; that of ``backbone.net`` is kept.  torchvision need not
be installed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

import lucid
from lucid import PluginError, StateDictError, Tensor, WeightFileError, nn
from lucid.weights import (
    WeightConverter,
    export_state_dict,
    find_converter,
    identify_weights,
    load_external_weights,
    rename_key,
    weight_converters,
)
from lucid_models_detection.backbones import without_defaults
from lucid_models_detection.data.coco import COCO_CLASSES
from lucid_models_detection.unsupported_detectors import name_unsupported_detector

__all__ = [
    "TorchvisionConverter",
    "load_torchvision_weights",
    "torchvision_config",
    "torchvision_state_dict",
]

_SOURCE, _TASK = "torchvision", "object-detection"
_BODY, _NET, _STEM = "backbone.body.", "backbone.net.", "backbone.stem."
_SHOWN = 3

#: Pairs of a pattern of names and the name on the other side.
Rules = Sequence[tuple[re.Pattern[str], str]]

_FROM_TORCHVISION: Rules = (
    (re.compile(r"(backbone\.fpn\.)inner_blocks\.(\d)\.(?:0\.)?(\w+)"), r"\1lateral.\2.\3"),
    (re.compile(r"(backbone\.fpn\.)layer_blocks\.(\d)\.(?:0\.)?(\w+)"), r"\1output.\2.\3"),
)
_TO_TORCHVISION: Rules = (
    (re.compile(r"(backbone\.fpn\.)lateral\.(\d)\.(\w+)"), r"\1inner_blocks.\2.0.\3"),
    (re.compile(r"(backbone\.fpn\.)output\.(\d)\.(\w+)"), r"\1layer_blocks.\2.0.\3"),
)
_OWN = re.compile(r"backbone\.(?:net|body|stem|fpn)\..+")


class TorchvisionConverter(WeightConverter):
    """Base class of the converters for torchvision's detectors with a feature pyramid.

    A subclass sets the class attributes and implements :meth:`heads`.

    Parameters
    ----------
    net : lucid.nn.Module, optional
        Network of a detector's backbone, whose converter renames its keys.  Default: its keys
        keep torchvision's names.

    Attributes
    ----------
    family : str
        Family of the models.
    options : dict
        Builder arguments of torchvision's network, in addition to the common ones.
    anchors : int
        Anchors per location in torchvision's network.
    from_torchvision, to_torchvision : sequence of (re.Pattern, str)
        Renaming rules of the heads, for :func:`lucid.weights.rename_key`.
    own : re.Pattern
        All names of the heads, in both libraries.
    """

    family: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    anchors: ClassVar[int]
    from_torchvision: ClassVar[Rules] = ()
    to_torchvision: ClassVar[Rules] = ()
    own: ClassVar[re.Pattern[str]]

    def __init__(self, net: nn.Module | None = None) -> None:
        self.net = None if net is None else find_converter(net, _SOURCE)
        #: Prefixes of the backbone's classifier, which torchvision's detectors lack.
        self.classifier = tuple(_NET + prefix for prefix in getattr(net, "head_prefixes", ()))

    def heads(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, dict[str, Any]] | None:
        """Identify the family by its heads.

        Parameters
        ----------
        shapes : mapping of str to tuple of int
            Shapes by Lucid's names.

        Returns
        -------
        tuple of (int, dict) or None
            Anchors per location and builder arguments; None for another family.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement heads")

    def config(self) -> dict[str, Any]:
        """Return the options of :func:`torchvision_config`."""
        return {"min_size": 800, "max_size": 1333, "norm": "frozen", **self.options}

    def identify(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]] | None:
        """Identify the family by its heads and the network by its backbone."""
        if (other := name_unsupported_detector(shapes)) is not None:
            raise StateDictError(f"the weights are those of {_unsupported(other)}")
        body = {k.removeprefix(_BODY): v for k, v in shapes.items() if k.startswith(_BODY)}
        found = self.heads({self.rename(key): shape for key, shape in shapes.items()})
        if found is None:
            return None
        if any(key.startswith(_NET) for key in shapes):
            raise StateDictError(
                f"expected torchvision's names or model metadata, got Lucid's names of a detector "
                f"of the family {self.family}; build the model and call load_state_dict, or save "
                "it with lucid.save_model"
            )
        if not body:
            return None
        anchors, arguments = found
        backbone, chosen = _backbone(body)
        if chosen:
            arguments = {**arguments, "backbone_options": chosen}
        name = f"{self.family}_{backbone}_fpn"
        if not lucid.models.is_model(name):
            name, arguments = f"{self.family}_fpn", {**arguments, "backbone": backbone}
        if anchors != self.anchors:
            raise StateDictError(
                f"expected {self.anchors} anchors per location (torchvision's), got {anchors}; "
                "build the model with your anchors and call load_torchvision_weights"
            )
        config = self.config()
        if any(key.endswith(".num_batches_tracked") for key in body):
            config["norm"] = "batch"  # trained from scratch
        return name, {**config, **arguments}

    def for_model(self, model: nn.Module) -> WeightConverter:
        """Return a converter that renames the backbone by its own converter."""
        return type(self)(dict(model.named_modules()).get(_NET.rstrip(".")))

    def rename(self, key: str) -> str:
        """Return Lucid's name for a key of torchvision's detector, of any version."""
        if key.startswith(_BODY):
            inner = key.removeprefix(_BODY)
            return _NET + (inner if self.net is None else self.net.rename(inner))
        return rename_key(key, (*_FROM_TORCHVISION, *self.from_torchvision))

    def export_key(self, key: str) -> str | None:
        """Return the name in torchvision since 0.13; None for the backbone's classifier.

        The stem has two names in Lucid and one in torchvision.
        """
        if key.startswith((_STEM, *self.classifier)):
            return None
        if key.startswith(_NET):
            inner = key.removeprefix(_NET)
            name = inner if self.net is None else self.net.export_key(inner)
            return None if name is None else _BODY + name
        return rename_key(key, (*_TO_TORCHVISION, *self.to_torchvision))

    def has_key(self, key: str) -> bool:
        """Whether the family has an entry of this name, in Lucid or in torchvision."""
        return bool(_OWN.fullmatch(key) or self.own.fullmatch(key))

    def prepare(self, state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Add the backbone's classifier of the model."""
        kept = {k: v for k, v in model.state_dict().items() if k.startswith(self.classifier)}
        return kept | state

    def class_names(self, arguments: Mapping[str, Any]) -> tuple[str, ...] | None:
        """Return COCO's class names for COCO's number of classes."""
        return COCO_CLASSES if arguments["num_classes"] == len(COCO_CLASSES) else None


def torchvision_config(family: str = "faster_rcnn") -> dict[str, Any]:
    """Return the keyword arguments that make a builder build the same network as torchvision.

    Parameters
    ----------
    family : str, default "faster_rcnn"
        Family of the model, such as ``"retinanet"`` for ``retinanet_resnet50_fpn``.

    Returns
    -------
    dict
        Frozen batch normalization, and images resized to 800 pixels on the shorter and at most
        1333 on the longer side; for Faster R-CNN also one anchor size per level and 1000 proposals
        in prediction.  Other options have torchvision's defaults.

    Raises
    ------
    ValueError
        If the family is unknown.

    Notes
    -----
    The published ``COCO_V1`` weights need ``norm_eps=0.0`` too.  ``lucid detect`` recognizes these
    files by their digests and sets it.

    Examples
    --------
    >>> from lucid.models import faster_rcnn_resnet_50_fpn
    >>> from lucid_models_detection import torchvision_config
    >>> model = faster_rcnn_resnet_50_fpn(num_classes=91, norm_eps=0.0, **torchvision_config())
    >>> model.rpn.head.cls_logits.weight.shape
    (3, 256, 1, 1)
    """
    known = {converter.family: converter for converter in _converters()}
    if family not in known:
        expected = " or ".join(map(repr, known))
        raise ValueError(f"family: expected {expected}, got {family!r}")
    return known[family].config()


def load_torchvision_weights(
    model: nn.Module,
    path_or_state_dict: str | os.PathLike[str] | Mapping[str, Any],
    *,
    strict: bool = True,
    skip_mismatched: bool = False,
    ema: bool | None = None,
) -> Any:
    """Load weights of a torchvision detector into a detector of the same architecture.

    Parameters
    ----------
    model : Detector
        Built with :func:`torchvision_config` and the checkpoint's number of classes (91 for COCO).
    path_or_state_dict : path or mapping
        A file that :func:`lucid.load` reads, or a state dict, with torchvision's or Lucid's names.
        A wrapper's prefix such as ``module.`` is stripped; see :func:`lucid.weights.strip_prefix`.
    strict, skip_mismatched : bool
        As for :meth:`lucid.nn.Module.load_state_dict`.  ``skip_mismatched=True`` keeps the model's
        predictor if the number of classes differs.
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
    """
    try:
        return load_external_weights(
            model,
            path_or_state_dict,
            _SOURCE,
            strict=strict,
            skip_mismatched=skip_mismatched,
            ema=ema,
        )
    except StateDictError as error:
        if isinstance(path_or_state_dict, Mapping):
            keys, source = list(path_or_state_dict), "the state dict"
        else:
            keys = list(lucid.load(path_or_state_dict, ema=ema))
            source = os.fspath(path_or_state_dict)
        if (other := name_unsupported_detector(keys)) is None:
            raise
        raise StateDictError(
            f"{source}: the weights are those of {_unsupported(other)}: {error}"
        ) from error


def torchvision_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a detector under torchvision's names.

    Parameters
    ----------
    model : Detector
        Of a family that torchvision has.

    Returns
    -------
    dict of str to Tensor
        State dict for torchvision's model since 0.13, without the backbone's classifier.

    Raises
    ------
    ValueError
        If no plugin has a converter for the model.

    Examples
    --------
    >>> from lucid.models import faster_rcnn_resnet_18_fpn
    >>> from lucid_models_detection.torchvision import torchvision_state_dict
    >>> list(torchvision_state_dict(faster_rcnn_resnet_18_fpn()))[:2]
    ['backbone.body.conv1.weight', 'backbone.body.bn1.weight']
    """
    return export_state_dict(model, _SOURCE)


def _backbone(body: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]]:
    """Return the registered name of a backbone's classifier, and arguments of its builder."""
    # Converters look at names and shapes only: these arrays need no memory.
    arrays = {key: np.broadcast_to(np.float32(0), shape) for key, shape in body.items()}
    try:
        found = identify_weights(arrays, task="image-classification")
    except (PluginError, WeightFileError) as error:
        raise StateDictError(f"its backbone: {error}") from error
    if found is None:
        disabled = os.environ.get("LUCID_DISABLE_PLUGINS")
        raise StateDictError(
            "no installed plugin recognizes the backbone by its tensor names (the first: "
            f"{', '.join(map(repr, list(body)[:_SHOWN]))})"
            + (f"; {disabled} is disabled by LUCID_DISABLE_PLUGINS" if disabled else "")
        )
    return found.name, without_defaults(found.name, found.arguments)


def _converters() -> Iterator[TorchvisionConverter]:
    """Yield the registered converters for torchvision's detectors."""
    for registered in weight_converters():
        if registered.source == _SOURCE and registered.task == _TASK:
            converter = registered.load()
            if isinstance(converter, TorchvisionConverter):
                yield converter


def _unsupported(other: str) -> str:
    return (
        f"{other}, which Lucid does not have; weights of torchvision's fasterrcnn_resnet50_fpn and "
        "retinanet_resnet50_fpn load, and 'lucid models' lists all models"
    )
