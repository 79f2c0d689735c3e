"""Check that a model satisfies the protocol of its task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lucid import random
from lucid.errors import ProtocolError
from lucid.models.protocols import Backbone, check_backbone, check_classifier, missing_members
from lucid.testing.tested_model import (
    CheckError,
    ModelUnderTest,
    prediction_errors,
    seeded,
    wrap_errors,
)

__all__ = ["check_head", "check_protocol", "protocol_errors"]

#: Hide these frames in pytest's tracebacks: the message is enough.
__tracebackhide__ = True


def check_protocol(tested: ModelUnderTest) -> None:
    """Check that the model satisfies the protocol of its task.

    Image classifiers must satisfy :class:`lucid.models.Classifier`; models with
    ``feature_channels``, ``feature_strides`` or ``stages()`` must satisfy
    :class:`lucid.models.Backbone`.  ``head_prefixes`` must be the parameters whose shape depends
    on the builder's ``num_classes``, and ``features(x)`` must match ``feature_channels``.

    Parameters
    ----------
    tested : ModelUnderTest
        Model under test.
    """
    model = tested.model
    members = {"feature_channels", "feature_strides", "stages()"}
    with protocol_errors():
        if tested.info.task == "image-classification":
            check_classifier(model)
            check_head(tested)
        if not members <= set(missing_members(model, Backbone)):
            check_backbone(model)
            _check_features(tested)


@contextmanager
def protocol_errors() -> Iterator[None]:
    """Raise CheckError for a :class:`lucid.ProtocolError` in the block."""
    try:
        yield
    except ProtocolError as error:
        raise CheckError(
            str(error), "define them in the model's class; the commands of its task use them"
        ) from error


def check_head(tested: ModelUnderTest) -> None:
    """Check that ``head_prefixes`` are the parameters whose shape depends on ``num_classes``.

    Parameters
    ----------
    tested : ModelUnderTest
        Model with ``num_classes`` and ``head_prefixes``.
    """
    model: Any = tested.model
    count, prefixes = model.num_classes + 1, model.head_prefixes
    advice = "add an argument num_classes to the builder; training and fine-tuning set it"
    with seeded(), wrap_errors(f"{tested.name}(num_classes={count})", advice):
        other = tested.builder(num_classes=count)
    if other.num_classes != count:
        raise CheckError(
            f"expected num_classes {count} of the model built with num_classes={count}, got "
            f"{other.num_classes!r}",
            "set num_classes of the model to the argument of the builder",
        )
    state, shapes = tested.model.state_dict(), other.state_dict()
    changed = {k for k in {*state, *shapes} if _shape(state, k) != _shape(shapes, k)}
    head = {key for key in state if key.startswith(prefixes)}
    if changed != head:
        raise CheckError(
            f"head_prefixes is {prefixes!r}, but the parameters whose shape depends on num_classes "
            f"are {', '.join(sorted(changed)) or 'none'}",
            "list the layers whose shapes depend on num_classes in head_prefixes, and no others",
        )


def _shape(state: Mapping[str, object], key: str) -> object:
    return getattr(state.get(key), "shape", None)


def _check_features(tested: ModelUnderTest) -> None:
    """Check the feature maps of random images of the registered size."""
    backbone, shape = check_backbone(tested.model), tested.info.input_shape
    action = f"features(x) of a tensor of shape {shape}"
    with prediction_errors(tested.model, action, "accept the registered shape"):
        maps = [tuple(x.shape) for x in backbone.features(random.randn(*shape))]
    channels = tuple(x[1] for x in maps)
    sizes = [x[2] * x[3] for x in maps]
    if channels != backbone.feature_channels or sizes != sorted(sizes, reverse=True):
        raise CheckError(
            f"feature_channels is {backbone.feature_channels}, but features(x) of shape {shape} "
            f"returns maps of shapes {', '.join(map(str, maps))}",
            "return one map (N, C, H, W) per entry of feature_channels, finest first",
        )
