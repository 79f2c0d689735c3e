"""torchvision's public weights of Faster R-CNN and RetinaNet in Lucid's detectors, and back.

Built with :func:`torchvision_config`, the network is torchvision's
``fasterrcnn_resnet50_fpn`` or ``retinanet_resnet50_fpn`` and only the names differ::

    torchvision                                Lucid
    backbone.body.<name in a ResNet>           backbone.net.<that model's name>
    backbone.fpn.inner_blocks.0.0.*            backbone.fpn.lateral.0.*
    backbone.fpn.layer_blocks.0.0.*            backbone.fpn.output.0.*
    rpn.head.conv.0.0.*                        rpn.head.conv.conv.*
    rpn.head.cls_logits.*, bbox_pred.*         the same
    roi_heads.box_head.*, box_predictor.*      the same
    head.classification_head.conv.0.0.*        classification_head.conv.0.conv.*
    head.classification_head.cls_logits.*      classification_head.output.*
    head.regression_head.conv.0.0.*            regression_head.conv.0.conv.*
    head.regression_head.bbox_reg.*            regression_head.output.*

Checkpoints of before torchvision 0.13, the published ones among them, lack the
last ``.0`` or ``.0.0``, and number the convolutions of RetinaNet's heads 0, 2, 4, 6.
torchvision's backbone has no classifier; the one of ``backbone.net`` is left as it is.
torchvision itself is not needed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import lucid
from lucid import StateDictError, Tensor, nn
from lucid.weights import WeightConverter, load_converted, rename_key
from lucid_models_classification import torchvision as resnet
from lucid_models_detection.data.coco_classes import COCO_CLASSES
from lucid_models_detection.other_detectors import describe_detector

__all__ = [
    "DetectorConverter",
    "converter",
    "from_torchvision_key",
    "infer_detector",
    "is_detector_key",
    "load_torchvision_weights",
    "to_torchvision_key",
    "torchvision_config",
]

#: First digits of the SHA-256 of torchvision's published COCO_V1 weights, as in their files'
#: names: fasterrcnn_resnet50_fpn and retinanet_resnet50_fpn.
_COCO_V1 = ("258fb6c6", "eeacb38b")
_BODY, _NET = "backbone.body.", "backbone.net."
_FROM_TORCHVISION = [
    (re.compile(r"(backbone\.fpn\.)inner_blocks\.(\d)\.(?:0\.)?(\w+)"), r"\1lateral.\2.\3"),
    (re.compile(r"(backbone\.fpn\.)layer_blocks\.(\d)\.(?:0\.)?(\w+)"), r"\1output.\2.\3"),
    (re.compile(r"(rpn\.head\.conv\.)(?:0\.0\.)?(\w+)"), r"\1conv.\2"),
    (re.compile(r"head\.(\w+_head\.conv\.\d)\.0\.(\w+)"), r"\1.conv.\2"),
    *(
        (re.compile(rf"head\.(\w+_head\.conv\.){2 * i}\.(\w+)"), rf"\g<1>{i}.conv.\2")
        for i in range(4)
    ),
    (re.compile(r"head\.(\w+_head\.)(?:cls_logits|bbox_reg)\.(\w+)"), r"\1output.\2"),
]
_TO_TORCHVISION = [
    (re.compile(r"(backbone\.fpn\.)lateral\.(\d)\.(\w+)"), r"\1inner_blocks.\2.0.\3"),
    (re.compile(r"(backbone\.fpn\.)output\.(\d)\.(\w+)"), r"\1layer_blocks.\2.0.\3"),
    (re.compile(r"(rpn\.head\.conv\.)conv\.(\w+)"), r"\g<1>0.0.\2"),
    (re.compile(r"(\w+_head\.conv\.\d)\.conv\.(\w+)"), r"head.\1.0.\2"),
    (re.compile(r"(classification_head\.)output\.(\w+)"), r"head.\1cls_logits.\2"),
    (re.compile(r"(regression_head\.)output\.(\w+)"), r"head.\1bbox_reg.\2"),
]


_OWN = re.compile(
    r"backbone\.(?:net|body|stem|fpn)\..+|rpn\.head\.(?:conv|cls_logits|bbox_pred)\..+"
    r"|roi_heads\.(?:box_head|box_predictor)\..+"
    r"|(?:classification|regression)_head\.(?:conv\.\d\.conv|output)\.\w+"
    r"|head\.(?:classification|regression)_head\.(?:conv\.\d(?:\.0)?|cls_logits|bbox_reg)\.\w+"
)


def torchvision_config(family: str = "faster_rcnn") -> dict[str, Any]:
    """Keyword arguments that make a builder's network torchvision's.

    Parameters
    ----------
    family : {"faster_rcnn", "retinanet"}, default "faster_rcnn"
        For ``fasterrcnn_resnet50_fpn`` or ``retinanet_resnet50_fpn``.

    Returns
    -------
    dict
        Frozen normalization and images resized to 800 pixels on the shorter and at most 1333
        on the longer side; for Faster R-CNN also one anchor size a level and 1000 proposals in
        prediction.  Everything else is torchvision's by default.

    Raises
    ------
    ValueError
        For another family.

    Notes
    -----
    The published ``COCO_V1`` weights were trained without an epsilon in the frozen
    normalization: add ``norm_eps=0.0`` for them.  ``lucid detect`` knows these files by their
    digests and does so.

    Examples
    --------
    >>> from lucid.models import faster_rcnn_resnet_50_fpn
    >>> from lucid_models_detection import torchvision_config
    >>> model = faster_rcnn_resnet_50_fpn(num_classes=91, norm_eps=0.0, **torchvision_config())
    >>> model.rpn.head.cls_logits.weight.shape
    (3, 256, 1, 1)
    """
    config: dict[str, Any] = {"min_size": 800, "max_size": 1333, "norm": "frozen"}
    if family == "faster_rcnn":
        config |= {
            "anchor_sizes": ((32,), (64,), (128,), (256,), (512,)),
            "aspect_ratios": (0.5, 1.0, 2.0),
            "rpn_pre_nms_top_n": (2000, 1000),
            "rpn_post_nms_top_n": (2000, 1000),
        }
    elif family != "retinanet":
        raise ValueError(f"family: expected 'faster_rcnn' or 'retinanet', got {family!r}")
    return config


def from_torchvision_key(key: str) -> str:
    """Lucid's name of a detector's entry that torchvision calls ``key``.

    Parameters
    ----------
    key : str
        A name in a state dict of torchvision's Faster R-CNN or RetinaNet, of any version.

    Returns
    -------
    str
        The name in Lucid.  Any other name is returned unchanged, so that it is reported as
        unexpected when the weights are loaded.

    Examples
    --------
    >>> from lucid_models_detection.torchvision import from_torchvision_key
    >>> from_torchvision_key("backbone.body.layer1.0.bn3.weight")
    'backbone.net.layer1.0.conv3.norm.weight'
    >>> from_torchvision_key("backbone.fpn.inner_blocks.3.0.bias")
    'backbone.fpn.lateral.3.bias'
    """
    if key.startswith(_BODY):
        return _NET + resnet.from_torchvision_key(key.removeprefix(_BODY))
    return rename_key(key, _FROM_TORCHVISION)


def to_torchvision_key(key: str) -> str:
    """torchvision's name of a detector's entry that Lucid calls ``key``.

    Parameters
    ----------
    key : str
        A name in a state dict of Lucid's Faster R-CNN or RetinaNet.

    Returns
    -------
    str
        The name in torchvision since 0.13; any other name is returned unchanged.

    Examples
    --------
    >>> from lucid_models_detection.torchvision import to_torchvision_key
    >>> to_torchvision_key("rpn.head.conv.conv.weight")
    'rpn.head.conv.0.0.weight'
    """
    if key.startswith(_NET):
        return _BODY + resnet.to_torchvision_key(key.removeprefix(_NET))
    return rename_key(key, _TO_TORCHVISION)


def is_detector_key(key: str) -> bool:
    """Whether Faster R-CNN or RetinaNet has an entry of this name, in Lucid or in torchvision.

    Parameters
    ----------
    key : str
        A name in a state dict.

    Returns
    -------
    bool
        True if one of them has it.

    Examples
    --------
    >>> from lucid_models_detection.torchvision import is_detector_key
    >>> is_detector_key("rpn.head.cls_logits.weight"), is_detector_key("fc.weight")
    (True, False)
    """
    return bool(_OWN.fullmatch(key))


def infer_detector(state_dict: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The registered detector that weights of torchvision are of, told by names and shapes.

    Parameters
    ----------
    state_dict : mapping of str to array-like
        With torchvision's names.

    Returns
    -------
    name : str
        For :func:`lucid.models.create_model`.
    kwargs : dict
        Its keyword arguments: those of :func:`torchvision_config`, and what the weights
        show.  They do not show ``norm_eps``.

    Raises
    ------
    ValueError
        If they are of none; says why.

    Examples
    --------
    >>> from lucid.models import create_model
    >>> from lucid_models_detection.torchvision import (
    ...     infer_detector,
    ...     to_torchvision_key,
    ...     torchvision_config,
    ... )
    >>> config = torchvision_config()
    >>> detector = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, **config)
    >>> theirs = {to_torchvision_key(k): v for k, v in detector.state_dict().items()}
    >>> name, kwargs = infer_detector(theirs)
    >>> name, kwargs["num_classes"], kwargs["norm"]
    ('faster_rcnn_resnet_18_fpn', 3, 'frozen')
    """
    if not state_dict:
        raise ValueError("it holds no tensors")
    shapes = {key: tuple(np.shape(value)) for key, value in state_dict.items()}
    if (found := _identify(shapes)) is not None:
        return found
    keys = ", ".join(map(repr, list(state_dict)[:3])) or "none"
    raise ValueError(
        "its tensors are not named as those of torchvision's fasterrcnn_resnet50_fpn or "
        f"retinanet_resnet50_fpn (the first: {keys})"
    )


