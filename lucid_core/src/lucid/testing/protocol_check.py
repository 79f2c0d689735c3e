"""The check that a model has the members that the commands for its task use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lucid import no_grad, random
from lucid.errors import ProtocolError
from lucid.models.protocols import Backbone, check_backbone, check_classifier, missing_members
from lucid.testing.model_under_test import CheckError, ModelUnderTest, seeded, wrap_errors

__all__ = ["check_head", "check_protocol", "protocol_errors"]

#: pytest leaves the frames of the kit out: the message says what is wrong.
__tracebackhide__ = True


def check_protocol(tested: ModelUnderTest) -> None:
    """The model satisfies the protocol of its task, and says the truth about itself.

    An image classifier satisfies :class:`lucid.models.Classifier`.  A model with
    ``feature_channels``, ``feature_strides`` or ``stages()`` satisfies all of
    :class:`lucid.models.Backbone`.

    Parameters
    ----------
    tested : ModelUnderTest
        The model.

    Raises
    ------
    CheckError
        If a member is missing or wrong, if the builder of a classifier does not take
        ``num_classes``, if other parameters than those under ``head_prefixes`` change their
        shape with it, or if ``features(x)`` returns other maps than ``feature_channels`` says.
    CheckNotRunError
        If the model could not be built before.
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
    """Turn a :class:`lucid.ProtocolError` into a failure of the check."""
    try:
        yield
    except ProtocolError as error:
        raise CheckError(
            str(error), "define them in the model's class; commands for its task use them"
        ) from error


def check_head(tested: ModelUnderTest) -> None:
    """Parameters whose shape changes with ``num_classes`` are those under ``head_prefixes``.

    Parameters
    ----------
    tested : ModelUnderTest
        The model, which has ``num_classes`` and ``head_prefixes``.

    Raises
    ------
    CheckError
        If they are others, or if the builder does not take ``num_classes``.
    """
    model: Any = tested.model
    count, prefixes = model.num_classes + 1, model.head_prefixes
    advice = "give the builder an argument num_classes: training and fine-tuning set it"
    with seeded(), wrap_errors(f"{tested.name}(num_classes={count})", advice):
        other = tested.builder(num_classes=count)
    if other.num_classes != count:
        raise CheckError(
            f"built with num_classes={count}, the model has num_classes {other.num_classes!r}",
            "set num_classes to the argument of the builder",
        )
    state, shapes = tested.model.state_dict(), other.state_dict()
    changed = {k for k in {*state, *shapes} if _shape(state, k) != _shape(shapes, k)}
    head = {key for key in state if key.startswith(prefixes)}
    if changed != head:
        raise CheckError(
            f"head_prefixes is {prefixes!r}, but with another num_classes the "
            f"parameters that change are {', '.join(sorted(changed)) or 'none'}",
            "name in head_prefixes the layers whose parameters change with num_classes, and "
            "no others",
        )


def _shape(state: Mapping[str, object], key: str) -> object:
    return getattr(state.get(key), "shape", None)


def _check_features(tested: ModelUnderTest) -> None:
    """Compute the feature maps of random images of the registered size."""
    backbone, shape = check_backbone(tested.model), tested.info.input_shape
    modes = [(module, module.training) for module in tested.model.modules()]
    try:
        tested.model.eval()
        with (
            seeded(),
            no_grad(),
            wrap_errors(f"features(x) of a tensor of shape {shape}", "accept the registered shape"),
        ):
            maps = [tuple(x.shape) for x in backbone.features(random.randn(*shape))]
    finally:
        for module, training in modes:
            module.training = training
    channels = tuple(x[1] for x in maps)
    sizes = [x[2] * x[3] for x in maps]
    if channels != backbone.feature_channels or sizes != sorted(sizes, reverse=True):
        raise CheckError(
            f"feature_channels is {backbone.feature_channels}, but features(x) of shape {shape} "
            f"returns maps of shapes {', '.join(map(str, maps))}",
            "return one map (N, C, H, W) for each entry of feature_channels, the finest first",
        )
