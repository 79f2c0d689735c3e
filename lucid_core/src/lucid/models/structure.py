"""How a model was built, and its layers and shapes, to notice changes and name what weights fit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lucid.nn import Module

__all__ = [
    "ModelStructure",
    "find_matching_model",
    "record_builder",
    "recorded_builder",
    "structure_changes",
]

# Building a model takes about a second, so few are tried, of about the size of the weights.
_MAX_TRIED = 3
_MAX_RATIO = 2.0
_MAX_DIFFERENT = 0.1

#: Settings that only training uses, so that a model may be saved with others.
_TRAINING_ONLY = re.compile(r"(?:, )?\b(?:momentum|p)=[^,]*")


@dataclass(frozen=True)
class ModelStructure:
    """Layers, settings and shapes of a model.

    Attributes
    ----------
    layers : dict of str to str
        Class of each module by path.
    settings : dict of str to str
        What ``extra_repr`` of each module says that predictions depend on, such as its stride.
    shapes : dict of str to tuple of int
        Shape of each entry of the state dict.
    """

    layers: dict[str, str]
    settings: dict[str, str]
    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, model: Module) -> ModelStructure:
        """The structure of a model as it is now."""
        modules = dict(model.named_modules(remove_duplicate=False))
        return cls(
            {path: type(module).__name__ for path, module in modules.items()},
            {path: _TRAINING_ONLY.sub("", module.extra_repr()) for path, module in modules.items()},
            {name: tensor.shape for name, tensor in model.state_dict().items()},
        )


def structure_changes(model: Module) -> list[str]:
    """What is different from the model that its builder returned, in words; empty if nothing."""
    built = getattr(model, "model_structure", None)
    if not isinstance(built, ModelStructure):
        return []
    now = ModelStructure.of(model)
    changes = []
    for path in sorted({*built.layers, *now.layers}):
        old, new = built.layers.get(path), now.layers.get(path)
        if old != new:
            changes.append(f"{path or 'the model'} was {old or 'not there'}, is {new or 'gone'}")
    for name in sorted({*built.shapes, *now.shapes}):
        before, after = built.shapes.get(name), now.shapes.get(name)
        if before != after:
            changes.append(f"{name} was {before or 'not there'}, is {after or 'gone'}")
    changes += [
        f"{path or 'the model'} had {settings}, has {now.settings[path]}"
        for path, settings in built.settings.items()
        if now.layers.get(path) == built.layers[path] and now.settings[path] != settings
    ]
    return changes


def record_builder(model: Module, name: str, kwargs: Mapping[str, Any]) -> None:
    """Record the registered builder and the arguments that build a model again.

    The registry does so for each model that a builder returns.  A function that is no builder
    but makes the same model, such as a class method, calls this, so that
    :func:`lucid.save_model` can save it.

    Parameters
    ----------
    model : lucid.nn.Module
        The model; gets ``model_name`` and ``model_kwargs``.
    name : str
        Name of the registered model.
    kwargs : mapping
        Keyword arguments of its builder.

    Examples
    --------
    >>> import lucid
    >>> net = lucid.nn.Linear(4, 2)
    >>> lucid.models.record_builder(net, "two_classes", {"features": 4})
    >>> net.model_name, net.model_kwargs
    ('two_classes', {'features': 4})
    """
    model.model_name = name
    model.model_kwargs = dict(kwargs)
    model.model_structure = ModelStructure.of(model)  # to notice layers exchanged before saving


def recorded_builder(model: Module) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the arguments that build a model of the same layers again.

    Parameters
    ----------
    model : lucid.nn.Module
        The model.

    Returns
    -------
    tuple of (str, dict) or None
        As :func:`record_builder` recorded them; None if nothing was recorded, or layers or
        shapes were changed since.

    Examples
    --------
    >>> import lucid
    >>> net = lucid.models.create_model("resnet_18", num_classes=10)
    >>> lucid.models.recorded_builder(net)
    ('resnet_18', {'num_classes': 10})
    >>> net.fc = lucid.nn.Linear(512, 3)
    >>> lucid.models.recorded_builder(net) is None
    True
    """
    if model.model_name is None or structure_changes(model):
        return None
    return model.model_name, dict(model.model_kwargs or {})


def find_matching_model(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Find the registered model that weights are of, except for a layer or two.

    Builds at most three models of about as many parameters, so it is for errors.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        By the names of a state dict.

    Returns
    -------
    str or None
        The name of the model.
    """
    from lucid.models import create_model
    from lucid.models.zoo import registry

    size = sum(math.prod(shape) for shape in shapes.values())
    close = []
    for info in registry.models():
        if info.total_parameters and size:
            distance = abs(math.log(size / info.total_parameters))
            if distance <= math.log(_MAX_RATIO):
                close.append((distance, info.name))
    for _, name in sorted(close)[:_MAX_TRIED]:
        try:
            own = ModelStructure.of(create_model(name)).shapes
        except Exception:  # a builder may fail in any way, and this is only for a hint
            continue
        different = sum(own.get(key) != shapes.get(key) for key in {*own, *shapes})
        if different <= _MAX_DIFFERENT * len(own):
            return name
    return None
