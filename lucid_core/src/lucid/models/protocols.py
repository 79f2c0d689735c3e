"""Protocols of models: attributes and methods that commands and other models rely on.

A model satisfies a protocol by having its members, without inheriting from it.  Code outside a
model's own module does not depend on its class, layer names or registered name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lucid.errors import ProtocolError

if TYPE_CHECKING:
    from lucid.nn import Module
    from lucid.tensor import Tensor

__all__ = [
    "Backbone",
    "Classifier",
    "check_backbone",
    "check_classifier",
    "head_keys",
    "missing_members",
]


@runtime_checkable
class Classifier(Protocol):
    """Protocol of image classifiers, task ``"image-classification"``.

    ``lucid train-classifier``, ``lucid classify`` and fine-tuning work on every registered
    model that satisfies it.

    Examples
    --------
    >>> import lucid
    >>> model = lucid.models.create_model("resnet_18", num_classes=10)
    >>> isinstance(model, lucid.models.Classifier)
    True
    >>> model.num_classes, model.head_prefixes
    (10, ('fc.',))
    """

    @property
    def num_classes(self) -> int:
        """Number of classes, the size of the last axis of the logits."""

    @property
    def head_prefixes(self) -> tuple[str, ...]:
        """State dict prefixes of the parameters whose shape depends on ``num_classes``."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Compute logits (N, num_classes) of images (N, C, H, W)."""


@runtime_checkable
class Backbone(Protocol):
    """Protocol of backbones, networks that return intermediate feature maps.

    Detectors accept every registered model that satisfies it.

    Examples
    --------
    >>> import lucid
    >>> model = lucid.models.create_model("resnet_18").eval()
    >>> isinstance(model, lucid.models.Backbone)
    True
    >>> model.feature_channels, model.feature_strides
    ((64, 128, 256, 512), (4, 8, 16, 32))
    >>> with lucid.no_grad():
    ...     [x.shape for x in model.features(lucid.zeros(1, 3, 64, 64))][-1]
    (1, 512, 2, 2)
    >>> len(model.stages())
    5
    """

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """Channels of each feature map."""

    @property
    def feature_strides(self) -> tuple[int, ...]:
        """Stride of each feature map in image pixels."""

    def features(self, x: Tensor, /) -> Sequence[Tensor]:
        """Compute the feature maps (N, feature_channels[i], H_i, W_i), finest first."""

    def stages(self) -> Sequence[Module]:
        """List the stages of the network from the image on, the order of freezing.

        Stages share no parameters and do not include the head of the classifier.
        """


def missing_members(model: object, protocol: type) -> list[str]:
    """List the members of a protocol that a model lacks.

    Parameters
    ----------
    model : object
        Model to check.
    protocol : type
        :class:`Classifier`, :class:`Backbone` or another ``typing.Protocol``.

    Returns
    -------
    list of str
        Names in the order of the protocol, methods with parentheses; empty if the model
        satisfies the protocol.

    Examples
    --------
    >>> from lucid import nn
    >>> from lucid.models import Backbone, missing_members
    >>> missing_members(nn.Linear(2, 2), Backbone)
    ['feature_channels', 'feature_strides', 'features()', 'stages()']
    """
    members: dict[str, Any] = {}
    for cls in reversed(protocol.__mro__):
        if getattr(cls, "_is_protocol", False):
            members |= dict.fromkeys(getattr(cls, "__annotations__", ())) | vars(cls)
    missing = []
    for name, member in members.items():
        if name.startswith("_"):
            continue
        if callable(member):
            if not callable(getattr(model, name, None)):
                missing.append(f"{name}()")
        elif not hasattr(model, name):
            missing.append(name)
    return missing


