"""Record of how a model was built, detection of later changes, and search by weight shapes."""

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

# Building a model takes about a second: try few, with a similar number of parameters.
_MAX_TRIED = 3
_MAX_RATIO = 2.0
_MAX_DIFFERENT = 0.1

#: Settings that affect only training; a model can be saved after they changed.
_TRAINING_ONLY = re.compile(r"(?:, )?\b(?:momentum|p)=[^,]*")


@dataclass(frozen=True)
class ModelStructure:
    """Layers, settings and shapes of a model.

    Attributes
    ----------
    layers : dict of str to str
        Class name of each module by path.
    settings : dict of str to str
        ``extra_repr`` of each module by path, without training-only settings.
    shapes : dict of str to tuple of int
        Shape of each entry of the state dict.
    """

    layers: dict[str, str]
    settings: dict[str, str]
    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, model: Module) -> ModelStructure:
        """Return the current structure of a model."""
        modules = dict(model.named_modules(remove_duplicate=False))
        return cls(
            {path: type(module).__name__ for path, module in modules.items()},
            {path: _TRAINING_ONLY.sub("", module.extra_repr()) for path, module in modules.items()},
            {name: tensor.shape for name, tensor in model.state_dict().items()},
        )


def structure_changes(model: Module) -> list[str]:
    """Describe the changes to a model since its builder returned it; empty if none."""
    built = getattr(model, "model_structure", None)
    if not isinstance(built, ModelStructure):
        return []
    now = ModelStructure.of(model)
    changes = []
    for path in sorted({*built.layers, *now.layers}):
        old, new = built.layers.get(path), now.layers.get(path)
        if old != new:
            changes.append(f"{path or 'the model'} was {old or 'absent'}, is {new or 'removed'}")
    for name in sorted({*built.shapes, *now.shapes}):
        before, after = built.shapes.get(name), now.shapes.get(name)
        if before != after:
            changes.append(f"{name} was {before or 'absent'}, is {after or 'removed'}")
    changes += [
        f"{path or 'the model'} had {settings}, has {now.settings[path]}"
        for path, settings in built.settings.items()
        if now.layers.get(path) == built.layers[path] and now.settings[path] != settings
    ]
    return changes


def record_builder(model: Module, name: str, kwargs: Mapping[str, Any]) -> None:
    """Record the name and arguments of the registered builder that rebuilds a model.

    The registry calls this for models that builders return.  Call it in other functions that
    construct a registered model, such as class methods, so that :func:`lucid.save_model` can
    save it.

    Parameters
    ----------
    model : lucid.nn.Module
        Model whose ``model_name`` and ``model_kwargs`` are set.
    name : str
        Registered name of the model.
    kwargs : mapping
        Arguments of the builder.

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
    model.model_structure = ModelStructure.of(model)  # detects replaced layers when saving


def recorded_builder(model: Module) -> tuple[str, dict[str, Any]] | None:
    """Return the recorded name and arguments that rebuild a model.

    Parameters
    ----------
    model : lucid.nn.Module
        Model from a registered builder.

    Returns
    -------
    tuple of (str, dict) or None
        Arguments of :func:`record_builder`; None if nothing was recorded or the layers or
        shapes changed since.

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
    """Return the registered model whose state dict shapes match, up to 10 % of the entries.

    Used in error messages: it builds up to three models with a similar number of parameters.
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
        except Exception:  # builders can fail in any way; this is only a hint
            continue
        different = sum(own.get(key) != shapes.get(key) for key in {*own, *shapes})
        if different <= _MAX_DIFFERENT * len(own):
            return name
    return None