def _identify(theirs: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]] | None:
    """Name and arguments of the detector; raises StateDictError if no registered one has it."""
    if (other := describe_detector(theirs)) is not None:
        raise StateDictError(f"its tensors are those of {_not_here(other)}")
    body = {k.removeprefix(_BODY): v for k, v in theirs.items() if k.startswith(_BODY)}
    shapes = {from_torchvision_key(key): shape for key, shape in theirs.items()}
    found = _faster_rcnn(shapes) or _retinanet(shapes)
    if found is not None and any(key.startswith(_NET) for key in theirs):
        raise StateDictError(
            f"its tensors have Lucid's own names of a detector of the family {found[0]}, and do "
            "not say how it was built: build the model, and use load_state_dict, or save the "
            "detector with lucid.save_model"
        )
    if not body or found is None:
        return None
    family, anchors, expected, options = found
    backbone = resnet.converter.identify(body)
    if backbone is None:
        raise StateDictError(
            "the tensors of its backbone are not named as those of a ResNet (the first: "
            f"{', '.join(map(repr, list(body)[:3]))})"
        )
    name = f"{family}_{backbone[0]}_fpn"
    if not lucid.models.is_model(name):
        raise StateDictError(f"there is no model {name} for the backbone that they show")
    if anchors != expected:
        raise StateDictError(
            f"they have {anchors} anchors at each location and not torchvision's {expected}: "
            "build the model with your anchors, and use load_torchvision_weights"
        )
    config = torchvision_config(family)
    if any(key.endswith(".num_batches_tracked") for key in body):
        config["norm"] = "batch"  # trained from scratch; the same in prediction
    return name, {**config, **options}


