"""Fine-tuning: load pretrained weights, freeze stages, group parameters by learning rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

import lucid
from lucid import StateDictError, WeightFileError, nn
from lucid.models import (
    check_backbone,
    check_classifier,
    create_model,
    get_builder,
    is_model,
    model_info,
)
from lucid.text import pluralize
from lucid.training.class_mapping import ClassMapping
from lucid.weights import (
    StateDictFile,
    find_saved_model,
    has_model_metadata,
    model_metadata,
    suggest_model,
)
from lucid_models_detection.backbones import without_defaults
from lucid_models_detection.detector import Detector, backbone_net, check_detector
from lucid_models_detection.loading import load_detector

__all__ = [
    "accepts_argument",
    "backbone_name",
    "check_task",
    "freeze_stages",
    "from_backbone",
    "from_detector",
    "new_detector",
    "parameter_groups",
]

_TASK = "object-detection"


def check_task(name: str) -> None:
    """Raise ValueError if the registered model `name` is no detector."""
    if (task := model_info(name).task) != _TASK:
        raise ValueError(
            f"expected a model for {_TASK}, got {name} for {task}; list models with: lucid models "
            f"--task {_TASK}"
        )


def new_detector(name: str, options: Mapping[str, Any]) -> Detector:
    """Build a randomly initialized detector; raise if the model is for another task."""
    check_task(name)
    return check_detector(create_model(name, **options))


def backbone_name(name: str, options: Mapping[str, Any]) -> str:
    """Return the registered name of a detector's backbone; raise ValueError if it has none."""
    net = backbone_net(new_detector(name, options))
    if net.model_name is None:
        raise ValueError(
            f"backbone_weights: expected a file for the backbone of {name}, an unregistered "
            f"{type(net).__name__}, got a tag"
        )
    return net.model_name


def from_backbone(
    name: str, path: Path, options: Mapping[str, Any], ema: bool | None = None
) -> Detector:
    """Build a detector with a pretrained classifier as backbone.

    The number of classes, the builder arguments and the image mean and standard deviation are
    taken from the classifier's file, as is the backbone name if the detector's builder has the
    argument ``backbone``.  Batch norms are frozen unless ``options`` has ``norm`` or the builder
    has no such argument.  Raises WeightFileError if the weights do not fit, or the builder lacks an
    argument that the backbone needs to compute the same.
    """
    _check_task(path, detector=False)
    weights, network, arguments = _read_classifier(path, ema)
    num_classes = arguments.get("num_classes")
    if (channels := arguments.get("in_channels", 3)) != 3:
        raise WeightFileError(
            f"{path}: expected a classifier with 3 input channels, got {channels}; train it on "
            "color images"
        )
    statistics = _image_statistics(path, weights)
    chosen = {**_detector_arguments(name, path, arguments, statistics), **options}
    if network is not None and _has_backbone_argument(name):
        chosen = {"backbone": network, **chosen}
        given = chosen["backbone"]  # the builder rejects unknown names
        if is_model(given) and model_info(given) != model_info(network):
            raise WeightFileError(
                f"{path}: expected weights of the backbone {given}, got {network}; pass weights "
                f"of {given}, or leave out backbone"
            )
    try:
        model = new_detector(name, chosen)
    except TypeError as error:
        from_file = {} if "backbone_options" in options else chosen.get("backbone_options", {})
        if not any(repr(key) in str(error) for key in from_file):
            raise
        raise WeightFileError(
            f"{path}: the backbone of {name} does not accept {from_file} of {network}; choose a "
            f"detector on {network} by --model: {error}"
        ) from error
    _check_statistics(model, {k: v for k, v in statistics.items() if k not in chosen}, path)
    net = backbone_net(model)
    if num_classes is None:  # no classification head in the file; the detector does not use it
        head = check_classifier(net).head_prefixes
        weights = weights.with_entries(
            {key: value for key, value in net.state_dict().items() if key.startswith(head)}
        )
    try:
        weights.load_into(net)
    except StateDictError as error:
        other = suggest_model(net, weights.state)
        remedy = (
            f", they are weights of {other} (choose a detector on it by --model)" if other else ""
        )
        raise WeightFileError(
            f"{path}: its weights do not fit the backbone of {name}{remedy}: {error}"
        ) from error
    return model


