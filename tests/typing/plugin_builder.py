"""Network, builder and hook of a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

import lucid
from lucid import nn
from lucid.models import register_model

if TYPE_CHECKING:
    from lucid.models.hookspecs import RegisterModel


class Mean(nn.Module):
    """Global average pooling and a linear layer."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        logits: lucid.Tensor = self.head(x.mean((2, 3)))
        return logits


@register_model
def typed_mean(num_classes: int = 10, width: int = 3) -> Mean:
    """A builder with the bare decorator."""
    return Mean(num_classes, width)


@register_model(task="image-classification", family="mean", summary="Means of channels")
def typed_mean_of_two(num_classes: int = 10) -> Mean:
    """A builder with arguments of the decorator."""
    return Mean(num_classes, 2)


@lucid.hookimpl
def lucid_register_models(register: RegisterModel) -> None:
    register(
        "typed_mean",
        "plugin_builder:typed_mean",
        task="image-classification",
        family="mean",
        total_parameters=40,
        summary="Means of channels",
    )


# The decorator keeps the signature of the builder.
assert_type(typed_mean(num_classes=3, width=4), Mean)
assert_type(typed_mean_of_two(), Mean)