def predict_function(model: Module) -> Callable[[Tensor], Any]:
    """Return ``model.predict`` if ``forward`` needs targets besides the images, else the model."""
    needed = [
        parameter
        for parameter in inspect.signature(model.forward).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    predict = getattr(model, "predict", None)
    return predict if len(needed) > 1 and callable(predict) else model


def check_classifier(model: Module) -> Classifier:
    """Return the model if it satisfies :class:`Classifier`, else raise.

    Parameters
    ----------
    model : lucid.nn.Module
        Model to check; it is not called.

    Returns
    -------
    Classifier
        The same model.

    Raises
    ------
    lucid.ProtocolError
        If members are missing, ``num_classes`` is not a positive int, or ``head_prefixes`` is
        not a tuple of prefixes of state dict keys.
    """
    classifier: Classifier = _check_members(model, Classifier)
    if not _are_sizes((classifier.num_classes,)):
        raise _invalid_member(model, "num_classes to be a positive int", classifier.num_classes)
    prefixes, names = classifier.head_prefixes, model.state_dict()
    if not (
        isinstance(prefixes, tuple)
        and prefixes
        and all(isinstance(p, str) and p and any(n.startswith(p) for n in names) for p in prefixes)
    ):
        expected = "head_prefixes to be a tuple of prefixes of its state dict keys"
        raise _invalid_member(model, expected, prefixes)
    return classifier


def head_keys(model: Module) -> list[str]:
    """Return the state dict keys of the layers that depend on the number of classes.

    Parameters
    ----------
    model : lucid.nn.Module
        Satisfies :class:`lucid.models.Classifier`.

    Returns
    -------
    list of str
        In the order of the state dict.
    """
    prefixes = check_classifier(model).head_prefixes
    return [key for key in model.state_dict() if key.startswith(prefixes)]


def check_backbone(model: Module) -> Backbone:
    """Return the model if it satisfies :class:`Backbone`, else raise.

    Parameters
    ----------
    model : lucid.nn.Module
        Model to check; its feature maps are not computed.

    Returns
    -------
    Backbone
        The same model.

    Raises
    ------
    lucid.ProtocolError
        If members are missing, ``feature_channels`` and ``feature_strides`` are not tuples of
        positive ints with equal lengths, or ``stages()`` does not return modules that share
        no parameters.
    """
    backbone: Backbone = _check_members(model, Backbone)
    channels, strides = backbone.feature_channels, backbone.feature_strides
    if not _are_sizes(channels):
        raise _invalid_member(model, "feature_channels to be a tuple of positive ints", channels)
    if not _are_sizes(strides) or len(strides) != len(channels):
        expected = f"feature_strides to be {len(channels)} positive ints, one per feature map"
        raise _invalid_member(model, expected, strides)
    stages = backbone.stages()
    if not _are_modules(stages):
        raise _invalid_member(model, "stages() to return a non-empty sequence of modules", stages)
    parameters = [id(parameter) for stage in stages for parameter in stage.parameters()]
    if len(parameters) != len(set(parameters)):
        raise _invalid_member(model, "stages() to have no common parameters", [*map(type, stages)])
    return backbone


def _check_members(model: Any, protocol: type) -> Any:
    # isinstance() of Python 3.12 and later does not see submodules.
    if missing := ", ".join(missing_members(model, protocol)):
        raise ProtocolError(
            f"expected a {protocol.__name__.lower()}, got {_describe(model)}, which lacks "
            f"{missing}; see lucid.models.{protocol.__name__}"
        )
    return model


def _invalid_member(model: Module, expected: str, value: object) -> ProtocolError:
    got = " ".join(f"{value!r:.200}".split())
    return ProtocolError(f"{_describe(model)}: expected {expected}, got {got}")


def _describe(model: Module) -> str:
    cls = type(model).__name__
    return f"the model {model.model_name} of class {cls}" if model.model_name else f"a {cls}"


def _are_sizes(values: object) -> bool:
    return (
        isinstance(values, tuple)
        and bool(values)
        and all(isinstance(value, int) and value > 0 for value in values)
        and not any(isinstance(value, bool) for value in values)
    )


def _are_modules(values: object) -> bool:
    from lucid.nn import Module

    return (
        isinstance(values, Sequence)
        and len(values) > 0
        and all(isinstance(value, Module) for value in values)
    )