def _read_classifier(
    path: Path, ema: bool | None
) -> tuple[StateDictFile, str | None, dict[str, Any]]:
    """Return weights, model name and builder arguments of a classifier's file.

    For a bare state dict, the arguments are inferred: ``num_classes``, and those that differ
    from the defaults.
    """
    if not has_model_metadata(path):
        weights = StateDictFile.read(path, task="image-classification", ema=ema)
        if weights.identified is None:
            return weights, None, {}
        network, shown = weights.identified.name, weights.arguments()
        chosen = without_defaults(network, shown)
        if "num_classes" in shown:
            chosen["num_classes"] = shown["num_classes"]
        return weights, network, chosen
    metadata = model_metadata(path)
    arguments = dict(metadata.kwargs)
    if (num_classes := metadata.num_classes) is not None:
        arguments["num_classes"] = num_classes
    return StateDictFile(path, dict(lucid.load(path, ema=ema))), metadata.name, arguments


def _detector_arguments(
    name: str, path: Path, arguments: Mapping[str, Any], statistics: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the detector's builder arguments that follow from a classifier's file."""
    chosen = dict(statistics)
    if not has_model_metadata(path) or accepts_argument(model_metadata(path).name, "norm"):
        chosen["norm"] = "frozen"
    needed: dict[str, Any] = {}
    if "norm_eps" in arguments:
        needed["norm_eps"] = arguments["norm_eps"]
    handled = ("num_classes", "norm", "norm_eps")
    if others := {k: v for k, v in arguments.items() if k not in handled}:
        needed["backbone_options"] = others
    for key, value in needed.items():
        if not accepts_argument(name, key):
            raise WeightFileError(
                f"{path}: its network has {key}={value!r}, but {name} has no such argument; choose "
                "another detector (--model), or add the argument to its builder"
            )
    if arguments.get("num_classes") is not None:  # without the argument, loading checks it
        chosen["backbone_num_classes"] = arguments["num_classes"]
    return {k: v for k, v in chosen.items() if accepts_argument(name, k)} | needed


def _check_task(path: Path, *, detector: bool) -> None:
    """Raise if a saved model is a detector instead of a classifier, or the reverse."""
    if not has_model_metadata(path):
        return
    saved = find_saved_model(path, model_metadata(path))
    if saved.task == _TASK and not detector:
        raise WeightFileError(
            f"{path}: expected a classifier for the backbone, got the detector {saved.name}; to "
            "start from a detector, pass it as weights (--weights)"
        )
    if saved.task != _TASK and detector:
        raise WeightFileError(
            f"{path}: expected a detector, got {saved.name}, a model for {saved.task}; to start "
            "the backbone from a classifier, pass it as backbone_weights (--backbone-weights)"
        )


def accepts_argument(name: str, argument: str) -> bool:
    """Return whether the builder of a registered model has an argument."""
    parameters = signature(get_builder(name)).parameters
    return argument in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _has_backbone_argument(name: str) -> bool:
    """Return whether a builder has an argument ``backbone`` for a model name."""
    parameter = signature(get_builder(name)).parameters.get("backbone")
    return parameter is not None and is_model(parameter.default)


def _image_statistics(path: Path, weights: StateDictFile) -> dict[str, Any]:
    """Return the image mean and standard deviation of a classifier's file, as far as known."""
    if has_model_metadata(path):
        recorded = model_metadata(path).preprocessing or {}
    else:
        recorded = (weights.identified and weights.identified.preprocessing) or {}
    known = {"image_mean": recorded.get("mean"), "image_std": recorded.get("std")}
    return {key: tuple(value) for key, value in known.items() if value is not None}


def _check_statistics(model: Detector, statistics: Mapping[str, Any], path: Path) -> None:
    """Raise if a detector normalizes images differently and has no argument for it."""
    transform = getattr(model, "transform", None)
    if transform is None:  # other implementations of the protocol may have none
        return
    own = {"image_mean": transform.image_mean, "image_std": transform.image_std}
    for key, value in statistics.items():
        if not np.allclose(own[key], value):
            raise WeightFileError(
                f"{path}: expected {key}={value} as in its training, got {own[key]} in "
                f"{model.model_name}, which has no such argument; choose another detector "
                "(--model), or add the argument to its builder"
            )


def from_detector(
    path: Path,
    class_names: Sequence[str],
    name: str | None,
    options: Mapping[str, Any],
    ema: bool | None = None,
) -> tuple[Detector, str | None]:
    """Build a detector from pretrained weights, with the last layer adapted to new classes.

    Rows of the last layer are kept for classes of the same name, in any order; new classes are
    initialized randomly.  If the file has no class names, the last layer is kept if the number of
    classes is equal.  The note says how the last layer was initialized; None if the classes are the
    same.  ``options`` replace the keyword arguments of the file.
    """
    _check_task(path, detector=True)
    if name is not None and not has_model_metadata(path):
        weights = StateDictFile.read(path, task=_TASK, model=name, ema=ema)
        if weights.identified is None:
            return _from_bare(weights, name, len(class_names), options)
    source, names = load_detector(path, ema=ema)
    if name is not None and model_info(name) != model_info(source.model_name):
        raise WeightFileError(f"{path}: expected {name}, got {source.model_name}")
    kwargs = {**source.model_kwargs, "num_classes": len(class_names), **options}
    model = new_detector(source.model_name, kwargs)
    state, own = source.state_dict(), model.state_dict()
    predictor = {k: v for k, v in own.items() if k.startswith(source.head_prefixes)}
    note = None
    if names is not None:
        mapping = ClassMapping(names, class_names, common=class_names[:1])
        if not mapping.is_identity:
            note = str(mapping)
            axis = getattr(source, "class_axis", 0)
            state |= {
                k: lucid.tensor(mapping.apply(state[k].numpy(), v.numpy(), axis))
                for k, v in predictor.items()
                if mapping.fits(state[k].numpy(), v.numpy())  # else loading reports the mismatch
            }
    elif source.num_classes != model.num_classes:
        note = (
            "the last layer is reinitialized: the file has "
            f"{pluralize(source.num_classes - 1, 'class', 'classes')}, the data "
            f"{model.num_classes - 1}"
        )
        state |= predictor
    else:
        note = (
            "the last layer is kept: the file has as many classes as the data, but no class names; "
            "check that they are the same, in this order"
        )
    # Frozen batch norms have no such counter, and outputs do not depend on it.
    counters = {k for k in {*state, *own} if k.endswith(".num_batches_tracked")}
    state = {k: v for k, v in state.items() if k not in counters or k in own}
    try:
        model.load_state_dict({**{k: own[k] for k in counters & own.keys()}, **state})
    except StateDictError as error:
        raise WeightFileError(
            f"{path}: its weights do not fit {source.model_name} with {dict(options)}: {error}"
        ) from error
    return model, note


def _from_bare(
    weights: StateDictFile, name: str, num_classes: int, options: Mapping[str, Any]
) -> tuple[Detector, str]:
    """Build the detector ``name`` from weights that no converter recognizes."""
    model = new_detector(name, {"num_classes": num_classes, **options})
    own = model.state_dict()
    head = {key for key in own if key.startswith(model.head_prefixes)}
    headless = weights.has_none_of(head)
    if headless:
        weights = weights.with_entries({key: own[key] for key in head})
    try:
        skipped = set(weights.load_into(model, skip_mismatched=True).skipped)
        if not skipped <= head:
            weights.load_into(model)  # reports all mismatches
    except StateDictError as error:
        other = suggest_model(model, weights.state)
        remedy = f", they are weights of {other} (pass --model {other})" if other else ""
        raise WeightFileError(
            f"{weights.path}: its weights do not fit {name}{remedy}: {error}"
        ) from error
    classes = pluralize(num_classes - 1, "class", "classes")
    if skipped or headless:
        return model, f"the last layer is reinitialized: the file has none for {classes}"
    return model, (
        f"the last layer is kept: the file has {classes}, too, but no class names; check that "
        "they are the same, in this order"
    )


def freeze_stages(model: Detector, count: int) -> None:
    """Freeze the first stages of the backbone, including their batch norm statistics.

    Raises ValueError if the backbone does not have ``count`` stages.
    """
    if count == 0:
        return
    net = backbone_net(model)
    stages = check_backbone(net).stages()
    if not 0 <= count <= len(stages):
        raise ValueError(
            f"frozen_stages (--frozen-stages): expected 0 to {len(stages)}, the number of stages "
            f"of the backbone, a {type(net).__name__}, got {count}"
        )
    for stage in stages[:count]:
        stage.eval()
        for parameter in stage.parameters():
            parameter.requires_grad_(False)


def parameter_groups(model: Detector, lr: float, backbone_lr: float) -> list[dict[str, Any]]:
    """Return the parameter groups of an optimizer: the new layers, then the backbone."""

    def trainable(parameters: Iterator[nn.Parameter]) -> list[nn.Parameter]:
        return [parameter for parameter in parameters if parameter.requires_grad]

    backbone = trainable(backbone_net(model).parameters())
    in_backbone = {id(parameter) for parameter in backbone}
    new = [
        parameter for parameter in trainable(model.parameters()) if id(parameter) not in in_backbone
    ]
    groups = [{"params": new, "lr": lr}, {"params": backbone, "lr": backbone_lr}]
    return [group for group in groups if group["params"]]