#: Family, anchors at each location, torchvision's number of them, builder arguments.
_Found = tuple[str, int, int, dict[str, Any]]


def _faster_rcnn(shapes: Mapping[str, tuple[int, ...]]) -> _Found | None:
    classes = shapes.get("roi_heads.box_predictor.cls_score.weight", ())
    anchors = shapes.get("rpn.head.cls_logits.weight", ())
    hidden = shapes.get("roi_heads.box_head.fc6.weight", ())
    if len(classes) != 2 or len(anchors) != 4 or len(hidden) != 2:
        return None
    return "faster_rcnn", anchors[0], 3, {"num_classes": classes[0], "hidden_dim": hidden[0]}


def _retinanet(shapes: Mapping[str, tuple[int, ...]]) -> _Found | None:
    classes = shapes.get("classification_head.output.weight", ())
    offsets = shapes.get("regression_head.output.weight", ())
    if len(classes) != 4 or len(offsets) != 4 or offsets[0] < 4:
        return None
    anchors = offsets[0] // 4
    options = {"num_classes": classes[0] // anchors, "channels": classes[1]}
    return "retinanet", anchors, 9, options


def load_torchvision_weights(
    model: nn.Module,
    path_or_state_dict: str | os.PathLike[str] | Mapping[str, Any],
    *,
    strict: bool = True,
    skip_mismatched: bool = False,
    ema: bool | None = None,
) -> Any:
    """Load the weights of a torchvision detector into the detector of the same architecture.

    Parameters
    ----------
    model : FasterRCNN or RetinaNet
        Built with :func:`torchvision_config` and the checkpoint's number of classes
        (91 for COCO).
    path_or_state_dict : path or mapping
        A file that :func:`lucid.load` reads, or a state dict, with torchvision's names or
        the model's own.  A prefix that a wrapper put before them, such as ``module.``, is
        stripped; see :func:`lucid.weights.unwrap`.
    strict, skip_mismatched : bool
        As of :meth:`lucid.nn.Module.load_state_dict`; with ``skip_mismatched=True`` a
        predictor of another number of classes keeps its fresh weights.
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
    """
    try:
        return load_converted(
            model,
            path_or_state_dict,
            converter,
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
        if (other := describe_detector(keys)) is None:
            raise
        raise StateDictError(
            f"{source}: the weights are those of {_not_here(other)}: {error}"
        ) from error


class DetectorConverter(WeightConverter):
    """torchvision's names of Faster R-CNN and RetinaNet on a ResNet."""

    def identify(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]] | None:
        """Find the family by its heads and the network by its backbone."""
        return _identify(shapes)

    def rename(self, key: str) -> str:
        """See :func:`from_torchvision_key`."""
        return from_torchvision_key(key)

    def knows(self, key: str) -> bool:
        """See :func:`is_detector_key`."""
        return is_detector_key(key)

    def prepare(self, state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Keep the classifier of the backbone, which torchvision's detectors lack."""
        net: Any = dict(model.named_modules()).get(_NET.rstrip("."))
        head = tuple(_NET + prefix for prefix in getattr(net, "head_prefixes", ()))
        own = {key: value for key, value in model.state_dict().items() if key.startswith(head)}
        return own | state

    def file_arguments(self, path: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The epsilon of the published COCO_V1 weights, which were trained without one."""
        if arguments["num_classes"] != len(COCO_CLASSES):
            return {}
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"norm_eps": 0.0} if digest.startswith(_COCO_V1) else {}

    def class_names(self, arguments: Mapping[str, Any]) -> tuple[str, ...] | None:
        """COCO's for as many classes."""
        return COCO_CLASSES if arguments["num_classes"] == len(COCO_CLASSES) else None


converter = DetectorConverter()


def _not_here(other: str) -> str:
    return (
        f"{other}, which this version of Lucid does not have; 'lucid models' lists its models, and "
        "torchvision's fasterrcnn_resnet50_fpn and retinanet_resnet50_fpn fit them"
    )
