"""Model zoo: list, build and register models by name.

    >>> import lucid
    >>> model = lucid.models.create_model("resnet_18", num_classes=10)
    >>> from lucid.models import resnet_18

Plugins are discovered on first use, not at import.  Listing models and reading their
descriptions imports no model code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lucid.hints import add_hints, register_import_hints
from lucid.models.info import ModelInfo, PluginInfo
from lucid.models.lazy_models import dir_models, getattr_model
from lucid.models.zoo import (
    create_model,
    get_builder,
    is_model,
    list_models,
    list_plugins,
    model_info,
    refresh,
    register_model,
)

if TYPE_CHECKING:
    from lucid.models.hookspecs import hookimpl, hookspec
    from lucid.models.protocols import (
        Backbone,
        Classifier,
        check_backbone,
        check_classifier,
        head_keys,
        missing_members,
    )
    from lucid.models.structure import record_builder, recorded_builder
    from lucid.models.summary import LayerSummary, ModelSummary, summarize

__all__ = [
    "Backbone",
    "Classifier",
    "LayerSummary",
    "ModelInfo",
    "ModelSummary",
    "PluginInfo",
    "check_backbone",
    "check_classifier",
    "create_model",
    "get_builder",
    "head_keys",
    "hookimpl",
    "hookspec",
    "is_model",
    "list_models",
    "list_plugins",
    "missing_members",
    "model_info",
    "record_builder",
    "recorded_builder",
    "refresh",
    "register_model",
    "summarize",
]

# Imported on first use: they need lucid.nn or pluggy, which listing models does not.
_LAZY = {
    "Backbone": "lucid.models.protocols",
    "Classifier": "lucid.models.protocols",
    "LayerSummary": "lucid.models.summary",
    "ModelSummary": "lucid.models.summary",
    "check_backbone": "lucid.models.protocols",
    "check_classifier": "lucid.models.protocols",
    "head_keys": "lucid.models.protocols",
    "hookimpl": "lucid.models.hookspecs",
    "hookspec": "lucid.models.hookspecs",
    "missing_members": "lucid.models.protocols",
    "record_builder": "lucid.models.structure",
    "recorded_builder": "lucid.models.structure",
    "summarize": "lucid.models.summary",
}

register_import_hints("lucid.models", get_builder)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    return getattr_model(name)


def __dir__() -> list[str]:
    return dir_models(__all__)


add_hints(globals())
